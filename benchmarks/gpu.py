"""Both model families on one GPU, beside PyTorch, in one command of less than 8 minutes.

  python -m benchmarks.gpu --output=benchmarks/RESULTS.md

Trains and samples configs/coco64.py and configs/coco64_tokens.py on one GPU, at 64, 128 and 256
pixels, in bfloat16 and float32, with 32, 128 and 512 images a step; coco64 in turns with PyTorch:
eager, and torch.compile at 32. There is no token model in PyTorch to compare with. Training runs
--steps_per_dispatch steps a dispatch, as `config.steps_per_dispatch` does for users; with one, the
host's launches take longer than the kernels of 32 images. A section with
the device, the versions and the date is appended to the file, and a row as soon as it is measured.
A contestant that runs out of memory beside the others is measured again alone; if it still does,
its row says so. Measurements that --minutes leave no time for are listed, too, the largest pictures
first. The columns are those of `python -m benchmarks.train_step --help`. To save time, the
contestants of a model, size and dtype that do one thing start together and share the processor, so
compile times are longer than alone.
"""

import contextlib
import datetime
import importlib.metadata
import itertools
import pathlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from benchmarks import comparison
from benchmarks.comparison import COMPILED, OURS, Activity
from benchmarks.contestants import Devices, find_devices
from benchmarks.measure import (
  Contestant,
  ContestantFailed,
  ContestantProcess,
  Outcome,
  take_turns,
)
from benchmarks.tables import Table
from data_pipelines.configs import coco64, coco64_tokens
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt, Section
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings

TABLE = Table((('model', 13), ('activity', 8), *comparison.TABLE.columns))
_ROUNDS, _TURN_SECONDS = 3, 0.4


class Row(NamedTuple):
  """What is measured.

  Attributes:
    model: name of its config.
    activity: training or sampling.
    settings: with all sizes.
  """

  model: str
  activity: Activity
  settings: Settings


Outcomes = dict[str, Outcome | ContestantFailed]


class GpuOptions(Section):
  """The flags of the command."""

  output: str = Field(
    'benchmarks/RESULTS.md', description='The Markdown file that a section is appended to.'
  )
  steps_per_dispatch: PositiveInt = Field(
    10, description='Training steps that are one XLA program.'
  )
  minutes: float = Field(
    7.5, ge=0, description='No measurement starts later; the last one takes a few seconds more.'
  )


def groups(
  models: Mapping[str, Settings],
  *,
  image_sizes: Sequence[int],
  dtypes: Sequence[str],
  batch_sizes: Sequence[int],
) -> Iterator[list[Row]]:
  """What is measured, most important first; contestants of a group start together.

  Args:
    models: settings by the name of the config.
    image_sizes: sides in pixels.
    dtypes: of the networks.
    batch_sizes: images in a step.
  """
  activities = comparison.TRAINING, comparison.SAMPLING
  for side, dtype, (model, settings), activity in itertools.product(
    image_sizes, dtypes, models.items(), activities
  ):
    sizes = {'data.image_size': (side, side), 'dtype': dtype}
    yield [
      Row(model, activity, comparison.resized(settings, **sizes, batch_size=batch_size))
      for batch_size in batch_sizes
    ]


def measure_group(
  rows: Sequence[Row], devices: Devices, deadline: float
) -> Iterator[tuple[Row, Outcomes]]:
  """Starts all contestants of all rows, then measures those of each row in turns and ends them.

  Args:
    rows: torch.compile, which starts slowly, is measured at the smallest batch size only.
    devices: of this machine.
    deadline: by time.monotonic(); contestants that are not ready by then have failed.

  Yields:
    Each row with its outcomes by contestant.
  """
  smallest = min(row.settings.batch_size for row in rows)
  with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
    fields = []
    for _, activity, settings in rows:
      contestants = {OURS: activity.ours(settings, cache_dir=cache, num_devices=1)}
      if settings.tokens is None:
        contestants |= comparison.peers(activity, settings, devices.platform)
      if settings.batch_size > smallest:
        contestants.pop(COMPILED, None)
      processes = {
        name: stack.enter_context(ContestantProcess(contestant))
        for name, contestant in contestants.items()
      }
      fields.append((contestants, processes))
    for row, (contestants, processes) in zip(rows, fields):
      yield row, _race(contestants, processes, deadline)


def _race(
  contestants: Mapping[str, Contestant], processes: Mapping[str, ContestantProcess], deadline: float
) -> Outcomes:
  """Measures contestants in turns, and those that ran out of memory again alone."""
  outcomes: Outcomes
  try:
    outcomes = take_turns(processes, rounds=_ROUNDS, turn_seconds=_TURN_SECONDS, deadline=deadline)
  except UserError as error:
    outcomes = {name: ContestantFailed(str(error)) for name in contestants}
  for process in processes.values():
    process.close()
  for name, outcome in outcomes.items():
    if (
      isinstance(outcome, ContestantFailed)
      and outcome.out_of_memory
      and time.monotonic() < deadline
    ):
      with ContestantProcess(contestants[name]) as process:
        outcomes |= take_turns(
          {name: process}, rounds=_ROUNDS, turn_seconds=_TURN_SECONDS, deadline=deadline
        )
  return outcomes


def measure_all(
  all_groups: Sequence[Sequence[Row]],
  devices: Devices,
  deadline: float,
  write: Callable[[str], None],
):
  """Measures all groups.

  Args:
    all_groups: see `groups`.
    devices: of this machine.
    deadline: by time.monotonic(); nothing starts later.
    write: gets the lines of a Markdown table, and below it the ratios to PyTorch.
  """
  write(TABLE.markdown_header())
  print(TABLE.header(), flush=True)
  comparisons = []
  for rows in all_groups:
    if time.monotonic() < deadline:
      measured = measure_group(rows, devices, deadline)
    else:
      measured = [(row, {OURS: ContestantFailed('not measured, the time was up')}) for row in rows]
    for (model, activity, settings), outcomes in measured:
      for name, outcome in outcomes.items():
        cells = comparison.cells(activity, settings, name, outcome, device_kind=devices.device_kind)
        write(TABLE.markdown_row([model, activity.name, *cells]))
        print(TABLE.row([model, activity.name, *cells]), flush=True)
      comparisons += [
        f'- {model}, {activity.name}, {settings.dtype}, batch {settings.batch_size}, '
        f'{settings.data.image_size[0]} px: {ratio}'
        for ratio in comparison.ratios(outcomes)
      ]
  write('\n' + '\n'.join(comparisons or ['- no contestant to compare with']))


def heading(devices: Devices, steps_per_dispatch: int) -> str:
  """Start of a section: the device, the date and the versions."""
  versions = ', '.join(f'{name} {_version(name)}' for name in ('jax', 'jaxlib', 'torch'))
  return (
    f'\n### {devices.device_kind}, {datetime.date.today()}\n\n'
    f'One of {devices.count}, driver {_driver()}, {versions}, Python {platform.python_version()}. '
    f'By `python -m benchmarks.gpu --steps_per_dispatch={steps_per_dispatch}`.\n'
  )


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def _driver() -> str:
  command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
  except (OSError, subprocess.SubprocessError):
    return 'unknown'
  return done.stdout.split('\n')[0].strip()


def measure(options: GpuOptions):
  deadline = time.monotonic() + 60 * options.minutes
  output = pathlib.Path(options.output)
  if not output.parent.is_dir():
    raise UserError(
      f'--output={output}: there is no directory {output.parent}; make it, or name another file'
    )
  devices = find_devices()
  if devices.platform != 'gpu':
    raise UserError(
      f'JAX finds no GPU, only {devices.count} x {devices.device_kind}; run this on a machine with '
      'one, after `pip install -e .[gpu]`'
    )

  def write(text: str):
    with output.open('a') as file:
      file.write(text + '\n')

  write(heading(devices, options.steps_per_dispatch))
  configs = {'coco64': coco64.get_config(), 'coco64_tokens': coco64_tokens.get_config()}
  for config in configs.values():
    config.steps_per_dispatch = options.steps_per_dispatch
  everything = groups(
    {name: Settings.from_config(config) for name, config in configs.items()},
    image_sizes=(64, 128, 256),
    dtypes=('bfloat16', 'float32'),
    batch_sizes=(32, 128, 512),
  )
  measure_all(list(everything), devices, deadline, write)
  print(f'written to {output}')


def main():
  command_line.run(GpuOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

"""Everything that is to be known of a GPU, in one command of less than 8 minutes.

  python -m benchmarks.gpu --output=benchmarks/RESULTS.md

Trains and samples configs/coco64.py on one GPU, at 64 and 128 pixels, in bfloat16 and float32, with
32, 128 and 512 images a step, in turns with PyTorch: eager, and torch.compile at 32. A section with
the device, the versions and the date is added to the file, and a row as soon as it is measured. A
contestant that runs out of memory beside the others is tried once more without them, and if that is
not enough, its row says so. What --minutes leave no time for is named, too, the largest sizes in
float32 first. The columns are those of `python -m benchmarks.train_step --help`. To save time, all
contestants of a size and dtype start together and share the processor, so that compiling takes
longer here than alone.
"""

import contextlib
import datetime
import importlib.metadata
import pathlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import flags
from ml_collections import ConfigDict

from benchmarks import comparison
from benchmarks.comparison import COMPILED, OURS, Activity
from benchmarks.contestants import Devices, find_devices
from benchmarks.measure import Contestant, ContestantFailed, Entrant, Outcome, take_turns
from benchmarks.tables import Table
from data_pipelines.configs import coco64
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import command_line

TABLE = Table((('activity', 8), *comparison.TABLE.columns))
NOT_YET = 'No GPU has been measured yet.'  # what RESULTS.md says until one has been
_ROUNDS, _TURN_SECONDS = 3, 0.4

Row = tuple[Activity, ConfigDict]
Outcomes = dict[str, Outcome | ContestantFailed]


def groups(
  config: ConfigDict,
  *,
  image_sizes: Sequence[int],
  dtypes: Sequence[str],
  batch_sizes: Sequence[int],
) -> Iterator[list[Row]]:
  """What is measured, the most important first; contestants of a group start together."""
  for side in image_sizes:
    for dtype in dtypes:
      yield [
        (
          activity,
          comparison.resized(
            config, **{'data.image_size': (side, side), 'dtype': dtype, 'batch_size': batch_size}
          ),
        )
        for activity in (comparison.TRAINING, comparison.SAMPLING)
        for batch_size in batch_sizes
      ]


def measure_group(
  rows: Sequence[Row], devices: Devices, deadline: float
) -> Iterator[tuple[Row, Outcomes]]:
  """Starts all contestants of all rows, then lets those of each row take turns and ends them.

  Args:
    rows: the contestants of torch.compile, which start slowly, take part at the smallest batch size
    only.
    deadline: by time.monotonic(); who has not started by then has failed.
  """
  smallest = min(config.batch_size for _, config in rows)
  with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
    fields = []
    for activity, config in rows:
      contestants = {
        OURS: activity.ours(config, cache_dir=cache, num_devices=1),
        **comparison.peers(activity, config, devices.platform),
      }
      if config.batch_size > smallest:
        contestants.pop(COMPILED, None)
      fields.append(
        (
          contestants,
          {
            name: stack.enter_context(Entrant(contestant))
            for name, contestant in contestants.items()
          },
        )
      )
    for row, (contestants, entrants) in zip(rows, fields):
      yield row, _race(contestants, entrants, deadline)


def _race(
  contestants: Mapping[str, Contestant], entrants: Mapping[str, Entrant], deadline: float
) -> Outcomes:
  try:
    outcomes = take_turns(entrants, rounds=_ROUNDS, turn_seconds=_TURN_SECONDS, deadline=deadline)
  except UserError as error:
    outcomes = {name: ContestantFailed(str(error)) for name in contestants}
  for entrant in entrants.values():
    entrant.close()
  for name, outcome in outcomes.items():
    if (
      isinstance(outcome, ContestantFailed)
      and outcome.out_of_memory
      and time.monotonic() < deadline
    ):
      with Entrant(contestants[name]) as entrant:
        outcomes |= take_turns(
          {name: entrant}, rounds=_ROUNDS, turn_seconds=_TURN_SECONDS, deadline=deadline
        )
  return outcomes


def measure_all(
  all_groups: Sequence[Sequence[Row]],
  devices: Devices,
  deadline: float,
  write: Callable[[str], None],
):
  """Writes a Markdown table, row by row, and below it how many times as fast as PyTorch ours is."""
  write(TABLE.markdown_header())
  print(TABLE.header(), flush=True)
  comparisons = []
  for rows in all_groups:
    if time.monotonic() < deadline:
      measured = measure_group(rows, devices, deadline)
    else:
      measured = [(row, {OURS: ContestantFailed('not measured, the time was up')}) for row in rows]
    for (activity, config), outcomes in measured:
      for name, outcome in outcomes.items():
        cells = [
          activity.name,
          *comparison.cells(activity, config, name, outcome, devices.device_kind),
        ]
        write(TABLE.markdown_row(cells))
        print(TABLE.row(cells), flush=True)
      comparisons += [
        f'- {activity.name}, {config.dtype}, batch {config.batch_size}, '
        f'{config.data.image_size[0]} px: '
        f'{ratio}'
        for ratio in comparison.ratios(outcomes)
      ]
  write('\n' + '\n'.join(comparisons or ['- no contestant to compare with']))


def heading(devices: Devices) -> str:
  """The beginning of a section: the device, the date and the versions."""
  versions = ', '.join(f'{name} {_version(name)}' for name in ('jax', 'jaxlib', 'torch'))
  return (
    f'\n### {devices.device_kind}, {datetime.date.today()}\n\nOne of {devices.count}, driver '
    f'{_driver()}, '
    f'{versions}, Python {platform.python_version()}. By `python -m benchmarks.gpu`.\n'
  )


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def _driver() -> str:
  try:
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    return (
      subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
      .stdout.split('\n')[0]
      .strip()
    )
  except (OSError, subprocess.SubprocessError):
    return 'unknown'


def main(_: Sequence[str]):
  deadline = time.monotonic() + 60 * flags.FLAGS.minutes
  output = pathlib.Path(flags.FLAGS.output)
  if not output.parent.is_dir():
    raise UserError(
      f'--output={output}: there is no directory {output.parent}; make it, or name another file'
    )
  devices = find_devices()
  if devices.platform != 'gpu':
    raise UserError(
      f'JAX finds no GPU, only {devices.count} x {devices.device_kind}; run this on a machine with '
      'one, '
      'after `pip install -e .[gpu]`'
    )
  before = output.read_text() if output.exists() else ''
  output.write_text(before.replace(NOT_YET + '\n', ''))

  def write(text: str):
    with output.open('a') as file:
      file.write(text + '\n')

  write(heading(devices))
  everything = groups(
    coco64.get_config(),
    image_sizes=(64, 128),
    dtypes=('bfloat16', 'float32'),
    batch_sizes=(32, 128, 512),
  )
  measure_all(list(everything), devices, deadline, write)
  print(f'written to {output}')


if __name__ == '__main__':
  flags.DEFINE_string(
    'output', 'benchmarks/RESULTS.md', 'The Markdown file that a section is added to.'
  )
  flags.DEFINE_float(
    'minutes', 7.5, 'When to begin nothing more; what is under way then takes a few seconds.', 0
  )
  command_line.run(main)

"""How long a training takes to start: from the command to the end of its first step.

  python -m benchmarks.start --config=configs/storybook.py --data_dir=datasets/prepared
  python -m benchmarks.start --config=configs/storybook.py --checkout=../before --checkout=.

The data set is prepared and the programs are compiled before the clock runs, by a training that is
stopped after a step. Then each checkout starts in turns, as many times as there are rounds: `fresh`
in a work directory that is not there, `continued` in one with the checkpoint of a step. The time
ends when the line of the first step is printed, which is when its losses are computed. What follows
is not waited for.
"""

import contextlib
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Annotated

import pydantic

from benchmarks.tables import Table
from data_pipelines import command_line
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt, Section

_TABLE = Table((('checkout', 24), ('start', 9), ('median s', 8), ('least s', 7), ('most s', 7)))


class StartOptions(Section):
  """The flags of the command."""

  config: str = pydantic.Field(description='As of train.')
  data_dir: str | None = pydantic.Field(
    None, description='Where the records are or will be prepared; by default as in the config.'
  )
  override: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    (), description='NAME=VALUE of a setting, such as batch_size=4; may be given several times.'
  )
  checkout: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    ('.',), description='A directory with a revision of this project; several take turns.'
  )
  rounds: PositiveInt = pydantic.Field(5, description='Starts of each kind.')


def measure(options: StartOptions):
  kinds = ('fresh', 'continued')
  seconds = {(checkout, kind): [] for checkout in options.checkout for kind in kinds}
  with tempfile.TemporaryDirectory() as directory:
    one_step = {}
    for index, checkout in enumerate(options.checkout):
      one_step[checkout] = pathlib.Path(directory, str(index))
      _started(options, checkout, one_step[checkout], signal.SIGINT)
      _started(options, checkout, _copy(one_step[checkout]), signal.SIGKILL)
    for _ in range(options.rounds):
      for checkout, kind in seconds:
        workdir = _copy(one_step[checkout])
        if kind == 'fresh':
          shutil.rmtree(workdir)
        seconds[checkout, kind].append(_started(options, checkout, workdir, signal.SIGKILL))
  print(_TABLE.header())
  for (checkout, kind), found in seconds.items():
    numbers = (statistics.median(found), min(found), max(found))
    print(_TABLE.row([checkout, kind, *(f'{number:.2f}' for number in numbers)]), flush=True)


def _copy(workdir: pathlib.Path) -> pathlib.Path:
  copy = workdir.with_name(f'{workdir.name}-copy')
  shutil.rmtree(copy, ignore_errors=True)
  shutil.copytree(workdir, copy)
  return copy


def _started(
  options: StartOptions, checkout: str, workdir: pathlib.Path, end: signal.Signals
) -> float:
  """The seconds to the end of the first step; the signal ends the training then."""
  start = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, '-m', 'sg2im_jax.train', *_flags(options, workdir)],
    cwd=checkout,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  lines = []
  assert process.stdout is not None
  with contextlib.closing(process.stdout):
    for line in process.stdout:
      lines.append(line)
      if line.startswith('step '):
        seconds = time.perf_counter() - start
        process.send_signal(end)
        process.stdout.read()
        process.wait()
        return seconds
  raise UserError(f'the training ended before its first step: {lines[-1] if lines else "silently"}')


def _flags(options: StartOptions, workdir: pathlib.Path) -> Sequence[str]:
  overrides = ['log_every=1', *options.override]
  if options.data_dir is not None:
    overrides.append(f'data.data_dir={pathlib.Path(options.data_dir).resolve()}')
  return [
    f'--config={options.config}',
    f'--workdir={workdir}',
    *(f'--config.{override}' for override in overrides),
  ]


def main():
  command_line.run(StartOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

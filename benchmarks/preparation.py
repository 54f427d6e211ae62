"""Speed of preparation: threads of one process, and processes by Apache Beam's DirectRunner.

  python -m benchmarks.preparation --dataset=storybook
  python -m benchmarks.preparation --dataset=coco_stuff --source=datasets/coco --processes=0,2

Each row is one run of `python -m data_pipelines.prepare` into an empty directory, from its start to
its end; 0 processes are threads, and 1 is DirectRunner in the process itself. `x processes` is what
a record takes of the time of all processes, and `CPU ms` what it takes of the time of processors,
which other work on the machine does not lengthen much. `same`: the records are those of the first
row.
"""

import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Annotated

import pydantic

from benchmarks.tables import Table
from data_pipelines import command_line
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import Section

TABLE = Table(
  (
    ('processes', 9),
    ('records', 8),
    ('seconds', 8),
    ('ms a record', 12),
    ('x processes', 11),
    ('CPU ms', 8),
    ('same', 5),
  )
)


class PreparationOptions(Section):
  """The flags of the command."""

  dataset: str = pydantic.Field('storybook', description='As of prepare.')
  source: str | None = pydantic.Field(None, description='As of prepare.')
  option: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    (), description='As of prepare.'
  )
  processes: tuple[int, ...] = pydantic.Field((0, 1, 2, 4), description='A row for each.')


def prepared(options: PreparationOptions, processes: int, data_dir: str) -> tuple[float, float]:
  """Runs `prepare` and returns the seconds that it took, and those of processors."""
  flags = [f'--dataset={options.dataset}', f'--data_dir={data_dir}']
  flags += [f'--option={option}' for option in options.option]
  if options.source is not None:
    flags.append(f'--source={options.source}')
  if processes:
    flags.append('--beam_runner=DirectRunner')
  if processes > 1:
    flags.append(
      f'--beam_options=direct_running_mode=multi_processing,direct_num_workers={processes}'
    )
  start, start_cpu = time.perf_counter(), cpu_seconds()
  done = subprocess.run(
    [sys.executable, '-m', 'data_pipelines.prepare', *flags],
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise UserError(f'prepare {" ".join(flags)} failed: {done.stderr.strip().splitlines()[-1]}')
  return time.perf_counter() - start, cpu_seconds() - start_cpu


def cpu_seconds() -> float:
  """Of all processes that have been started and have ended."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def records(data_dir: str) -> list:
  """All records in their order, parsed, as their bytes have features in an order of their own."""
  paths = sorted(map(str, pathlib.Path(data_dir).rglob('*.tfrecord*')))
  return [
    tf.train.Example.FromString(record)
    for record in tf.data.TFRecordDataset(paths).as_numpy_iterator()
  ]


def main():
  command_line.run(PreparationOptions, _measure, doc=__doc__)


def _measure(options: PreparationOptions):
  print(TABLE.header())
  first = None
  for processes in options.processes:
    with tempfile.TemporaryDirectory() as data_dir:
      seconds, of_cpu = prepared(options, processes, data_dir)
      found = records(data_dir)
    first = first or found
    milliseconds = 1000 * seconds / len(found)
    cells = [
      str(processes or 'threads'),
      str(len(found)),
      f'{seconds:.1f}',
      f'{milliseconds:.2f}',
      f'{milliseconds * max(processes, 1):.2f}',
      f'{1000 * of_cpu / len(found):.2f}',
      'yes' if found == first else 'NO',
    ]
    print(TABLE.row(cells), flush=True)


if __name__ == '__main__':
  main()

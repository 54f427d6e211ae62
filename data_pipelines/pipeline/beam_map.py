"""Work on many items in other processes and on other machines, by Apache Beam.

The items lie in shards, files of a directory that all workers reach. A worker reads a shard, and
writes the results of its items to another file, whole or not at all. So a worker that is lost costs
a shard, whichever runner it was: those without results are made again, by the runner or by another
pipeline. The results come back in the order of the items, whoever made them and when.
"""

import contextlib
import dataclasses
import functools
import io
import itertools
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import apache_beam as beam
from absl import logging
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import create_runner
from etils import epath

from data_pipelines.pipeline.parallel import ordered_map
from data_pipelines.scene_graphs.errors import UserError

ITEMS_PER_SHARD = 32  # what is lost with a worker
_TRIES = 3  # pipelines; DirectRunner makes nothing again by itself
_NAMESPACE = 'sg2im_jax'  # of the counters
_DEFAULT_FLAGS = {
  'DirectRunner': (
    # Else it downloads another runner, which knows nothing of the options `direct_*`. A pipeline
    # without triggers has no unsafe ones.
    '--allow_unsafe_triggers',
    '--default_sdk_harness_log_level=ERROR',
  )
}

Item = TypeVar('Item')
Result = TypeVar('Result')


@runtime_checkable
class Counted(Protocol):
  """A result that adds to counters, which runners show while they work."""

  def counted_as(self) -> Iterable[str]:
    """The counters that it adds one to; more than once where it adds more."""
    ...


@dataclasses.dataclass(frozen=True)
class BeamMap:
  """An `OrderedMap` that is a pipeline.

  Attributes:
    runner: DirectRunner, DataflowRunner, SparkRunner, FlinkRunner, or another name that Beam knows.
    flags: options of Beam, such as '--direct_num_workers=4'.
    directory: an existing one that all workers reach; the shards stay in it.
  """

  runner: str
  flags: tuple[str, ...]
  directory: epath.Path

  def __call__(
    self, function: Callable[[Item], Result], items: Iterable[Item], /
  ) -> Iterator[Result]:
    """Yields function(item) in order, once all results are there; see `OrderedMap`.

    Raises:
      UserError: several pipelines have failed.
    """
    directory = self.directory / uuid.uuid4().hex
    directory.mkdir()
    write = functools.partial(_write_items, directory)
    shards = list(ordered_map(write, enumerate(_batches(items, ITEMS_PER_SHARD))))
    missing = shards
    for left in range(_TRIES - 1, -1, -1):
      if not missing:
        break
      try:
        self._run(function, directory, missing)
      except Exception as error:  # of whatever the runner consists of
        reason = last_line(error)
        if not left:
          raise UserError(
            f'the pipeline failed {_TRIES} times on {self.runner} ({reason}); the lines above say '
            'more'
          ) from error
        logging.warning('The pipeline failed on %s (%s).', self.runner, reason)
      there = {path.name for path in directory.iterdir()}
      missing = [shard for shard in missing if _results_file(directory, shard).name not in there]
      if missing:
        logging.warning('Making %d of %d shards again.', len(missing), len(shards))
    read = functools.partial(_read_results, directory)
    yield from itertools.chain.from_iterable(ordered_map(read, shards))

  def _run(self, function: Callable, directory: epath.Path, shards: list[int]):
    """One pipeline, until it ends."""
    pipeline = Pipeline(self.runner, self.flags, directory, function, shards)
    counts = run_apart(pipeline) if pipeline.has_processes() else pipeline.run()
    named = ', '.join(f'{name}: {count}' for name, count in sorted(counts.items()))
    logging.info('%s: %s.', self.runner, named)


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """A pipeline that makes the results of shards.

  Attributes:
    runner, flags: see `BeamMap`.
    directory: of the shards.
    function: makes the result of an item.
    shards: their numbers.
  """

  runner: str
  flags: tuple[str, ...]
  directory: epath.Path
  function: Callable
  shards: list[int]

  def has_processes(self) -> bool:
    """Whether its workers are processes that DirectRunner starts."""
    options = PipelineOptions(self.flags).view_as(DirectOptions)
    return self.runner == 'DirectRunner' and options.direct_running_mode == 'multi_processing'

  def run(self) -> dict[str, int]:
    """Returns its counters, once it has ended."""
    with beam.Pipeline(runner=self.runner, options=PipelineOptions(self.flags)) as root:
      _ = (
        root
        | 'shards' >> beam.Create(self.shards)
        | 'spread' >> beam.Reshuffle()
        | 'make' >> beam.Map(_make, self.directory, self.function)
      )
    found = root.result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    return {counter.key.metric.name: counter.result for counter in found['counters']}


def run_apart(pipeline: Pipeline) -> dict[str, int]:
  """`Pipeline.run` in a process of its own; see `beam_process`.

  Raises:
    RuntimeError: the process has ended without counters.
  """
  with tempfile.TemporaryDirectory() as directory:
    output = pathlib.Path(directory) / 'counts'
    process = subprocess.Popen(
      [sys.executable, '-m', 'data_pipelines.pipeline.beam_process', str(output)],
      stdin=subprocess.PIPE,
      start_new_session=True,
    )
    try:
      process.communicate(pickle.dumps(pipeline))
    finally:  # a worker that is left of a pipeline that has failed, or been interrupted
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      process.wait()
    outcome = output.read_text() if output.exists() else 'its process was ended'
  if process.returncode:
    raise RuntimeError(outcome)
  return json.loads(outcome)


@contextlib.contextmanager
def opened(runner: str, options: Sequence[str], parent: epath.PathLike) -> Iterator[BeamMap]:
  """A map with a directory of its own, which is removed at the end.

  Args:
    runner: see `BeamMap`.
    options: NAME=VALUE, or NAME alone for what is to be switched on, of Beam's pipeline options.
    parent: where the directory is made; reached by all workers.

  Raises:
    UserError: Beam does not take the runner or the options.
  """
  directory = epath.Path(parent) / f'beam.{uuid.uuid4().hex}'
  flags = (*_DEFAULT_FLAGS.get(runner, ()), *(f'--{option}' for option in options))
  _check(runner, flags)
  directory.mkdir(parents=True)
  try:
    yield BeamMap(runner, flags, directory)
  finally:
    directory.rmtree()


def _check(runner: str, flags: tuple[str, ...]):
  """UserError if Beam does not take these."""
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      PipelineOptions(flags).get_all_options()
  except SystemExit:
    raise UserError(f'--beam_options: {said.getvalue().rpartition("error: ")[2].strip()}') from None
  try:
    create_runner(runner)
  except (ImportError, ValueError) as error:
    raise UserError(f'--beam_runner: {last_line(error)}') from error


def _make(shard: int, directory: epath.Path, function: Callable[[Any], Any]):
  """Makes the results of a shard, on a worker."""
  items = pickle.loads(_items_file(directory, shard).read_bytes())
  results = [function(item) for item in items]
  for result in results:
    if isinstance(result, Counted):
      for name in result.counted_as():
        Metrics.counter(_NAMESPACE, name).inc()
  # Two workers may make the same shard, and each of them the same results.
  unfinished = directory / f'{shard:07d}.{uuid.uuid4().hex}'
  unfinished.write_bytes(pickle.dumps(results))
  unfinished.replace(_results_file(directory, shard))


def _write_items(directory: epath.Path, shard: tuple[int, list]) -> int:
  """Writes a shard, which is numbered, and returns its number."""
  number, items = shard
  _items_file(directory, number).write_bytes(pickle.dumps(items))
  return number


def _read_results(directory: epath.Path, shard: int) -> list:
  return pickle.loads(_results_file(directory, shard).read_bytes())


def _items_file(directory: epath.Path, shard: int) -> epath.Path:
  return directory / f'{shard:07d}.items'


def _results_file(directory: epath.Path, shard: int) -> epath.Path:
  return directory / f'{shard:07d}.results'


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
  remaining = iter(items)
  return iter(lambda: list(itertools.islice(remaining, size)), [])


def last_line(error: BaseException) -> str:
  """What an error says, in one line: the last one, as Beam's begin with where it was."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return lines[-1] if lines else type(error).__name__

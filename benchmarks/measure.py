"""Measures contestants in turns, each in a process of its own: one works while the others wait.

Turns spread the fluctuations of a shared machine over all contestants, thread pools do not compete,
and each process has its own peak of memory. A contestant that fails, mostly for lack of memory,
does not stop the others.
"""

import dataclasses
import math
import multiprocessing
import os
import pathlib
import resource
import signal
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from data_pipelines.scene_graphs.errors import UserError

_WARM_UP_RUNS = 3
_OUT_OF_MEMORY = 'out of memory'

Key = TypeVar('Key')  # what a contestant is called in a comparison


@dataclasses.dataclass(frozen=True)
class Started:
  """A contestant that is ready.

  Attributes:
    platform: cpu | gpu | tpu.
    device_kind: the device, as JAX or PyTorch names it.
    compile_seconds: of tracing and compiling; None if nothing is compiled ahead of time.
    steps_per_run: number of steps in a run.
  """

  platform: str
  device_kind: str
  compile_seconds: float | None = None
  steps_per_run: int = 1


class Contestant(Protocol):
  """What is measured. Pickled to its process, so arrays and devices are first used in `start`."""

  def start(self) -> Started:
    """Builds and compiles everything."""
    ...

  def run(self, times: int):
    """Runs so many times; returns when the device is done."""
    ...

  def peak_memory(self) -> int:
    """Bytes: of the device, on a CPU of the process."""
    ...


class ContestantFailed(Exception):
  """A contestant cannot start or run; its text is one short line that fits into a table."""

  @property
  def out_of_memory(self) -> bool:
    return str(self) == _OUT_OF_MEMORY


class ContestantProcess:
  """A process that starts a contestant at once and runs it on request; a context that ends it."""

  def __init__(self, contestant: Contestant):
    context = multiprocessing.get_context('spawn')  # neither JAX nor CUDA survives a fork
    self._connection, theirs = context.Pipe()
    self._process = context.Process(target=_serve, args=(contestant, theirs))
    self._process.start()
    theirs.close()
    self._connection.send(('start',))
    self._started: Started | None = None
    self._failure: ContestantFailed | UserError | None = None  # of the start

  def started(self, deadline: float = math.inf) -> Started:
    """Waits until the contestant is ready.

    Args:
      deadline: when to give up, by time.monotonic().

    Raises:
      ContestantFailed: it could not start, or not in time.
      UserError: its settings are wrong.
    """
    if self._started is None and self._failure is None:
      try:
        if deadline < math.inf and not self._connection.poll(max(deadline - time.monotonic(), 0)):
          self.close()
          raise ContestantFailed('not ready in time')
        self._started, _ = self._answer()
      except (ContestantFailed, UserError) as failure:
        self._failure = failure
    if self._failure is not None:
      raise self._failure
    assert self._started is not None
    return self._started

  def seconds(self, runs: int) -> float:
    """Time of so many runs, measured in the process of the contestant."""
    return self._ask('run', runs)[1]

  def call(self, method: str, *arguments) -> Any:
    """Result of a method of the contestant; ContestantFailed or UserError if it raises."""
    return self._ask(method, *arguments)[0]

  def _ask(self, method: str, *arguments) -> tuple[Any, float]:
    self.started()
    try:
      self._connection.send((method, *arguments))
    except OSError as error:
      raise ContestantFailed('its process is gone') from error
    return self._answer()

  def _answer(self) -> tuple[Any, float]:
    try:
      problem, value, seconds = self._connection.recv()
    except (EOFError, OSError) as error:
      self._process.join(5)
      raise ContestantFailed(f'its process ended with status {self._process.exitcode}') from error
    if problem is not None:
      raise problem
    return value, seconds

  def close(self):
    """Ends the process."""
    self._connection.close()
    self._process.join(0.5)
    self._process.terminate()  # it may be compiling, or slow to free gigabytes
    self._process.join()

  def __enter__(self) -> 'ContestantProcess':
    return self

  def __exit__(self, *exception):
    self.close()


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What was measured of a contestant.

  Attributes:
    step_seconds: median over the rounds.
    peak_memory: bytes.
    compile_seconds: as in `Started`.
  """

  step_seconds: float
  peak_memory: int
  compile_seconds: float | None


def take_turns(
  processes: Mapping[Key, ContestantProcess],
  *,
  rounds: int,
  turn_seconds: float,
  deadline: float = math.inf,
) -> dict[Key, Outcome | ContestantFailed]:
  """Measures all contestants, round after round; one that fails takes no further part.

  Args:
    processes: of the contestants.
    rounds: turns of each.
    turn_seconds: approximate length of a turn, which is one run or more.
    deadline: by time.monotonic(); a contestant that is not ready by then has failed.

  Returns:
    What was measured, in the order of `processes`.
  """
  failures: dict[Key, ContestantFailed] = {}
  runs: dict[Key, int] = {}
  turns: dict[Key, list[float]] = {name: [] for name in processes}

  def remaining() -> list[tuple[Key, ContestantProcess]]:
    return [(name, process) for name, process in processes.items() if name not in failures]

  for name, process in remaining():
    try:
      process.started(deadline)
      process.seconds(_WARM_UP_RUNS)
      runs[name] = max(1, round(turn_seconds / process.seconds(1)))
    except ContestantFailed as failure:
      failures[name] = failure

  for _ in range(rounds):
    for name, process in remaining():
      try:
        seconds = process.seconds(runs[name]) / runs[name]
        turns[name].append(seconds / process.started().steps_per_run)
      except ContestantFailed as failure:
        failures[name] = failure

  outcomes: dict[Key, Outcome | ContestantFailed] = dict(failures)
  for name, process in remaining():
    try:
      outcomes[name] = Outcome(
        step_seconds=statistics.median(turns[name]),
        peak_memory=process.call('peak_memory'),
        compile_seconds=process.started().compile_seconds,
      )
    except ContestantFailed as failure:
      outcomes[name] = failure
  return {name: outcomes[name] for name in processes}


def process_peak_memory() -> int:
  """The peak resident memory of this process in bytes."""
  status = pathlib.Path('/proc/self/status')
  if status.exists():  # getrusage on Linux starts from the memory of the parent
    peak = next(line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    return int(peak.split()[1]) * 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
    1 if sys.platform == 'darwin' else 1024
  )


def _serve(contestant: Contestant, connection):
  """Answers (method, *arguments) with (exception or None, value, seconds), in a process.

  Args:
    contestant: whose methods are called.
    connection: to the process that measures; ends this one when it is closed.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process when interrupted
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'  # leave room for the others
  while True:
    try:
      method, *arguments = connection.recv()
    except (EOFError, OSError):
      return
    problem = value = None
    start = time.perf_counter()
    try:
      value = getattr(contestant, method)(*arguments)
    except UserError as error:
      problem = error
    except Exception as error:  # of JAX, PyTorch, CUDA
      problem = ContestantFailed(_one_line(error))
    connection.send((problem, value, time.perf_counter() - start))


def _one_line(error: Exception) -> str:
  text = f'{type(error).__name__}: {error}'
  if any(
    words in text
    for words in ('RESOURCE_EXHAUSTED', _OUT_OF_MEMORY, 'MemoryError', "can't allocate memory")
  ):
    return _OUT_OF_MEMORY
  line = ' '.join(text.split())
  return line if len(line) <= 120 else f'{line[:117]}...'

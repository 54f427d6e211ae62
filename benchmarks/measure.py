"""Contestants in processes of their own, which take turns: one works while the others wait.

So neither has the better minute of a shared machine, their thread pools never fight, and each has a
peak of memory of its own. A contestant that fails, most likely for want of memory, leaves the
others to go on.
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
from typing import Any, Protocol

from data_pipelines.scene_graphs.errors import UserError

_WARM_UP_RUNS = 3
_OUT_OF_MEMORY = 'out of memory'


@dataclasses.dataclass(frozen=True)
class Started:
  """What a contestant says when it is ready.

  Attributes:
    platform: cpu | gpu | tpu.
    device_kind: as JAX or PyTorch names the device.
    compile_seconds: spent on tracing and compiling; None where nothing is compiled ahead.
    steps_per_run: steps that each run stands for.
  """

  platform: str
  device_kind: str
  compile_seconds: float | None = None
  steps_per_run: int = 1


class Contestant(Protocol):
  """What is measured. It is pickled before it starts, so what is heavy, or touches a device, waits
  for `start`.
  """

  def start(self) -> Started:
    """Makes and compiles everything."""

  def run(self, times: int):
    """Returns when the device has done it all."""

  def peak_memory(self) -> int:
    """Bytes: of the device, or on a CPU of the process."""


class ContestantFailed(Exception):
  """Its text is one short line, fit for a table."""

  @property
  def out_of_memory(self) -> bool:
    return str(self) == _OUT_OF_MEMORY


class Entrant:
  """A contestant in a process, which begins to start it at once; a context that ends the process."""

  def __init__(self, contestant: Contestant):
    context = multiprocessing.get_context('spawn')  # neither JAX nor CUDA survives a fork
    self._connection, theirs = context.Pipe()
    self._process = context.Process(target=_serve, args=(contestant, theirs))
    self._process.start()
    theirs.close()
    self._connection.send(('start',))
    self._started = None

  def started(self, deadline: float = math.inf) -> Started:
    """Waits until it is ready, or to a time by time.monotonic().

    Raises:
      ContestantFailed: it could not start, or not in time.
      UserError: what it was made from is at fault.
    """
    if self._started is None:
      if deadline < math.inf and not self._connection.poll(max(deadline - time.monotonic(), 0)):
        self.close()
        raise ContestantFailed('not ready in time')
      self._started, _ = self._answer()
    return self._started

  def seconds(self, runs: int) -> float:
    """How long it takes for so many runs, by its own clock."""
    return self._ask('run', runs)[1]

  def call(self, method: str, *arguments) -> Any:
    """What a method of the contestant returns; ContestantFailed or UserError if it raises."""
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
    self._connection.close()
    self._process.join(0.5)
    self._process.terminate()  # it may be compiling, or hold gigabytes that take long to tidy up
    self._process.join()

  def __enter__(self) -> 'Entrant':
    return self

  def __exit__(self, *exception):
    self.close()


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Attributes:
  step_seconds: the median over the rounds.
  peak_memory: bytes.
  compile_seconds: as in Started.
  """

  step_seconds: float
  peak_memory: int
  compile_seconds: float | None


def take_turns(
  entrants: Mapping[str, Entrant], *, rounds: int, turn_seconds: float, deadline: float = math.inf
) -> dict[str, Outcome | ContestantFailed]:
  """Measures all entrants, round after round; who fails is left out of what follows.

  Args:
    rounds: turns of each.
    turn_seconds: about how long a turn takes, at least one run.
    deadline: by time.monotonic(), when who has not started yet has failed.
  """
  failures, runs, turns = {}, {}, {name: [] for name in entrants}

  def remaining():
    return [(name, entrant) for name, entrant in entrants.items() if name not in failures]

  for name, entrant in remaining():
    try:
      entrant.started(deadline)
      entrant.seconds(_WARM_UP_RUNS)
      runs[name] = max(1, round(turn_seconds / entrant.seconds(1)))
    except ContestantFailed as failure:
      failures[name] = failure
  for _ in range(rounds):
    for name, entrant in remaining():
      try:
        turns[name].append(
          entrant.seconds(runs[name]) / runs[name] / entrant.started().steps_per_run
        )
      except ContestantFailed as failure:
        failures[name] = failure
  outcomes = dict(failures)
  for name, entrant in remaining():
    try:
      outcomes[name] = Outcome(
        statistics.median(turns[name]),
        entrant.call('peak_memory'),
        entrant.started().compile_seconds,
      )
    except ContestantFailed as failure:
      outcomes[name] = failure
  return {name: outcomes[name] for name in entrants}


def process_peak_memory() -> int:
  """Bytes that this process has had in memory at most."""
  status = pathlib.Path('/proc/self/status')
  if status.exists():  # what getrusage says on Linux begins with the memory of the parent
    peak = next(line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    return int(peak.split()[1]) * 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
    1 if sys.platform == 'darwin' else 1024
  )


def _serve(contestant: Contestant, connection):
  """Answers (method, *arguments) with (exception or None, value, seconds) until the other side
  hangs up.
  """
  signal.signal(
    signal.SIGINT, signal.SIG_IGN
  )  # the parent ends this process when it is interrupted itself
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
    except Exception as error:  # whatever goes wrong is its own affair
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

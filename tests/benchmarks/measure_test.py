import dataclasses
import os
import signal
import time

import pytest

from benchmarks.measure import ContestantFailed, ContestantProcess, Outcome, Started, take_turns
from data_pipelines.scene_graphs.errors import Fault, SettingsError


@dataclasses.dataclass
class Sleeper:
  """A contestant that writes down when it works."""

  name: str
  log: str
  fails: str = ''

  def start(self) -> Started:
    if self.fails == 'start':
      raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory\nwhile trying to allocate 9 bytes')
    if self.fails == 'mistake':
      raise SettingsError(Fault('batch_size', 'is 0, expected 1 or more', '1'))
    if self.fails == 'late':
      time.sleep(60)
    return Started('cpu', 'cpu', compile_seconds=1.5, steps_per_run=2)

  def run(self, times: int):
    if self.fails == 'dies':
      os.kill(os.getpid(), signal.SIGKILL)
    with open(self.log, 'a') as log:
      log.write(f'{self.name}{times} ')
    time.sleep(0.01 * times)

  def peak_memory(self) -> int:
    return 7


def race(*sleepers, **options):
  processes = {sleeper.name: ContestantProcess(sleeper) for sleeper in sleepers}
  try:
    return take_turns(processes, rounds=3, turn_seconds=0, **options)
  finally:
    for process in processes.values():
      process.close()


def test_contestants_take_turns_and_failures_stop_nobody(tmp_path):
  log = str(tmp_path / 'log')
  outcomes = race(
    Sleeper('a', log), Sleeper('b', log, 'start'), Sleeper('c', log), Sleeper('d', log, 'dies')
  )
  assert (
    isinstance(outcomes['a'], Outcome)
    and outcomes['a'].peak_memory == 7
    and outcomes['a'].compile_seconds == 1.5
  )
  assert outcomes['a'].step_seconds > 0.004  # two steps in each run of 0.01 s
  assert outcomes['b'].out_of_memory and str(outcomes['b']) == 'out of memory'
  assert 'ended with status -9' in str(outcomes['d']) and not outcomes['d'].out_of_memory
  assert list(outcomes) == ['a', 'b', 'c', 'd']
  assert (tmp_path / 'log').read_text().split()[4:] == ['a1', 'c1'] * 3  # after warm-up


def test_who_is_not_ready_in_time_has_failed(tmp_path):
  outcomes = race(Sleeper('late', str(tmp_path / 'log'), 'late'), deadline=time.monotonic() + 1)
  assert isinstance(outcomes['late'], ContestantFailed) and 'not ready' in str(outcomes['late'])


def test_a_mistake_of_the_user_is_reported_as_such(tmp_path):
  with pytest.raises(SettingsError, match='batch_size is 0, expected 1 or more') as raised:
    race(Sleeper('a', str(tmp_path / 'log'), 'mistake'))
  # A command can still spell the setting as its flag.
  flag = raised.value.text(lambda name: f'--config.{name}')
  assert flag.endswith('set --config.batch_size=1')


def test_a_failed_start_is_remembered(tmp_path):
  with ContestantProcess(Sleeper('a', str(tmp_path / 'log'), 'start')) as process:
    for _ in range(2):
      with pytest.raises(ContestantFailed, match='out of memory'):
        process.started()
    with pytest.raises(ContestantFailed, match='out of memory'):
      process.call('peak_memory')

"""Work in other processes by Apache Beam: order, counters, workers that are lost."""

import logging
import math
import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from data_pipelines.scene_graphs.errors import UserError

beam_map = pytest.importorskip('data_pipelines.pipeline.beam_map')

NUM_ITEMS = 5 * beam_map.ITEMS_PER_SHARD + 3
PROCESSES = ('direct_running_mode=multi_processing', 'direct_num_workers=2')


class Parity:
  def __init__(self, number: int):
    self.number = number

  def counted_as(self) -> Iterator[str]:
    yield 'even' if self.number % 2 == 0 else 'odd'


def kill_the_first_worker(marker: pathlib.Path, number: int) -> tuple[int, int]:
  """The number and the process; the first process to come to number 70 is killed there."""
  if number == 70 and not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
  return number, os.getpid()


class Killing:
  """`kill_the_first_worker` as a function of the number; pickled by name."""

  def __init__(self, marker: pathlib.Path):
    self.marker = marker

  def __call__(self, number: int) -> tuple[int, int]:
    return kill_the_first_worker(self.marker, number)


def mapped(tmp_path, function, items, *options: str) -> list:
  with beam_map.opened('DirectRunner', options, tmp_path / 'parent') as ordered_map:
    return list(ordered_map(function, items))


def test_keeps_the_order_and_leaves_nothing_behind(tmp_path):
  results = mapped(tmp_path, math.sqrt, iter(range(NUM_ITEMS)))
  assert results == [math.sqrt(item) for item in range(NUM_ITEMS)]
  assert mapped(tmp_path, math.sqrt, []) == []
  assert list((tmp_path / 'parent').iterdir()) == []


def test_counts(tmp_path, caplog):
  caplog.set_level(logging.INFO, logger='absl')
  mapped(tmp_path, Parity, range(NUM_ITEMS))
  assert f'DirectRunner: even: {(NUM_ITEMS + 1) // 2}, odd: {NUM_ITEMS // 2}.' in caplog.text


@pytest.mark.slow
def test_the_shards_of_a_killed_worker_are_made_again(tmp_path, caplog):
  results = mapped(tmp_path, Killing(tmp_path / 'killed'), range(NUM_ITEMS), *PROCESSES)
  assert (tmp_path / 'killed').exists()
  assert [number for number, _ in results] == list(range(NUM_ITEMS))
  assert os.getpid() not in {process for _, process in results}
  assert 'The pipeline failed on DirectRunner (' in caplog.text
  again = next(line for line in caplog.messages if line.startswith('Making '))
  assert again.endswith(' of 6 shards again.') and int(again.split()[1]) >= 1


def test_what_fails_again_and_again_is_told_in_one_line(tmp_path, caplog):
  with pytest.raises(UserError) as raised:
    mapped(tmp_path, math.sqrt, [1, -1])
  assert str(raised.value).startswith(
    'the pipeline failed 3 times on DirectRunner (math domain error'
  )
  assert '\n' not in str(raised.value)
  assert caplog.text.count('The pipeline failed on DirectRunner') == 2
  assert list((tmp_path / 'parent').iterdir()) == []


@pytest.mark.parametrize(
  'runner, options, message',
  [
    (
      'DirectRunner',
      ['direct_num_workers=two'],
      "--beam_options: argument --direct_num_workers: invalid int value: 'two'",
    ),
    ('NoRunner', [], '--beam_runner: '),
  ],
)
def test_mistakes_are_one_line(tmp_path, capsys, runner, options, message):
  with pytest.raises(UserError) as raised, beam_map.opened(runner, options, tmp_path / 'parent'):
    pass
  assert str(raised.value).startswith(message) and '\n' not in str(raised.value)
  assert capsys.readouterr().err == '' and not (tmp_path / 'parent').exists()

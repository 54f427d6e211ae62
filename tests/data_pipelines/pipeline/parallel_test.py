import itertools
import os
import threading
import time

import pytest

from data_pipelines.pipeline import parallel

MOST_IN_MEMORY = (os.cpu_count() or 1) * 4 + 1


def test_keeps_the_order_however_long_an_item_takes():
  def work(item: int) -> int:
    time.sleep((item % 5) * 0.002)
    return item * item

  assert list(parallel.ordered_map(work, iter(range(100)))) == [item * item for item in range(100)]
  assert list(parallel.ordered_map(work, [])) == []


def test_takes_few_items_at_a_time():
  taken = []
  results = parallel.ordered_map(abs, (taken.append(item) or item for item in itertools.count()))
  assert not taken
  for expected, result in zip(range(50), results):
    assert result == expected
    assert len(taken) <= expected + MOST_IN_MEMORY
  results.close()


def test_works_on_several_items_at_once(monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 4)
  together = threading.Barrier(4, timeout=20)
  assert len(set(parallel.ordered_map(lambda _: together.wait(), range(4)))) == 4


def test_an_error_comes_in_its_turn_and_ends_the_work(monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 1)
  begun = []

  def work(item: int) -> int:
    begun.append(item)
    time.sleep(0.05)
    return 1 // (item - 2)

  results = parallel.ordered_map(work, range(100))
  assert [next(results), next(results)] == [-1, -1]
  with pytest.raises(ZeroDivisionError):
    next(results)
  assert max(begun) <= 3  # one item may have begun before the error was seen
  with pytest.raises(StopIteration):
    next(results)


def test_stopping_early_drops_what_has_not_begun(monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 1)
  begun = []
  results = parallel.ordered_map(lambda item: (begun.append(item), time.sleep(0.05)), range(100))
  next(results)
  results.close()
  assert len(begun) <= 3

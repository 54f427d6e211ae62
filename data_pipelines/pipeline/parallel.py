"""Work on many items at once, in their order."""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

_QUEUED_PER_THREAD = 4

Item = TypeVar('Item')
Result = TypeVar('Result')


class OrderedMap(Protocol):
  """Who works on many items: threads (`ordered_map`), or other processes and machines."""

  def __call__(
    self, function: Callable[[Item], Result], items: Iterable[Item], /
  ) -> Iterator[Result]:
    """Yields function(item) in order.

    Args:
      function: picklable, as are its results.
      items: picklable ones.
    """
    ...


@dataclasses.dataclass(frozen=True)
class BeamSettings:
  """Apache Beam as what works on many items; see `beam_map`.

  Attributes:
    runner: where its pipelines run: DirectRunner is processes of this machine.
    options: NAME=VALUE, of Beam's pipeline options.
  """

  runner: str
  options: tuple[str, ...] = ()


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
  """Yields function(item) in order, computed by one thread per core, a few items ahead.

  An exception of `function` is raised in the item's turn; items that have not started by then, or
  when the caller stops early, are cancelled.

  Threads, as decoding and resizing of images release the GIL; processes and machines are in
  `beam_map`.
  """
  num_threads = os.cpu_count() or 1
  pool = concurrent.futures.ThreadPoolExecutor(num_threads)
  try:
    remaining = iter(items)
    queue = collections.deque(
      pool.submit(function, item)
      for item in itertools.islice(remaining, num_threads * _QUEUED_PER_THREAD)
    )
    while queue:
      result = queue.popleft().result()
      for item in itertools.islice(remaining, 1):
        queue.append(pool.submit(function, item))
      yield result
  finally:
    pool.shutdown(cancel_futures=True)


def one_by_one(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
  """Yields function(item) in order, in this thread: for what holds the GIL, which threads slow."""
  return map(function, items)

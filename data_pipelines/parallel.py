"""Work on many items at once, in their order."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_QUEUED_PER_THREAD = 4

Item, Result = TypeVar('Item'), TypeVar('Result')


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
  """function(item) of each item, in order, computed by a thread a core; only a few items at a time are in memory.

  Threads, because decoding, resizing and drawing of images release the interpreter; processes would import this
  program's main module again.
  """
  num_threads = os.cpu_count() or 1
  with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
    remaining = iter(items)
    queue = collections.deque(pool.submit(function, item)
                              for item in itertools.islice(remaining, num_threads * _QUEUED_PER_THREAD))
    while queue:
      result = queue.popleft().result()
      for item in itertools.islice(remaining, 1):
        queue.append(pool.submit(function, item))
      yield result

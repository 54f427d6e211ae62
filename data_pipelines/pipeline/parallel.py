"""Work on many items at once, in their order."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_QUEUED_PER_THREAD = 4

Item = TypeVar('Item')
Result = TypeVar('Result')


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
  """function(item) of each item, in order, computed by a thread a core; only a few items at a time
  are in memory.

  What `function` raises is raised here, in the item's turn; what has not begun by then, or when the
  caller stops early, is not computed.

  Threads, because decoding, resizing and drawing of images release the interpreter; processes would
  import this program's main module again.
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

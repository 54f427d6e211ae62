"""What long work says of itself: records of the logger `sg2im_jax`, from the first process alone.

A program that uses the package sees them where its own logging sends them; the commands print them.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from data_pipelines.command_line import duration
from sg2im_jax.runtime import hosts

SECONDS_BETWEEN_LINES = 5  # of `with_progress`

Item = TypeVar('Item')

_logger = logging.getLogger('sg2im_jax')


def info(text: str):
  """Reports what is being done."""
  if hosts.is_first():
    _logger.info(text)


def warning(text: str):
  """Reports what the user should know of, though the work goes on."""
  if hosts.is_first():
    _logger.warning(text)


def print_records():
  """Prints the records of this process, as the commands do: plain lines to stdout, warnings to
  stderr.
  """
  _logger.handlers = [_Printer()]
  _logger.setLevel(logging.INFO)
  _logger.propagate = False


def with_progress(
  items: Iterable[Item], *, total: int, noun: str, images_each: int
) -> Iterator[Item]:
  """Yields the items and reports now and then how many are done, images/s and the time left.

  Args:
    items: their time is what it takes to get the next one.
    total: how many there will be.
    noun: what they are, in the plural.
    images_each: images that an item stands for.
  """
  start = reported = 0.0
  for done, item in enumerate(items, 1):
    yield item
    now = time.monotonic()
    if done == 1:
      start = reported = now  # the first one took the time to compile
    elif now - reported > SECONDS_BETWEEN_LINES and done < total:
      reported = now
      seconds = max(now - start, 1e-9) / (done - 1)  # an item
      info(
        f'{done} of {total} {noun}, {images_each / seconds:.3g} images/s, '
        f'{duration(seconds * (total - done))} left'
      )


class _Printer(logging.Handler):
  def emit(self, record: logging.LogRecord):
    if record.levelno >= logging.WARNING:
      print(f'warning: {record.getMessage()}', file=sys.stderr, flush=True)
    else:
      print(record.getMessage(), flush=True)

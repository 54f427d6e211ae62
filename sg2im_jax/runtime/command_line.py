"""How commands of this package start, as those of data_pipelines do with --config besides, and say
how far they are.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from data_pipelines import command_line
from sg2im_jax.runtime import config_flag, hosts

SECONDS_BETWEEN_LINES = 5  # of `announced`

Item = TypeVar('Item')


def run(main: Callable[[Sequence[str]], int | None], *, arguments: bool = False):
  """Parses the flags, with or without a --config; for the rest see
  `data_pipelines.command_line.run`.
  """
  command_line.run(main, config_flag.parse_flags, arguments=arguments)


def announced(items: Iterable[Item], num_items: int, noun: str, images_each: int) -> Iterator[Item]:
  """The items as they come, with a line now and then: how many of `num_items` are done, images/s,
  the time left.
  """
  for done, item in enumerate(items, 1):
    yield item
    now = time.monotonic()
    if done == 1:
      start = reported = now  # the first one took the time to compile
    elif now - reported > SECONDS_BETWEEN_LINES and done < num_items:
      reported = now
      seconds = max(now - start, 1e-9) / (done - 1)  # an item
      hosts.say(
        f'{done} of {num_items} {noun}, {images_each / seconds:.3g} images/s, '
        f'{command_line.duration(seconds * (num_items - done))} left'
      )

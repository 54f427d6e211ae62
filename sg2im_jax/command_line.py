"""How every command of this package starts: as those of data_pipelines do, with the flag --config besides."""

from collections.abc import Callable, Sequence

from data_pipelines import command_line
from sg2im_jax import config_flag


def run(main: Callable[[Sequence[str]], int | None]):
  """Parses the flags, with or without a --config; for the rest see `data_pipelines.command_line.run`."""
  command_line.run(main, config_flag.parse_flags)

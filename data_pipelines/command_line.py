"""How every command starts, reports a mistake of its user and tells a time."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from data_pipelines.scene_graphs.errors import UserError


def parse_flags(argv: Sequence[str]) -> list[str]:
  """What is not a flag, the program's name first; UserError for an unknown flag or a wrong value."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error


def refuse_arguments(argv: Sequence[str]):
  """UserError if there is anything beside flags, the program's name first."""
  if len(argv) > 1:
    raise UserError(
      f'unexpected argument {argv[1]!r}; every option is a flag, --name=value, and --help lists '
      'them'
    )


def run(
  main: Callable[[Sequence[str]], int | None],
  parser: Callable[[Sequence[str]], list[str]] = parse_flags,
  *,
  arguments: bool = False,
):
  """Parses the flags, runs `main(argv)` and exits with the status that it returns.

  With `arguments`, argv may hold more than flags, which is refused otherwise. A `UserError` becomes
  one line on stderr and exit status 2; Ctrl-C where nothing else handles it, status 130.
  """

  def checked(argv: Sequence[str]) -> int | None:
    if not arguments:
      refuse_arguments(argv)
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    return main(argv)

  try:
    app.run(checked, flags_parser=parser)
  except UserError as error:
    message = ' '.join(str(error).split())
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)


def duration(seconds: float) -> str:
  """Days, hours, minutes and seconds as 1d02h, 1h05m, 3m20s or 12s."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  days, hours = divmod(hours, 24)
  if days:
    return f'{days}d{hours:02}h'
  if hours:
    return f'{hours}h{minutes:02}m'
  return f'{minutes}m{seconds:02}s' if minutes else f'{seconds}s'

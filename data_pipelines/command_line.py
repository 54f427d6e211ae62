"""How every command starts: flags from the fields of one class, and mistakes in one line.

The options of a command are a `Section`: each field is a flag, with its type, limits, default and
help; a field without a default must be given. The command gets the checked object.
"""

import gc
import io
import os
import re
import sys
import textwrap
import time
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import annotated_types
import pydantic.fields
from absl import app, flags, logging

from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.settings.section import Section

Options = TypeVar('Options', bound=Section)

# In a field's metadata: the flag is given once for each value; it is prose, where other texts are
# names and paths.
REPEATED, PROSE = 'repeated', 'prose'
_HELP_FLAGS = {'--help', '-help', '-h', '--h', '--helpfull', '--helpshort'}
_WIDTH = 100  # columns of --help
_NEW_OBJECTS = 50_000  # after which Python looks for garbage among them


def run(
  options_class: type[Options],
  main: Callable[[Options], int | None],
  *,
  doc: str | None,
  spell: Callable[[str], str] = lambda name: f'--{name}',
  parse: Callable[[Sequence[str]], list[str]] | None = None,
  positional: str | None = None,
) -> NoReturn:
  """Makes the options from the command line, runs `main(options)` and exits with its status.

  The `model_fields_set` of the options are the flags that were given.

  A `UserError` becomes one line on stderr and exit status 2; Ctrl-C where nothing else handles it,
  status 130. `--help` prints `doc` and the flags, with status 0.

  Args:
    options_class: whose fields are the flags.
    main: the command; returns the exit status, None for 0.
    doc: what --help says before the flags, such as the module's docstring.
    spell: how the command writes a setting that a `SettingsError` names.
    parse: from the arguments (the program's name first) to those that are no flags; by default
      absl's.
    positional: the field that takes the arguments that are no flags; without it there may be none.
  """
  define_flags(options_class, positional=positional)

  def parse_flags(argv: Sequence[str]) -> list[str]:
    if _HELP_FLAGS & set(argv[1:]):
      print(_help(options_class, doc, positional))
      sys.exit(0)
    return (parse or _parse_flags)(argv)

  def checked(argv: Sequence[str]) -> int | None:
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    values = {
      name: _value(options_class, name)
      for name in options_class.model_fields
      if name != positional and flags.FLAGS[name].present
    }
    if positional is not None:
      values[positional] = tuple(argv[1:])
    elif len(argv) > 1:
      raise UserError(
        f'unexpected argument {argv[1]!r}; every option is a flag, --name=value, and --help lists '
        'them'
      )
    status = main(options_class.from_values(values))
    gc.freeze()  # else the last collections go over millions of objects, for seconds
    return status

  # Else a fifth of a start goes by collecting among the objects of modules and of traced functions,
  # none of which is garbage.
  gc.set_threshold(_NEW_OBJECTS)
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # names that the terminal cannot show lose no work
      stream.reconfigure(errors='replace')
  try:
    app.run(checked, flags_parser=parse_flags)
  except SettingsError as error:
    _fail(error.text(spell))
  except UserError as error:
    _fail(str(error))
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)
  raise AssertionError('app.run exits')


def define_flags(
  options_class: type[Section],
  flag_values: flags.FlagValues = flags.FLAGS,
  *,
  positional: str | None = None,
):
  """Defines a flag for each field of the class but the one of positional arguments."""
  for name, field in options_class.model_fields.items():
    if name == positional:
      continue
    kind, constraints = _kind(field)
    default = None if field.is_required() else field.get_default()
    common: dict[str, Any] = {'help': field.description, 'flag_values': flag_values}
    if typing.get_origin(kind) is typing.Literal:
      flags.DEFINE_enum(name, default, list(typing.get_args(kind)), **common)
    elif typing.get_origin(kind) is tuple:
      define = flags.DEFINE_multi_string if REPEATED in constraints else flags.DEFINE_list
      define(name, None if default is None else list(map(str, default)), **common)
    elif kind is bool:
      flags.DEFINE_bool(name, default, **common)
    elif kind in (int, float):
      define = flags.DEFINE_integer if kind is int else flags.DEFINE_float
      limits = {}
      for constraint in constraints:
        if isinstance(constraint, annotated_types.Ge):
          limits['lower_bound'] = constraint.ge
        elif isinstance(constraint, annotated_types.Le):
          limits['upper_bound'] = constraint.le
      define(name, default, **limits, **common)
    else:
      flags.DEFINE_string(name, default, **common)


class Console:
  """Messages and progress on stderr, for libraries that tell a listener how they get on."""

  def __init__(self):
    self._is_terminal = sys.stderr.isatty()
    self._shown = time.monotonic()

  def say(self, text: str):
    """A line."""
    print(text, file=sys.stderr, flush=True)

  def update(self, text: str, *, is_final: bool):
    """Rewrites the line on a terminal; elsewhere prints a line now and then."""
    now = time.monotonic()
    if is_final or now - self._shown >= (0.5 if self._is_terminal else 30):
      self._shown = now
      line = f'\r{text:<78}' if self._is_terminal else text
      end = '\n' if is_final or not self._is_terminal else ''
      print(line, end=end, file=sys.stderr, flush=True)


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


def _parse_flags(argv: Sequence[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error


def _fail(message: str) -> NoReturn:
  print(f'error: {" ".join(message.split())}', file=sys.stderr)
  sys.exit(2)


def _kind(field: pydantic.fields.FieldInfo) -> tuple[Any, list[Any]]:
  """The type of a field without `| None`, and what limits it."""
  kind, constraints = field.annotation, list(field.metadata)
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    kind = next(part for part in typing.get_args(kind) if part is not type(None))
  while typing.get_origin(kind) is typing.Annotated:
    kind, *more = typing.get_args(kind)
    for one in more:
      constraints += one.metadata if isinstance(one, pydantic.fields.FieldInfo) else [one]
  return kind, constraints


def _value(options_class: type[Section], name: str) -> Any:
  """What the command line says for a field, in the field's type."""
  value = flags.FLAGS[name].value
  kind, constraints = _kind(options_class.model_fields[name])
  if isinstance(value, str):
    return value if PROSE in constraints else _local_path(name, value)
  if not isinstance(value, list):
    return value
  if typing.get_args(kind)[0] is int:
    try:
      return tuple(map(int, value))
    except ValueError:
      expected = options_class.model_fields[name].description
      raise UserError(f'--{name}={",".join(value)}: expected whole numbers: {expected}') from None
  return tuple(value)


def _local_path(name: str, value: str) -> str:
  """A text as it is, a path from ~ on as the shell would have it.

  Raises:
    UserError: it is an address, which would become a folder of that name.
  """
  if re.match(r'[a-z][a-z0-9+.-]*://', value):
    raise UserError(
      f'--{name}={value}: files are read and written on this machine alone; give a path here, '
      'where such storage may be mounted'
    )
  return os.path.expanduser(value)


def _help(options_class: type[Section], doc: str | None, positional: str | None) -> str:
  return '\n'.join([(doc or '').strip(), '', 'Flags:', *_flag_lines(options_class, positional)])


def _flag_lines(options_class: type[Section], positional: str | None) -> Iterator[str]:
  fields = options_class.model_fields.items()
  for name, field in sorted(fields, key=lambda item: not item[1].is_required()):
    if name == positional:
      continue
    kind, _ = _kind(field)
    if kind is bool:
      yield f'  --[no]{name}'
    elif typing.get_origin(kind) is typing.Literal:
      yield f'  --{name}={"|".join(typing.get_args(kind))}'
    else:
      yield f'  --{name}=...'
    text = field.description or ''
    if field.is_required():
      text += ' Required.'
    elif not (field.get_default() in (None, ()) or field.get_default() is False):
      text += f' Default: {_shown(field.get_default())}.'
    yield from textwrap.wrap(
      text, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6, break_on_hyphens=False
    )


def _shown(value: Any) -> str:
  return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)

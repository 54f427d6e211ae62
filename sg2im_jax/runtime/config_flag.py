"""The flag --config=FILE with its overrides --config.KEY=VALUE, and its errors in one line."""

import difflib
import pathlib
import re
import runpy
from collections.abc import Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from data_pipelines.scene_graphs.errors import UserError


def define(flag_values: flags.FlagValues = flags.FLAGS):
  """Defines the flag --config=FILE, which must be given."""
  config_flags.DEFINE_config_file(
    'config', None, 'One of the files in configs/.', flag_values, lock_config=True
  )
  flags.mark_flag_as_required('config', flag_values)


def parse_flags(argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
  """Parses the command line, with or without a --config; returns what is not a flag, the program's
  name first.
  """
  original = _original_config(argv) if 'config' in flag_values else None
  try:
    arguments = flag_values(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error
  if original is not None:
    _check_tuples(original, flag_values.config)
  return arguments


def _original_config(argv: Sequence[str]) -> ConfigDict | None:
  """The config before the overrides, whose names are checked: what config_flags raises is a stack
  trace.
  """
  path = _config_path(argv)
  if path is None:
    return None
  file = pathlib.Path(path.split(':', 1)[0])
  if not file.is_file():
    known = (
      ', '.join(str(found) for found in sorted(pathlib.Path('configs').glob('[!_]*.py')))
      or 'none in configs/'
    )
    raise UserError(f'--config={path}: no such file; there are: {known}')
  try:
    config = runpy.run_path(str(file))['get_config'](*path.split(':', 1)[1:])
  except UserError as error:
    raise UserError(f'--config={path}: {error}') from error
  except Exception as error:  # a config is a program, and may fail like any
    raise UserError(f'--config={path} cannot be loaded: {type(error).__name__}: {error}') from error
  names = list(_names(config))
  for argument in argv:
    override = re.match(r'--?(?:no)?config\.([^=]+)', argument)
    if override and override[1] not in names:
      raise UserError(
        f'{path} has no key "{override[1]}"; the nearest is --config.{_nearest(override[1], names)}'
      )
  return config


def _config_path(argv: Sequence[str]) -> str | None:
  for argument, following in zip(argv, [*argv[1:], ''], strict=True):
    match = re.fullmatch(r'--?config(?:=(.*))?', argument)
    if match:
      return following if match[1] is None else match[1]
  return None


def _names(config: ConfigDict, prefix: str = '') -> Iterator[str]:
  for key, value in config.items():
    yield f'{prefix}{key}'
    if isinstance(value, ConfigDict):
      yield from _names(value, f'{prefix}{key}.')


def _nearest(asked: str, names: Sequence[str]) -> str:
  """A key that is right but for its section comes first, then the key that is spelled most alike."""

  def likeness(name: str) -> tuple[bool, float]:
    return (
      name.split('.')[-1] == asked.split('.')[-1],
      difflib.SequenceMatcher(None, asked, name).ratio(),
    )

  return max(names, key=likeness)


def _check_tuples(original: ConfigDict, config: ConfigDict):
  """config_flags takes any text for a tuple: `--config.data.image_size=64x64` would be the tuple
  ('64x64',).
  """
  for name in _names(original):
    before, after = (_value(tree, name) for tree in (original, config))
    if isinstance(before, tuple) and before and {type(item) for item in after} != {type(before[0])}:
      raise UserError(
        f'--config.{name}={after}: expected values of type {type(before[0]).__name__}, such as '
        f'{before}'
      )


def _value(config: ConfigDict, name: str):
  for key in name.split('.'):
    config = config[key]
  return config

"""The flag --config=FILE with its overrides --config.KEY=VALUE, and its errors in one line."""

import difflib
import pathlib
import re
import runpy
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from data_pipelines import configs
from data_pipelines.scene_graphs.errors import UserError


def define(flag_values: flags.FlagValues = flags.FLAGS):
  """Defines the flag --config: the path of a config, or the name of one of this package's."""
  config_flags.DEFINE_config_file(
    'config', None, 'One of the files in configs/.', flag_values, lock_config=True
  )


def parse_flags(argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
  """Parses the command line with its --config; returns what is no flag, the program's name first.

  Raises:
    UserError: an unknown flag or setting, a value of another type, or a config that is not there or
      cannot be loaded.
  """
  argv, original = _with_path(argv)
  _check_overrides(argv, original)
  try:
    arguments = flag_values(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error
  _check_tuples(original, flag_values.config)
  return arguments


def load(name: str) -> ConfigDict:
  """The config of this name, or of the file at this path, as --config takes them.

  Raises:
    UserError: there is none, or it cannot be loaded.
  """
  return _load(name)[1]


def config_names() -> list[str]:
  """The names of the configs that come with this package."""
  return sorted(path.stem for path in _directory().glob('[!_]*.py'))


def _directory() -> pathlib.Path:
  return pathlib.Path(configs.__path__[0])


def _with_path(argv: Sequence[str]) -> tuple[list[str], ConfigDict]:
  """The arguments with the config's path in place of its name, and the config before overrides."""
  for index, argument in enumerate(argv):
    match = re.fullmatch(r'--?config(?:=(.*))?', argument)
    if match and match[1] is None and index + 1 < len(argv):
      given = argv[index + 1]
      path, config = _load(given)
      return [*argv[: index + 1], path, *argv[index + 2 :]], config
    if match and match[1] is not None:
      path, config = _load(match[1])
      return [*argv[:index], f'--config={path}', *argv[index + 1 :]], config
  raise UserError(
    f'--config is missing; expected a file of configs/ or one of {", ".join(config_names())}'
  )


def _load(given: str) -> tuple[str, ConfigDict]:
  """The path of a config, with the argument after its colon, and the config."""
  name, *argument = given.split(':', 1)
  # `configs/NAME.py` means this package's where there is no such file, as in an installed wheel.
  own = _directory() / f'{pathlib.PurePath(name).stem}.py'
  is_own_name = name == own.stem or pathlib.PurePath(name) == pathlib.PurePath('configs', own.name)
  file = own if is_own_name and not pathlib.Path(name).is_file() else pathlib.Path(name)
  if not file.is_file():
    raise UserError(
      f'--config={given}: no such file; expected one of {", ".join(config_names())}, or a file'
    )
  try:
    config = runpy.run_path(str(file))['get_config'](*argument)
  except (UserError, ValueError) as error:
    raise UserError(f'--config={given}: {error}') from error
  except Exception as error:  # a config is a program, and may fail like any
    raise UserError(
      f'--config={given} cannot be loaded: {type(error).__name__}: {error}'
    ) from error
  return ':'.join([str(file), *argument]), config


def _check_overrides(argv: Sequence[str], config: ConfigDict):
  """Names the nearest setting where an override names none; config_flags raises a stack trace."""
  names = list(_names(config))
  for argument in argv:
    override = re.match(r'--?(?:no)?config\.([^=]+)', argument)
    if override and override[1] not in names:
      raise UserError(
        f'the config has no key "{override[1]}"; the nearest is '
        f'--config.{_nearest(override[1], names)}'
      )


def _names(config: ConfigDict, prefix: str = '') -> Iterator[str]:
  for key, value in config.items():
    yield f'{prefix}{key}'
    if isinstance(value, ConfigDict):
      yield from _names(value, f'{prefix}{key}.')


def _nearest(asked: str, names: Sequence[str]) -> str:
  """The key of that name in another section, or else the one that is spelled most alike."""

  def likeness(name: str) -> tuple[bool, float]:
    return (
      name.split('.')[-1] == asked.split('.')[-1],
      difflib.SequenceMatcher(None, asked, name).ratio(),
    )

  return max(names, key=likeness)


def _check_tuples(original: ConfigDict, config: ConfigDict):
  """Checks the types in tuples, which config_flags does not: `--config.data.image_size=64x64` would
  be the tuple ('64x64',).
  """
  for name in _names(original):
    before, after = _value(original, name), _value(config, name)
    if isinstance(before, tuple) and before and {type(item) for item in after} != {type(before[0])}:
      raise UserError(
        f'--config.{name}={after}: expected values of type {type(before[0]).__name__}, such as '
        f'{before}'
      )


def _value(config: ConfigDict, name: str) -> Any:
  value: Any = config
  for key in name.split('.'):
    value = value[key]
  return value

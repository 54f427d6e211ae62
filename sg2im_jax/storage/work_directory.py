"""WORKDIR/config.json and WORKDIR/vocabulary.json: what the checkpoints beside them are checkpoints
of.
"""

import json
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.configs import coco64
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.runtime import atomic_files

# A run may be continued with other settings than these: the arrays of a checkpoint have their
# shapes and meaning.
FIXED_SETTINGS = (
  'data.name',
  'data.image_size',
  'model',
  'image_discriminator',
  'object_discriminator',
)


def save_config(workdir: str | os.PathLike, config: ConfigDict):
  """Writes config.json whole or not at all."""
  write_json(pathlib.Path(workdir) / 'config.json', json.loads(config.to_json_best_effort()))


def save_vocabulary(workdir: str | os.PathLike, vocabulary: Vocabulary):
  """Writes vocabulary.json whole or not at all."""
  write_json(pathlib.Path(workdir) / 'vocabulary.json', vocabulary.to_dict())


def load_config(workdir: str | os.PathLike) -> ConfigDict:
  """The config that the work directory was trained with, its tuples tuples again.

  Settings that are newer than the work directory have the values of the base config, which change
  nothing.
  """
  config = ConfigDict(_tuples(_read_json(pathlib.Path(workdir) / 'config.json')))
  _fill(config, coco64.get_config())
  return config.lock()


def load_vocabulary(workdir: str | os.PathLike) -> Vocabulary:
  return Vocabulary.from_dict(_read_json(pathlib.Path(workdir) / 'vocabulary.json'))


def changed_settings(saved: ConfigDict, config: ConfigDict) -> dict[str, tuple[Any, Any]]:
  """The settings that differ, by dotted name: (saved value, value now); 'nothing' where a config
  lacks the name.
  """
  old, new = _flatten(saved), _flatten(config)
  names = [name for name in {**old, **new} if old.get(name, 'nothing') != new.get(name, 'nothing')]
  return {name: (old.get(name, 'nothing'), new.get(name, 'nothing')) for name in names}


def check_same_model(workdir: str | os.PathLike, config: ConfigDict) -> dict[str, tuple[Any, Any]]:
  """Raises UserError if `config` asks for another model than the work directory holds; returns what
  else changed.
  """
  changed = changed_settings(load_config(workdir), config)
  fixed = {
    name: values
    for name, values in changed.items()
    if any(name == setting or name.startswith(f'{setting}.') for setting in FIXED_SETTINGS)
  }
  if fixed:
    raise UserError(
      f'{workdir} holds checkpoints of another model, with {describe_changes(fixed)}; '
      'use another --workdir, or the settings that it was trained with'
    )
  return changed


def describe_changes(changed: dict[str, tuple[Any, Any]]) -> str:
  return ', '.join(
    f'{name} {_show(old)} (now {_show(new)})' for name, (old, new) in changed.items()
  )


def _show(value: Any) -> str:
  return str(tuple(value)) if isinstance(value, list) else str(value)


def _flatten(config: ConfigDict) -> dict[str, Any]:
  """Settings by dotted name as JSON knows them, so that a saved config and a fresh one compare
  equal.
  """

  def walk(node, prefix):
    for key, value in node.items():
      if isinstance(value, dict):
        yield from walk(value, f'{prefix}{key}.')
      else:
        yield f'{prefix}{key}', value

  return dict(walk(json.loads(config.to_json_best_effort()), ''))


def _fill(config: ConfigDict, base: ConfigDict):
  for key, value in base.items():
    if key not in config:
      config[key] = value
    elif isinstance(value, ConfigDict) and key != 'options':  # those are each data set's own
      _fill(config[key], value)


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def write_json(path: pathlib.Path, value: Any):
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, (json.dumps(value, indent=2) + '\n').encode())
  except OSError as error:
    raise UserError(
      f'cannot write {path}: {error.strerror}; choose a --workdir that can be written'
    ) from error


def _read_json(path: pathlib.Path) -> Any:
  try:
    value = json.loads(path.read_text())
  except FileNotFoundError as error:
    raise UserError(
      f'{path.parent} is not a work directory: it has no {path.name}; train first: '
      f'python -m sg2im_jax.train --config=configs/storybook.py --workdir={path.parent}'
    ) from error
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error
  except ValueError as error:
    raise UserError(
      f'{path} is not JSON: {error}; restore it, or train into another --workdir'
    ) from error
  if not isinstance(value, dict):
    raise UserError(f'{path} holds a {type(value).__name__}; expected a JSON object')
  return value

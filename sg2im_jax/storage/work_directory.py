"""A work directory: settings and vocabulary beside the checkpoints that belong to them.

WORKDIR/config.json, vocabulary.json   what the checkpoints are checkpoints of
WORKDIR/graph_statistics.json          of the training data, to complete graphs with
WORKDIR/validation_scenes.json         a few real scenes, for the studio
WORKDIR/checkpoints/STEP/              see `checkpoints`
WORKDIR/metrics.jsonl, tensorboard/    the log of training
WORKDIR/training.lock                  held by the training that runs now
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import filelock

from data_pipelines import atomic_files
from data_pipelines.configs import of_workdir
from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.settings import Settings

# A run may be continued with other settings than these: the arrays of a checkpoint have their
# shapes and their meaning.
FIXED_SETTINGS = (
  'data.name',
  'data.image_size',
  'model',
  'image_discriminator',
  'object_discriminator',
)

_CONFIG, _VOCABULARY, _LOCK = 'config.json', 'vocabulary.json', 'training.lock'
_STATISTICS = 'graph_statistics.json'


def save(workdir: str | os.PathLike, settings: Settings, vocabulary: Vocabulary):
  """Writes both files, each of them atomically."""
  directory = pathlib.Path(workdir)
  write_json(directory / _VOCABULARY, vocabulary.to_dict())
  write_json(directory / _CONFIG, settings.model_dump(mode='json'))


def load_settings(workdir: str | os.PathLike) -> Settings:
  """The settings of the newest training here.

  Settings that are newer than the file have the values of coco64, which are backward-compatible.

  Raises:
    UserError: there is no config.json, or it cannot be read or does not describe a run.
  """
  path = pathlib.Path(workdir) / _CONFIG
  values = _read_json(path)
  try:
    return Settings.from_config(of_workdir.from_json(values))
  except SettingsError as error:
    raise UserError(f'{path}: {error}; restore it, or train into another work directory') from error


def load_vocabulary(workdir: str | os.PathLike) -> Vocabulary:
  """The names that the model of a work directory knows."""
  return Vocabulary.from_dict(_read_json(pathlib.Path(workdir) / _VOCABULARY))


def save_statistics(workdir: str | os.PathLike, statistics: GraphStatistics):
  """Writes the counts of the training data's graphs, atomically."""
  write_json(pathlib.Path(workdir) / _STATISTICS, statistics.to_dict(), indent=None)


def load_statistics(workdir: str | os.PathLike) -> GraphStatistics | None:
  """The counts of the training data's graphs; None where there are none, as of a converted model.

  Raises:
    UserError: the file is damaged.
  """
  path = pathlib.Path(workdir) / _STATISTICS
  if not path.exists():
    return None
  try:
    return GraphStatistics.from_dict(_read_json(path))
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{path} is damaged ({error}); delete it, and training writes it again'
    ) from error


def changed_settings(saved: Settings, settings: Settings) -> dict[str, tuple[Any, Any]]:
  """The settings that differ, by dotted name: (saved value, value now); 'nothing' where one of
  them lacks the name.
  """
  old, new = (dict(_leaves(one.model_dump(mode='json'))) for one in (saved, settings))
  names = dict.fromkeys([*old, *new])
  values = {name: (old.get(name, 'nothing'), new.get(name, 'nothing')) for name in names}
  return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def check_same_model(workdir: str | os.PathLike, settings: Settings) -> dict[str, tuple[Any, Any]]:
  """What `changed_settings` finds beside the model.

  Raises:
    UserError: the settings describe another model than that of the checkpoints.
  """
  changed = changed_settings(load_settings(workdir), settings)
  fixed = {
    name: values
    for name, values in changed.items()
    if any(name == setting or name.startswith(f'{setting}.') for setting in FIXED_SETTINGS)
  }
  if fixed:
    raise UserError(
      f'{workdir} holds checkpoints of another model, with {describe_changes(fixed)}; use another '
      'work directory, or the settings that it was trained with'
    )
  return changed


def describe_changes(changed: dict[str, tuple[Any, Any]]) -> str:
  """The changes in one line."""
  return ', '.join(
    f'{name} {_shown(old)} (now {_shown(new)})' for name, (old, new) in changed.items()
  )


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
  """A context in which no other training can enter the same work directory.

  The lock is the operating system's, on a file in the directory, so it ends with its process,
  however that ends. On a network file system it holds as far as that implements flock. What this
  context itself has made, the file and perhaps the directory, it removes at its end unless the
  directory is used by then.

  Raises:
    UserError: another training holds the lock, or the directory cannot be written.
  """
  directory = pathlib.Path(workdir)
  path = directory / _LOCK
  missing = atomic_files.missing_directories(directory)
  lock = filelock.FileLock(path)
  try:
    directory.mkdir(parents=True, exist_ok=True)
    lock.acquire(blocking=False)
  except filelock.Timeout:
    raise UserError(
      f'{workdir} is in use by another training, which holds {path}; wait for its end or stop it, '
      'or choose another work directory'
    ) from None
  except OSError as error:
    raise UserError(
      f'cannot write to {workdir}: {error.strerror or error}; choose a work directory that can be '
      'written'
    ) from error
  try:
    yield
  finally:
    path.unlink(missing_ok=True)  # while it is held: another process sees that its file is gone
    lock.release()
    atomic_files.remove_unused(missing)


def write_json(path: pathlib.Path, value: Any, indent: int | None = 2):
  """Writes a JSON file atomically; UserError if it cannot be written."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, (json.dumps(value, indent=indent) + '\n').encode())
  except OSError as error:
    raise UserError(
      f'cannot write {path}: {error.strerror}; choose a work directory that can be written'
    ) from error


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    return of_workdir.read_json(path)
  except ValueError as error:
    raise UserError(str(error)) from error


def _leaves(values: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in values.items():
    if isinstance(value, dict):
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def _shown(value: Any) -> str:
  return str(tuple(value)) if isinstance(value, list) else str(value)

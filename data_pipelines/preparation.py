"""Preparing a data set; and what the command `prepare` needs: settings from options, a report."""

import importlib
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_pipelines import data_sets
from data_pipelines.data_sets import DataSet
from data_pipelines.pipeline.parallel import BeamSettings
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

  from data_pipelines.pipeline.scene_builder import SceneBuilder


def prepare(settings: DataSettings, beam: BeamSettings | None = None) -> 'SceneBuilder':
  """The builder of the data set that the settings name, prepared now unless it has been before.

  Args:
    settings: of the data.
    beam: who makes the records, which are the same; None for threads of this process.

  Raises:
    UserError: the files that the records are made from are missing or damaged, or the records
      cannot be written.
  """
  from data_pipelines.pipeline import input_pipeline  # TensorFlow takes seconds to import

  return input_pipeline.prepare_records(data_sets.find(settings.name).make_builder, settings, beam)


def data_settings(
  data_set: DataSet,
  *,
  source: str | None = None,
  data_dir: str | None = None,
  image_size: Sequence[int] | None = None,
  mask_size: int | None = None,
  options: Sequence[str] = (),
) -> DataSettings:
  """The settings of data of the data set's config, with changes.

  Args:
    data_set: whose config is taken.
    source: directory of the official files; None for the config's, as with all that follow.
    data_dir: where the records are written.
    image_size: one number for squares, or height and width, in pixels.
    mask_size: side of the object masks.
    options: NAME=VALUE, of the options of the data set; the last of a name counts.

  Raises:
    SettingsError: names every setting that is mistaken.
  """
  config = importlib.import_module(f'data_pipelines.configs.{data_set.config}').get_config()
  values: dict[str, Any] = config.data.to_dict()
  faults = []
  if source is not None:
    if not values['source_dir']:
      faults.append(
        Fault(
          'data.source_dir',
          f'is {source}, but {data_set.name} is drawn by a program and reads nothing; leave it out',
        )
      )
    values['source_dir'] = source
  if data_dir is not None:
    values['data_dir'] = data_dir
  if image_size is not None:
    values['image_size'] = tuple(image_size)
  if mask_size is not None:
    if values['mask_size'] is None:
      faults.append(
        Fault('data.mask_size', f'is {mask_size}, but {data_set.name} has no masks; leave it out')
      )
    values['mask_size'] = mask_size
  for option in options:
    name, equals, text = option.partition('=')
    if not equals:
      faults.append(
        Fault(
          'data.options',
          f'is {option!r}, expected NAME=VALUE; the names are {", ".join(values["options"])}',
        )
      )
    else:
      values['options'][name] = _parsed(text, type(values['options'].get(name)))
  if faults:
    raise SettingsError(faults)
  return DataSettings.from_values(values, 'data', data_sets.OPTIONS)


def report(settings: DataSettings, builder: 'tfds.core.DatasetBuilder') -> str:
  """What has been prepared, as text."""
  from data_pipelines.pipeline import input_pipeline, records  # TensorFlow takes seconds

  metadata = records.metadata_of(builder)
  splits = [
    f'{name} {builder.info.splits[name].num_examples}'
    for name in ('train', 'val', 'test')
    if name in builder.info.splits
  ]
  size = sum(path.stat().length for path in builder.data_path.iterdir() if path.is_file())
  height, width = settings.image_size
  masks = (
    f'masks {settings.mask_size}x{settings.mask_size}'
    if 'masks' in records.features_of(builder)
    else 'no masks'
  )
  lines = [
    f'records: {builder.data_dir}',
    f'images: {", ".join(splits)}; {height}x{width} pixels, {masks}',
    f'skipped images: {metadata["num_skipped_images"]}',
    *(f'{kind}: {count}' for kind, count in metadata.get('faults', {}).items()),
    f'disk use: {size / 1e6:.1f} MB',
    f'train with: {training_command(settings)}',
  ]
  try:
    input_pipeline.check_slots(settings, metadata, 'note')
  except SettingsError as error:
    lines.append(str(error))
  return '\n'.join(lines)


def training_command(settings: DataSettings) -> str:
  """The command that trains with records of these settings."""
  data_set = data_sets.find(settings.name)
  original, overrides = data_settings(data_set), []
  for key in ('source_dir', 'data_dir', 'image_size', 'mask_size'):
    value = getattr(settings, key)
    if value != getattr(original, key):
      overrides.append(f'--config.data.{key}={value}')
      if key == 'mask_size':  # the model predicts masks of this size
        overrides.append(f'--config.model.{key}={value}')
  overrides += [
    f'--config.data.options.{name}={value}'
    for name, value in settings.options
    if value != getattr(original.options, name)
  ]
  command = ['python', '-m', 'sg2im_jax.train', f'--config=configs/{data_set.config}.py']
  return shlex.join([*command, f'--workdir=runs/{data_set.config}', *overrides])


def _parsed(text: str, kind: type) -> Any:
  """The text as a value of that type; as it is where it is none, which DataSettings will refuse.

  A tuple is one of names, with commas between them.
  """
  if kind is tuple:
    return tuple(name.strip() for name in text.split(',') if name.strip())
  if kind is bool:
    return {'true': True, 'false': False}.get(text.lower(), text)
  try:
    return kind(text) if kind in (int, float) else text
  except ValueError:
    return text

"""Prepares a data set for training, as the first training with it would do by itself.

  python -m data_pipelines.prepare --dataset=coco_stuff --source=datasets/coco --download python -m
  data_pipelines.prepare --dataset=visual_genome --image_size=128 python -m data_pipelines.prepare
  --dataset=coco_stuff --option=min_objects=2 --option=include_other=true python -m
  data_pipelines.prepare --dataset=scenes --source=my_scenes --check

The records are those that training with the same settings looks for; at the end, the command for it
is shown. Official files may lie in --source unpacked or in their zip archives. --download fetches
those that it lacks, which are about 21 GB for COCO and 16 GB for Visual Genome; stopped at any
time, it goes on where it was when it is run again.
"""

import difflib
import importlib
import pathlib
import re
import shlex
from collections.abc import Sequence

import tensorflow_datasets as tfds
from absl import flags
from ml_collections import ConfigDict

from data_pipelines import command_line
from data_pipelines.pipeline import download, input_pipeline
from data_pipelines.scene_graphs.errors import UserError

CONFIGS = {
  'coco_stuff': 'coco64',
  'visual_genome': 'vg64',
  'coco_panoptic': 'coco_panoptic64',
  'scenes': 'scenes',
  'storybook': 'storybook',
}  # data set -> the file in configs/ that trains with it
_FLAG_OF_KEY = {'name': 'dataset', 'source_dir': 'source', 'options': 'option'}  # where they differ


def data_config(
  data_set: str,
  *,
  source: str | None = None,
  data_dir: str | None = None,
  image_size: Sequence[str] | None = None,
  mask_size: int | None = None,
  options: Sequence[str] = (),
) -> ConfigDict:
  """config.data as training would have it.

  Args:
    data_set: one of CONFIGS.
    source: directory of the official files; None for the config's, as with all that follow.
    data_dir: where the records are to lie.
    image_size: one number for squares, or height and width, in pixels.
    mask_size: side of the object masks.
    options: name=value, of the options of the data set.
  """
  config = importlib.import_module(f'data_pipelines.configs.{CONFIGS[data_set]}').get_config().data
  if source is not None:
    if not config.source_dir:
      raise UserError(
        f'--source={source}: {data_set} is drawn by a program and reads nothing; leave it out'
      )
    config.source_dir = source
  if data_dir is not None:
    config.data_dir = data_dir
  if image_size is not None:
    config.image_size = _parse_image_size(image_size)
  if mask_size is not None:
    if config.mask_size is None:
      raise UserError(f'--mask_size={mask_size}: {data_set} has no masks; leave it out')
    config.mask_size = mask_size
  for option in options:
    name, equals, text = option.partition('=')
    if not equals:
      raise UserError(
        f'--option={option}: expected NAME=VALUE; the names are {", ".join(config.options)}'
      )
    if name not in config.options:
      nearest = max(
        config.options, key=lambda known: difflib.SequenceMatcher(None, name, known).ratio()
      )
      raise UserError(
        f'--option={option}: {data_set} has no option "{name}"; the nearest is "{nearest}", all '
        'are '
        f'{", ".join(config.options)}'
      )
    config.options[name] = _parse_value(option, text, config.options[name])
  return config


def report(data_set: str, config: ConfigDict, builder: tfds.core.DatasetBuilder) -> str:
  """What there is now, as text."""
  metadata = builder.info.metadata
  splits = [
    f'{name} {builder.info.splits[name].num_examples}'
    for name in ('train', 'val', 'test')
    if name in builder.info.splits
  ]
  size = sum(
    path.stat().st_size for path in pathlib.Path(builder.data_dir).rglob('*') if path.is_file()
  )
  height, width = config.image_size
  masks = (
    f'masks {config.mask_size}x{config.mask_size}'
    if 'masks' in builder.info.features
    else 'no masks'
  )
  lines = [
    f'records: {builder.data_dir}',
    f'images: {", ".join(splits)}; {height}x{width} pixels, {masks}',
    f'skipped images: {metadata["num_skipped_images"]}',
    f'disk use: {size / 1e6:.1f} MB',
    f'train with: {training_command(data_set, config)}',
  ]
  try:
    input_pipeline.check_slots(config, metadata, 'note')
  except UserError as error:
    lines.append(str(error))
  return '\n'.join(lines)


def training_command(data_set: str, config: ConfigDict) -> str:
  """The command that trains with records of this config."""
  path = f'configs/{CONFIGS[data_set]}.py'
  original, overrides = data_config(data_set), []
  for key in ('source_dir', 'data_dir', 'image_size', 'mask_size'):
    if config[key] != original[key]:
      overrides.append(f'--config.data.{key}={config[key]}')
      if key == 'mask_size':
        overrides.append(
          f'--config.model.{key}={config[key]}'
        )  # the model predicts masks of this size
  overrides += [
    f'--config.data.options.{name}={value}'
    for name, value in config.options.items()
    if value != original.options[name]
  ]
  return shlex.join(
    [
      'python',
      '-m',
      'sg2im_jax.train',
      f'--config={path}',
      f'--workdir=runs/{CONFIGS[data_set]}',
      *overrides,
    ]
  )


def check(data_set: str, source: str) -> int:
  """Prints all that is wrong with a folder of scenes; 1 if something is, else 0."""
  if data_set != 'scenes':
    raise UserError(
      f'--check is for --dataset=scenes, not {data_set}, whose files are checked when they are '
      'prepared'
    )
  from data_pipelines.own_scenes import scenes_file

  problems = scenes_file.check(source)
  print('\n'.join(problems) or f'{source}: nothing wrong')
  return 1 if problems else 0


def _parse_image_size(parts: Sequence[str]) -> tuple[int, int]:
  try:
    numbers = [int(part) for part in parts]
  except ValueError:
    numbers = []
  if len(numbers) not in (1, 2) or min(numbers) < 1:
    raise UserError(
      f'--image_size={",".join(parts)}: expected a number of pixels such as 64, or height and '
      'width '
      'such as 48,64'
    )
  return numbers[0], numbers[-1]


def _parse_value(
  option: str, text: str, default: bool | int | float | str | tuple
) -> bool | int | float | str | tuple:
  """`text` as a value of the default's type; names with commas between them for a tuple, which is
  one of names.
  """
  kind = type(default)
  if kind is str:
    return text
  if kind is tuple:
    return tuple(name.strip() for name in text.split(',') if name.strip())
  try:
    return {'true': True, 'false': False}[text.lower()] if kind is bool else kind(text)
  except (KeyError, ValueError):
    expected = {bool: 'true or false', int: 'a whole number', float: 'a number'}[kind]
    raise UserError(
      f'--option={option}: expected {expected}, such as {str(default).lower()}'
    ) from None


def _in_flags_of_this_command(message: str) -> str:
  """Messages name the settings of a training's config; here they are flags."""
  message = re.sub(r'--config\.data\.options\.', '--option=', message)
  return re.sub(
    r'--config\.data\.(\w+)', lambda match: f'--{_FLAG_OF_KEY.get(match[1], match[1])}', message
  )


def main(_: Sequence[str]) -> int:
  arguments = flags.FLAGS
  data_set = arguments.dataset
  config = data_config(
    data_set,
    source=arguments.source,
    data_dir=arguments.data_dir,
    image_size=arguments.image_size,
    mask_size=arguments.mask_size,
    options=arguments.option,
  )
  try:
    if arguments.check:
      return check(data_set, config.source_dir)
    if arguments.download:
      if data_set not in download.DATA_SETS:
        raise UserError(
          f'--download: {data_set} has no official files; it is for {", ".join(download.DATA_SETS)}'
        )
      download.fetch(download.DATA_SETS[data_set], config.source_dir)
    builder = input_pipeline.prepare(config)
  except UserError as error:
    raise UserError(_in_flags_of_this_command(str(error))) from error
  print(report(data_set, config, builder))
  return 0


if __name__ == '__main__':
  flags.DEFINE_enum(
    'dataset',
    None,
    list(CONFIGS),
    'Which data set; its settings are those of '
    + ', '.join(f'configs/{config}.py ({name})' for name, config in CONFIGS.items())
    + '.',
    required=True,
  )
  flags.DEFINE_string(
    'source',
    None,
    'Directory of the official files, or of your scenes; by default that of the '
    'config, such as datasets/coco.',
  )
  flags.DEFINE_string(
    'data_dir',
    None,
    'Where the records are written; by default that of the config, datasets/prepared.',
  )
  flags.DEFINE_list(
    'image_size', None, 'Side of the pictures in pixels, or HEIGHT,WIDTH; by default 64.'
  )
  flags.DEFINE_integer('mask_size', None, 'Side of the object masks; by default 16.', lower_bound=1)
  flags.DEFINE_multi_string(
    'option',
    [],
    'NAME=VALUE: an option of the data set, one of config.data.options; may be '
    'given several times.',
  )
  flags.DEFINE_boolean('download', False, 'First fetch those official files that --source lacks.')
  flags.DEFINE_boolean(
    'check',
    False,
    'Only say what is wrong with the scenes in --source; exit status 1 if anything '
    'is. For --dataset=scenes.',
  )
  command_line.run(main)

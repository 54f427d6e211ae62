"""The embedded data set: scenes that a program draws like a picture book, so nothing is downloaded.

  python -m data_pipelines.storybook --output=sheet.png

draws a sheet of pictures to look at. A record is a function of (scene_seed, index) alone.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
from absl import flags
from ml_collections import ConfigDict
from PIL import Image

from data_pipelines import command_line
from data_pipelines.pipeline.records import record_features
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from data_pipelines.storybook import (
  grounds,
  relations,
  things,
)
from data_pipelines.storybook.scenes import Scene, draw_scene

VOCABULARY = Vocabulary(
  object_names=(IMAGE_OBJECT, 'sky', 'night sky', *grounds.COLOURS, *things.KINDS),
  predicate_names=(*COCO_PREDICATES, *relations.PREDICATES),
)
FIRST_VAL_INDEX = 2**31  # so the val pictures stay the same when there are more to train on
LEAST_SIZE = 32  # pixels; below, small things vanish


@dataclasses.dataclass(eq=False, kw_only=True)
class StorybookConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so that other values make another prepared
  data set.
  """

  image_size: tuple[int, int]  # H, W; H == W
  mask_size: int  # M
  num_train: int
  num_val: int
  scene_seed: int


class Storybook(tfds.core.GeneratorBasedBuilder):
  """Pictures of meadows, shores, snow and roads with exact boxes, masks and relations."""

  VERSION = tfds.core.Version(
    '2.0.0'
  )  # raise it whenever a picture changes: it keeps old prepared records apart
  RELEASE_NOTES = {'2.0.0': 'Records have attributes.'}
  builder_config: StorybookConfig

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=record_features(self.builder_config.image_size, self.builder_config.mask_size),
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    del dl_manager  # nothing is downloaded
    config = self.builder_config
    self.info.metadata.update(
      vocabulary=VOCABULARY.to_dict(), max_objects=0, max_relations=0, num_skipped_images=0
    )
    return {
      'train': self._generate_examples(range(config.num_train)),
      'val': self._generate_examples(range(FIRST_VAL_INDEX, FIRST_VAL_INDEX + config.num_val)),
    }

  def _generate_examples(self, indices: range) -> Iterator[tuple[int, dict]]:
    config, metadata = self.builder_config, self.info.metadata
    # One process: a worker would import its parent's main module, all of JAX perhaps, to save
    # seconds of drawing.
    for index in indices:
      scene = draw_scene(config.scene_seed, index, config.image_size[0])
      metadata['max_objects'] = max(metadata['max_objects'], len(scene.names))
      metadata['max_relations'] = max(metadata['max_relations'], len(scene.relations))
      yield index, _record(scene, f'{config.scene_seed}-{index}', config.mask_size)


def _record(scene: Scene, image_id: str, mask_size: int) -> dict:
  relations = [
    (subject, VOCABULARY.predicate_id(predicate, image_id), other)
    for subject, predicate, other in scene.relations
  ]
  return {
    'image': scene.image,
    'image_id': image_id,
    'object_class': np.array(
      [VOCABULARY.object_id(name, image_id) for name in scene.names], np.int32
    ),
    'boxes': scene.boxes,
    'masks': np.stack(
      [
        encoding.crop_mask(mask, box, mask_size)
        for mask, box in zip(scene.masks, scene.boxes, strict=True)
      ]
    ),
    'relations': np.array(relations, np.int32).reshape(-1, 3),
    'attributes': np.zeros((0, 2), np.int32),
  }


def make_builder(data_config: ConfigDict) -> Storybook:
  """The builder for a config such as `configs/storybook.py`, prepared or not."""
  options = data_config.options
  height, width = data_config.image_size
  if height != width or height < LEAST_SIZE:
    raise UserError(
      f'--config.data.image_size is {(height, width)}; '
      f'storybook draws squares of at least {LEAST_SIZE} pixels, such as (64, 64)'
    )
  for name, value, least in (
    ('mask_size', data_config.mask_size, 1),
    ('options.num_train', options.num_train, 1),
    ('options.num_val', options.num_val, 1),
    ('options.scene_seed', options.scene_seed, 0),
  ):
    if value < least:
      raise UserError(f'--config.data.{name} is {value}; expected at least {least}')
  config = StorybookConfig(
    name=(
      f'{height}x{width}-m{data_config.mask_size}-train{options.num_train}-val{options.num_val}'
      f'-seed{options.scene_seed}'
    ),
    image_size=(height, width),
    mask_size=data_config.mask_size,
    num_train=options.num_train,
    num_val=options.num_val,
    scene_seed=options.scene_seed,
  )
  return Storybook(data_dir=data_config.data_dir, config=config)


def draw_sheet(seed: int, num_scenes: int, size: int, num_columns: int = 8) -> Image.Image:
  """The first pictures of a storybook in rows."""
  pitch, margin = size + 4, 4
  num_rows = -(-num_scenes // num_columns)
  sheet = Image.new('RGB', (num_columns * pitch + margin, num_rows * pitch + margin), 'white')
  for index in range(num_scenes):
    row, column = divmod(index, num_columns)
    sheet.paste(
      Image.fromarray(draw_scene(seed, index, size).image),
      (margin + column * pitch, margin + row * pitch),
    )
  return sheet


def main(_: Sequence[str]):
  path = pathlib.Path(flags.FLAGS.output)
  sheet = draw_sheet(flags.FLAGS.seed, flags.FLAGS.num_scenes, flags.FLAGS.size)
  try:
    sheet.save(path)
  except (OSError, ValueError) as error:  # Pillow's ValueError: it knows no format by that ending
    raise UserError(
      f'--output={path}: {error}; expected a file in an existing directory, such as sheet.png'
    ) from error
  print(f'{path}: {flags.FLAGS.num_scenes} pictures')


if __name__ == '__main__':
  flags.DEFINE_string('output', 'sheet.png', 'Where to write the sheet.')
  flags.DEFINE_integer('num_scenes', 48, 'How many pictures.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the storybook.', lower_bound=0)
  flags.DEFINE_integer('size', 64, 'Side of a picture in pixels.', lower_bound=LEAST_SIZE)
  command_line.run(main)

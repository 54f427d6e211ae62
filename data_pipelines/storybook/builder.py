"""The embedded data set: scenes that a program draws like a picture book; nothing is downloaded.

A record is a function of (scene_seed, index) alone. `python -m data_pipelines.storybook` draws a
sheet of pictures to look at.
"""

import dataclasses
import functools

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.pipeline.parallel import one_by_one
from data_pipelines.pipeline.records import record_features
from data_pipelines.pipeline.scene_builder import Example, Plan, SceneBuilder, Split
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.storybook import grounds, relations, things, weather
from data_pipelines.storybook.options import LEAST_SIZE, StorybookOptions
from data_pipelines.storybook.scenes import StorybookScene, draw_scene

VOCABULARY = Vocabulary(
  object_names=(IMAGE_OBJECT, 'sky', 'night sky', *grounds.COLOURS, *things.KINDS),
  predicate_names=(*COCO_PREDICATES, *relations.PREDICATES),
)
ATTRIBUTE_NAMES = (
  *('day', 'evening', 'night', *weather.CHANCES),
  *('left-facing', 'right-facing', 'small', 'large'),
  *('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink', 'brown', 'tan', 'beige'),
  *('white', 'grey', 'black', 'autumn', 'blossoming', 'fruiting', 'snowy', 'full', 'crescent'),
  *('grazing', 'waving', 'lit'),
)
FIRST_VAL_INDEX = 2**31  # so the val pictures stay the same when there are more to train on


@dataclasses.dataclass(eq=False, kw_only=True)
class StorybookConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so other values make another data set."""

  image_size: tuple[int, int]  # H, W; H == W
  mask_size: int  # M
  options: StorybookOptions


class Storybook(SceneBuilder):
  """Pictures of meadows, shores, snow and roads with exact boxes, masks and relations."""

  # To be raised whenever a picture changes, so that old records are not used.
  VERSION = tfds.core.Version('2.3.0')
  RELEASE_NOTES = {'2.3.0': 'One picture in five has weather: fog, rain or snowfall.'}
  builder_config: StorybookConfig  # pyright: ignore[reportIncompatibleMethodOverride]
  ordered_map = staticmethod(one_by_one)  # drawing is Python: 1.2 times as long with two threads

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=record_features(self.builder_config.image_size, self.builder_config.mask_size),
      metadata=tfds.core.MetadataDict(),
    )

  def plan(self) -> Plan:
    options = self.builder_config.options
    make_example = functools.partial(_make_example, self.builder_config)
    return Plan(
      'storybook',
      {
        'train': Split(range(options.num_train), make_example),
        'val': Split(range(FIRST_VAL_INDEX, FIRST_VAL_INDEX + options.num_val), make_example),
      },
      {'vocabulary': VOCABULARY.to_dict(), 'attribute_names': list(ATTRIBUTE_NAMES)},
    )


def _make_example(config: StorybookConfig, index: int) -> Example:
  scene_seed = config.options.scene_seed
  image_id = f'{scene_seed}-{index}'
  scene = draw_scene(scene_seed, index, config.image_size[0])
  return Example(index, image_id, _record(scene, image_id, config.mask_size))


def _record(scene: StorybookScene, image_id: str, mask_size: int) -> dict:
  relations = [
    (subject, VOCABULARY.predicate_id(predicate, image_id), other)
    for subject, predicate, other in scene.relations
  ]
  attributes = [
    (owner, ATTRIBUTE_NAMES.index(name))
    for owner, names in [(-1, scene.attributes_of_image), *enumerate(scene.attributes)]
    for name in names
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
    'attributes': np.array(attributes, np.int32),
  }


def make_builder(settings: DataSettings) -> Storybook:
  """The builder for settings such as those of `configs/storybook.py`, prepared or not."""
  options = settings.options
  assert isinstance(options, StorybookOptions)
  height, width = settings.image_size
  if height != width or height < LEAST_SIZE:
    raise SettingsError(
      Fault(
        'data.image_size',
        f'is {settings.image_size}, expected a square of at least {LEAST_SIZE} pixels a side, such '
        'as (64, 64)',
      )
    )
  mask_size = settings.required_mask_size()
  config = StorybookConfig(
    name=(
      f'{height}x{width}-m{mask_size}-train{options.num_train}-val{options.num_val}'
      f'-seed{options.scene_seed}'
    ),
    image_size=settings.image_size,
    mask_size=mask_size,
    options=options,
  )
  return Storybook(data_dir=settings.data_dir, config=config)

"""COCO 2017 as a tensorflow-datasets builder: from COCO's own files to records at training size.

`CocoBuilder` is what the two readings of COCO share: `stuff.py` (instances and stuff) and
`panoptic.py` (panoptic segments).
"""

import abc
import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco.options import CocoOptions
from data_pipelines.pipeline import images
from data_pipelines.pipeline.annotation_files import EntryFault, Id
from data_pipelines.pipeline.records import metadata_of, other_annotations, record_features
from data_pipelines.pipeline.scene_builder import Example, Plan, SceneBuilder, Split
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import describe
from data_pipelines.settings.data_settings import DataSettings

TRAIN, VAL = 'train2017', 'val2017'  # COCO's names of its parts
# The images that had stuff annotations in 2017, when the paper was written. The lists are in the
# archive of 2018 and later.
STUFF_40K_LISTS = {
  TRAIN: 'annotations/deprecated-challenge2017/train-ids.txt',
  VAL: 'annotations/deprecated-challenge2017/val-ids.txt',
}
STUFF_ARCHIVE = 'stuff_annotations_trainval2017.zip'
EMPTY_MASKS = 'objects whose mask has no pixel, left out'
BAD_MASKS = 'objects whose mask is not usable, left out'
OTHER_CATEGORIES = f'objects of a category that {TRAIN} has not, left out'

Builder = TypeVar('Builder', bound='CocoBuilder')


@dataclasses.dataclass(eq=False, kw_only=True)
class CocoConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so other values make another data set."""

  source_dir: str
  image_size: tuple[int, int]  # H, W
  mask_size: int  # M
  options: CocoOptions
  train_images: str  # stuff40k | all
  without_lists: bool = False  # all because the lists of stuff40k are missing


class CocoBuilder(SceneBuilder):
  """What the readings of COCO have in common: images, splits, records."""

  ARCHIVES: Mapping[str, str]  # annotation files, {} for the part -> the archive that holds them
  builder_config: CocoConfig  # pyright: ignore[reportIncompatibleMethodOverride]

  @abc.abstractmethod
  def read_annotations(
    self, source: Source, part: str, image_ids: frozenset[int] | None
  ) -> coco_annotations.Annotations:
    """The images and objects of a part that the options keep, of `image_ids` (None: of all)."""

  @staticmethod
  @abc.abstractmethod
  def read_masks(
    source: Source, part: str, image: coco_annotations.AnnotatedImage
  ) -> list[np.ndarray | EntryFault]:
    """bool[height, width] of each object, or what is wrong with it; on any thread or machine.

    Raises:
      UnreadableImage, OSError: the masks cannot be read.
    """

  @classmethod
  def missing_files(cls, source: Source) -> list[str]:
    """The files that are needed and are not there, each with the archive that holds it."""
    missing = [
      f'{path} (in {archive})'
      for path, archive in cls._annotation_files()
      if source.find(path) is None
    ]
    return missing + [
      f'{part}/ (in {part}.zip)'
      for part in (TRAIN, VAL)
      if not source.has_files(part) and not source.has_files(f'images/{part}')
    ]

  def annotation_bytes(self, source: Source) -> dict[str, int]:
    """Sizes of the annotation files by path: enough to tell one edition of them from another."""
    paths = [path for path, _ in self._annotation_files()]
    if self.builder_config.train_images == 'stuff40k':
      paths += STUFF_40K_LISTS.values()
    return {path: source.size(path) for path in paths}

  @classmethod
  def _annotation_files(cls) -> list[tuple[str, str]]:
    return [
      (path.format(part), archive)
      for part in (TRAIN, VAL)
      for path, archive in cls.ARCHIVES.items()
    ]

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=record_features(self.builder_config.image_size, self.builder_config.mask_size),
      homepage='https://cocodataset.org',
      metadata=tfds.core.MetadataDict(),
    )

  def plan(self) -> Plan:
    config = self.builder_config
    source = Source(config.source_dir)
    if config.without_lists:
      logging.warning(
        'Training on all images, as %s lacks %s (in %s), the list of the published images; to '
        'train on those, put '
        'that archive there.',
        config.source_dir,
        STUFF_40K_LISTS[TRAIN],
        STUFF_ARCHIVE,
      )
    parts, faults = {}, collections.Counter()
    for part in (TRAIN, VAL):
      image_ids = (
        read_image_ids(source, STUFF_40K_LISTS[part]) if config.train_images == 'stuff40k' else None
      )
      annotations = self.read_annotations(source, part, image_ids)
      if not annotations.images:
        raise SettingsError(
          Fault(
            'data.options',
            f'is too strict: no image of {part} passes the filter'
            f'{", after the faults named above" if annotations.faults else ""}; loosen '
            f'{config.options.model_dump()}',
          ),
          config.source_dir,
        )
      logging.info('%s: %d images pass the filter.', part, len(annotations.images))
      parts[part] = annotations
      faults += annotations.faults
    vocabulary = parts[TRAIN].vocabulary
    make_example = {
      part: functools.partial(
        _make_example, self.read_masks, source, part, config, annotations.class_ids(vocabulary)
      )
      for part, annotations in parts.items()
    }
    val_images = parts[VAL].images
    splits = {
      'train': (TRAIN, parts[TRAIN].images),
      'val': (VAL, val_images[: config.options.num_val]),
      'test': (VAL, val_images[config.options.num_val :]),
    }
    return Plan(
      str(source.directory),
      # A small val2017 has no `test`.
      {
        name: Split(images_, make_example[part])
        for name, (part, images_) in splits.items()
        if images_
      },
      {'vocabulary': vocabulary.to_dict(), 'annotation_bytes': self.annotation_bytes(source)},
      faults=faults,
    )


def _make_example(
  read_masks: Callable[..., list[np.ndarray | EntryFault]],
  source: Source,
  part: str,
  config: CocoConfig,
  class_ids: Mapping[Id, int],
  image: coco_annotations.AnnotatedImage,
) -> Example:
  skipped = functools.partial(Example, image.image_id, f'{part}/{image.file_name}', None)
  path = source.find(f'{part}/{image.file_name}', f'images/{part}/{image.file_name}')
  if path is None:
    return skipped('missing')
  try:
    with source.open(path) as file:
      pixels = images.read_image(file, config.image_size, (image.width, image.height))
    masks = read_masks(source, part, image)
  except images.UNUSABLE as error:
    return skipped(f'cannot be used ({error})')
  kept, faults = [], []
  for object_, mask in zip(image.objects, masks, strict=True):
    if object_.category_id not in class_ids:
      faults.append((OTHER_CATEGORIES, image.name_of(object_)))
    elif isinstance(mask, EntryFault):
      faults.append((BAD_MASKS, f'{image.name_of(object_)}: {mask}'))
    elif not mask.any():
      faults.append((EMPTY_MASKS, image.name_of(object_)))
    else:
      kept.append((object_, mask))
  faults = tuple(faults)
  if not kept or len(kept) < config.options.min_objects:
    return skipped(f'{len(faults)} of its {len(masks)} objects are not usable', faults)
  record = {
    'image': pixels,
    'image_id': str(image.image_id),
    'object_class': np.array([class_ids[object_.category_id] for object_, _ in kept], np.int32),
    'boxes': np.stack([object_.box for object_, _ in kept]),
    'masks': np.stack(
      [encoding.crop_mask(mask, object_.box, config.mask_size) for object_, mask in kept]
    ),
    'relations': np.zeros((0, 3), np.int32),
    'attributes': np.zeros((0, 2), np.int32),
  }
  return Example(image.image_id, f'{part}/{image.file_name}', record, faults=faults)


def make(builder_class: type[Builder], settings: DataSettings) -> Builder:
  """A builder of a reading of COCO, prepared or not.

  Raises:
    SettingsError: there are neither prepared records nor COCO's files, or the records were made
      from other files.
  """
  options = settings.options
  assert isinstance(options, CocoOptions)
  mask_size = settings.required_mask_size()
  source = Source(settings.source_dir)
  missing = builder_class.missing_files(source)
  missing_lists = source.missing(STUFF_40K_LISTS.values())
  choices = ('stuff40k', 'all') if options.train_images == 'auto' else (options.train_images,)
  builders = [
    builder_class(
      data_dir=settings.data_dir, config=_builder_config(settings, options, mask_size, choice)
    )
    for choice in choices
  ]
  if missing or missing_lists:  # prepared records need none of the files
    builder = next((builder for builder in builders if builder.is_prepared()), builders[-1])
  else:
    builder = builders[0]
  uses_lists = builder.builder_config.train_images == 'stuff40k'

  if not builder.is_prepared():
    if missing:
      raise SettingsError(
        Fault(
          'data.source_dir',
          f'is {source.directory}, which lacks {", ".join(missing)}; expected COCO 2017: download '
          'these archives from cocodataset.org/#download into it, unpacked or not, or choose '
          'another directory',
        )
      )
    if uses_lists and missing_lists:
      raise SettingsError(
        Fault(
          'data.options.train_images',
          f"is 'stuff40k', but {source.directory} lacks {', '.join(missing_lists)} (in "
          f'{STUFF_ARCHIVE}); put that archive there, or train on all images',
          'all',
        )
      )
    if options.train_images == 'auto' and not uses_lists:
      builder.builder_config.without_lists = True
  elif not missing and not (uses_lists and missing_lists):
    if metadata_of(builder)['annotation_bytes'] != builder.annotation_bytes(source):
      raise other_annotations(builder, source)
  return builder


def read_image_ids(source: Source, path: str) -> frozenset[int]:
  """The ids of a file with one a line."""
  with source.open(path) as file:
    lines = file.read().decode(errors='replace').split()
  wrong = next((line for line in lines if not line.isdecimal()), None)
  if wrong is not None or not lines:
    raise UserError(
      f'{source.directory / path}: found {describe(wrong or "")}; expected the id of an image in '
      'each '
      f'line, as in {STUFF_ARCHIVE}: unpack it again'
    )
  return frozenset(map(int, lines))


def _builder_config(
  settings: DataSettings, options: CocoOptions, mask_size: int, train_images: str
) -> CocoConfig:
  height, width = settings.image_size
  name = (
    f'{height}x{width}-m{mask_size}-area{options.min_object_area:g}'
    f'-objects{options.min_objects}to{options.max_objects}-val{options.num_val}-{train_images}'
  )
  name += '-other' if options.include_other else ''
  name += '' if options.keep_crowds else '-nocrowds'
  name += _whitelist_name('things', options.instance_whitelist)
  name += _whitelist_name('stuff', options.stuff_whitelist)
  return CocoConfig(
    name=name,
    source_dir=settings.source_dir,
    image_size=settings.image_size,
    mask_size=mask_size,
    options=options,
    train_images=train_images,
  )


def _whitelist_name(kind: str, whitelist: tuple[str, ...]) -> str:
  """Its part of a directory's name: the same for the same set of names, in any order."""
  if not whitelist:
    return ''
  names = sorted(set(whitelist))
  if len(names) == 1 and names[0].isalnum():
    return f'-{kind}_{names[0]}'
  return f'-{kind}{len(names)}_{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]}'

"""COCO 2017 as tensorflow-datasets builders: from COCO's own files to records at training size.

`CocoBuilder` is what the readings of COCO share; here is the one of its things and stuff,
`coco_panoptic.py` has the other.
"""

import abc
import collections
import dataclasses
import functools
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from ml_collections import ConfigDict

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.pipeline import images
from data_pipelines.pipeline.parallel import ordered_map
from data_pipelines.pipeline.records import record_features
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import describe

TRAIN, VAL = 'train2017', 'val2017'  # COCO's names of its parts
# The images that had stuff annotations in 2017, when the paper was written; in the archive since
# those of 2018.
STUFF_40K_LISTS = {
  TRAIN: 'annotations/deprecated-challenge2017/train-ids.txt',
  VAL: 'annotations/deprecated-challenge2017/val-ids.txt',
}
STUFF_ARCHIVE = 'stuff_annotations_trainval2017.zip'
EMPTY_MASKS = 'objects whose mask has no pixel, left out'


@dataclasses.dataclass(eq=False, kw_only=True)
class CocoConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so that other values make another prepared
  data set.
  """

  source_dir: str
  image_size: tuple[int, int]  # H, W
  mask_size: int  # M
  filters: coco_annotations.Filters
  num_val: int
  train_images: str  # stuff40k | all
  without_lists: bool = False  # all because the lists of stuff40k are missing


@dataclasses.dataclass(frozen=True)
class Example:
  """What has become of one image: its record, or in words why it has none."""

  record: dict | None
  reason: str = ''
  num_empty_masks: int = 0


class CocoBuilder(tfds.core.GeneratorBasedBuilder):
  """What the readings of COCO have in common: images, splits, records."""

  ARCHIVES: Mapping[str, str]  # annotation files, {} for the part -> the archive that holds them
  builder_config: CocoConfig

  @abc.abstractmethod
  def read_annotations(
    self, source: Source, part: str, image_ids: frozenset[int] | None
  ) -> coco_annotations.Annotations:
    """The images and objects of a part that pass the filters of the config, out of `image_ids`
    (None: of all).
    """

  @abc.abstractmethod
  def read_masks(
    self, source: Source, part: str, image: coco_annotations.AnnotatedImage
  ) -> list[np.ndarray]:
    """bool[height, width] of each object; called by several threads. UnreadableImage or OSError
    where it cannot.
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
      if not source.names(part) and not source.names(f'images/{part}')
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

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    del dl_manager  # the files are the user's own
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
        raise UserError(
          f'{config.source_dir}: no image of {part} passes the filter; loosen '
          '--config.data.options, '
          f'which are {dataclasses.asdict(config.filters)}, train_images={config.train_images!r}'
        )
      logging.info('%s: %d images pass the filter.', part, len(annotations.images))
      parts[part] = annotations
      faults += annotations.faults
    self.info.metadata.update(
      vocabulary=parts[TRAIN].vocabulary.to_dict(),
      max_objects=0,
      max_relations=0,
      num_skipped_images=0,
      faults=dict(faults),
      annotation_bytes=self.annotation_bytes(source),
    )
    val_images = parts[VAL].images
    splits = {
      'train': (TRAIN, parts[TRAIN].images),
      'val': (VAL, val_images[: config.num_val]),
      'test': (VAL, val_images[config.num_val :]),
    }
    # tensorflow-datasets knows no empty split, so a small val2017 has no `test`.
    return {
      name: self._generate_examples(source, *split) for name, split in splits.items() if split[1]
    }

  def _generate_examples(
    self, source: Source, part: str, annotated_images: list[coco_annotations.AnnotatedImage]
  ) -> Iterator[tuple[int, dict]]:
    metadata = self.info.metadata
    num_skipped, num_empty_masks = 0, 0
    make_example = functools.partial(self._make_example, source, part)
    for image, example in zip(
      annotated_images, ordered_map(make_example, annotated_images), strict=True
    ):
      num_empty_masks += example.num_empty_masks
      if example.record is None:
        logging.warning('Skipped %s/%s: %s.', part, image.file_name, example.reason)
        num_skipped += 1
        continue
      metadata['max_objects'] = max(metadata['max_objects'], len(example.record['object_class']))
      yield image.image_id, example.record
    if num_skipped == len(annotated_images):
      raise UserError(
        f'{source.directory}: none of the {num_skipped} images of {part} that pass the filter '
        'could be '
        f'read; expected files such as {part}/{annotated_images[0].file_name}, see the lines above'
      )
    if num_skipped:
      logging.warning(
        '%s: skipped %d of %d images, which are named above.',
        part,
        num_skipped,
        len(annotated_images),
      )
      metadata['num_skipped_images'] += num_skipped
    if num_empty_masks:
      logging.warning('%s: %s: %d.', part, EMPTY_MASKS, num_empty_masks)
      metadata['faults'][EMPTY_MASKS] = metadata['faults'].get(EMPTY_MASKS, 0) + num_empty_masks

  def _make_example(
    self, source: Source, part: str, image: coco_annotations.AnnotatedImage
  ) -> Example:
    config = self.builder_config
    path = source.find(f'{part}/{image.file_name}', f'images/{part}/{image.file_name}')
    if path is None:
      return Example(None, 'missing')
    try:
      with source.open(path) as file:
        pixels = images.read_image(file, config.image_size)
      masks = self.read_masks(source, part, image)
    except (OSError, zipfile.BadZipFile, zlib.error, images.UnreadableImage) as error:
      return Example(None, f'cannot be read ({error})')
    kept = [
      (object_, mask) for object_, mask in zip(image.objects, masks, strict=True) if mask.any()
    ]
    num_empty_masks = len(masks) - len(kept)
    if not kept or len(kept) < config.filters.min_objects:
      return Example(
        None, f'{num_empty_masks} of its {len(masks)} objects have an empty mask', num_empty_masks
      )
    record = {
      'image': pixels,
      'image_id': str(image.image_id),
      'object_class': np.array([object_.category_id for object_, _ in kept], np.int32),
      'boxes': np.stack([object_.box for object_, _ in kept]),
      'masks': np.stack(
        [encoding.crop_mask(mask, object_.box, config.mask_size) for object_, mask in kept]
      ),
      'relations': np.zeros((0, 3), np.int32),
      'attributes': np.zeros((0, 2), np.int32),
    }
    return Example(record, num_empty_masks=num_empty_masks)


class CocoStuff(CocoBuilder):
  """Images of COCO 2017 with their things and stuff as objects."""

  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {'2.0.0': 'Records have attributes.'}
  ARCHIVES = {
    'annotations/instances_{}.json': 'annotations_trainval2017.zip',
    'annotations/stuff_{}.json': STUFF_ARCHIVE,
  }

  def read_annotations(
    self, source: Source, part: str, image_ids: frozenset[int] | None
  ) -> coco_annotations.Annotations:
    instances_path, stuff_path = (path.format(part) for path in self.ARCHIVES)
    return coco_annotations.read(
      source, instances_path, stuff_path, self.builder_config.filters, image_ids
    )

  def read_masks(
    self, source: Source, part: str, image: coco_annotations.AnnotatedImage
  ) -> list[np.ndarray]:
    return [image.mask(object_) for object_ in image.objects]


def make_builder(data_config: ConfigDict) -> CocoStuff:
  """The builder for a config such as `configs/coco64.py`, prepared or not; see `make`."""
  return make(CocoStuff, data_config)


def make(builder_class: type[CocoBuilder], data_config: ConfigDict) -> CocoBuilder:
  """A builder, prepared or not.

  Raises:
    UserError: there are neither prepared records nor COCO's files, or the records were made from
    other files.
  """
  asked = data_config.options.train_images
  if asked not in ('auto', 'stuff40k', 'all'):
    raise UserError(
      f'--config.data.options.train_images is {describe(asked)}; expected auto, stuff40k or all'
    )
  source = Source(data_config.source_dir)
  missing, missing_lists = (
    builder_class.missing_files(source),
    source.missing(STUFF_40K_LISTS.values()),
  )
  choices = ('stuff40k', 'all') if asked == 'auto' else (asked,)
  builders = [
    builder_class(data_dir=data_config.data_dir, config=_config(data_config, choice))
    for choice in choices
  ]
  if missing or missing_lists:  # prepared records need none of the files any more
    builder = next((builder for builder in builders if builder.is_prepared()), builders[-1])
  else:
    builder = builders[0]
  uses_lists = builder.builder_config.train_images == 'stuff40k'
  if not builder.is_prepared():
    if missing:
      raise UserError(
        f'missing in {source.directory}: {", ".join(missing)}; expected COCO 2017: download these '
        'archives from cocodataset.org/#download into it, unpacked or not, or set '
        '--config.data.source_dir'
      )
    if uses_lists and missing_lists:
      raise UserError(
        f'missing in {source.directory}: {", ".join(missing_lists)} (in {STUFF_ARCHIVE}); put that '
        'archive there, or set --config.data.options.train_images=all to train on all images'
      )
    if asked == 'auto' and not uses_lists:
      builder.builder_config.without_lists = True
  elif not missing and not (uses_lists and missing_lists):
    if builder.info.metadata['annotation_bytes'] != builder.annotation_bytes(source):
      raise UserError(
        f'{builder.data_dir}: prepared from other annotation files than those in '
        f'{source.directory}; '
        'set --config.data.data_dir to another directory, or delete this one to prepare it again'
      )
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


def _config(data_config: ConfigDict, train_images: str) -> CocoConfig:
  options = data_config.options
  filters = coco_annotations.Filters(
    min_object_area=options.min_object_area,
    min_objects=options.min_objects,
    max_objects=options.max_objects,
    include_other=options.include_other,
    keep_crowds=options.keep_crowds,
    instance_whitelist=tuple(options.instance_whitelist),
    stuff_whitelist=tuple(options.stuff_whitelist),
  )
  height, width = data_config.image_size
  name = (
    f'{height}x{width}-m{data_config.mask_size}-area{options.min_object_area:g}'
    f'-objects{options.min_objects}to{options.max_objects}-val{options.num_val}-{train_images}'
  )
  name += '-other' if options.include_other else ''
  name += '' if options.keep_crowds else '-nocrowds'
  name += _whitelist_name('things', filters.instance_whitelist) + _whitelist_name(
    'stuff', filters.stuff_whitelist
  )
  return CocoConfig(
    name=name,
    source_dir=data_config.source_dir,
    image_size=(height, width),
    mask_size=data_config.mask_size,
    filters=filters,
    num_val=options.num_val,
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

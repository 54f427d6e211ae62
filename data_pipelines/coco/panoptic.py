"""COCO's panoptic annotations, in which every pixel belongs to one thing or one kind of stuff.

A JSON file lists the segments of each image with category and box; a PNG holds the segment id of
each pixel. Some kinds of stuff are merged ("tree-merged") and have ids and names of their own,
which are the class ids and names here.
"""

import contextlib
import io
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import builder
from data_pipelines.coco.annotations import AnnotatedImage, AnnotatedObject
from data_pipelines.coco.options import CocoOptions
from data_pipelines.pipeline import annotation_files
from data_pipelines.pipeline.annotation_files import EntryFault, Faults, Id
from data_pipelines.pipeline.images import UnreadableImage, read_segments
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import describe
from data_pipelines.settings.data_settings import DataSettings

ARCHIVE = 'panoptic_annotations_trainval2017.zip'
ANNOTATIONS = 'annotations/panoptic_{}.json'


class CocoPanoptic(builder.CocoBuilder):
  """Images of COCO 2017 with the segments of its panoptic annotations as objects."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First.'}
  ARCHIVES = {ANNOTATIONS: ARCHIVE}

  @classmethod
  def missing_files(cls, source: Source) -> list[str]:
    return super().missing_files(source) + [
      f'annotations/panoptic_{part}/ (in {ARCHIVE})'
      for part in (builder.TRAIN, builder.VAL)
      if not any(map(source.names, _segment_folders(part)))
    ]

  def read_annotations(
    self, source: Source, part: str, image_ids: frozenset[int] | None
  ) -> coco_annotations.Annotations:
    return read(source, ANNOTATIONS.format(part), self.builder_config.options, image_ids)

  @staticmethod
  def read_masks(source: Source, part: str, image: AnnotatedImage) -> list[np.ndarray | EntryFault]:
    with open_segments(source, part, image) as file:
      segments = read_segments(file)
    if segments.shape != (image.height, image.width):
      raise UnreadableImage(
        f'its PNG has {segments.shape[1]}x{segments.shape[0]} pixels, the annotations '
        f'{image.width}x{image.height}'
      )
    return [segments == object_.segmentation for object_ in image.objects]


def make_builder(settings: DataSettings) -> CocoPanoptic:
  """The builder for settings such as those of `configs/coco_panoptic64.py`; see `builder.make`."""
  return builder.make(CocoPanoptic, settings)


def read(
  source: Source, path: str, options: CocoOptions, image_ids: frozenset[int] | None
) -> coco_annotations.Annotations:
  """Reads one part of COCO, and keeps what passes the filter; see `coco_annotations.read`."""
  document, faults = coco_annotations.load(source, path), Faults()
  image_list = coco_annotations.ImageList(document, path, image_ids, faults)
  names = coco_annotations.category_names(document, path, faults)
  is_thing = _is_thing(document, path, names)
  categories = {}
  for of_things in (True, False):
    of_kind = {key: name for key, name in names.items() if is_thing[key] == of_things}
    categories |= coco_annotations.chosen_categories(of_kind, options, of_things)
  annotated = set()
  for annotation in annotation_files.unique(
    coco_annotations.section(document, 'annotations', path, faults),
    'image_id',
    'images annotated twice',
    faults,
  ):
    try:
      image = image_list.find(annotation, faults)
      if image is None:
        continue
      segments = annotation.get('segments_info')
      if not isinstance(segments, list):
        raise EntryFault(f'"segments_info" is {describe(segments)}, expected a list of segments')
    except EntryFault as fault:
      faults.add(
        coco_annotations.BAD_ANNOTATIONS, coco_annotations.describe_annotation(annotation, fault)
      )
      continue
    annotated.add(image.image_id)
    segments = annotation_files.unique(
      annotation_files.entries(segments, path, 'segments', faults),
      'id',
      'segments listed twice',
      faults,
    )
    # Things first, as with COCO-Stuff.
    for segment in sorted(segments, key=lambda segment: not _of_thing(segment, is_thing)):
      try:
        box = coco_annotations.passing_box(segment, image, categories, options, faults)
        if box is not None:
          image.objects.append(
            AnnotatedObject(
              annotation_files.identifier(segment, 'category_id'),
              box,
              _segment_id(segment),
              segment.get('id'),
            )
          )
      except EntryFault as fault:
        faults.add(
          annotation_files.unusable('segments'),
          f'segment {describe(segment.get("id"))} of image {image.image_id}: {fault}',
        )
  coco_annotations.refuse_nothing_usable(
    document, 'annotations', coco_annotations.BAD_ANNOTATIONS, path, faults
  )
  faults.report(path)
  images = [
    image
    for image in image_list.images
    if image.image_id in annotated and coco_annotations.has_right_count(image, options)
  ]
  return coco_annotations.Annotations(images, names, faults.counts)


def _is_thing(document: dict, path: str, names: Mapping[Id, str]) -> dict[Id, bool]:
  """By category id; UserError if a category does not say it, as in other files of COCO."""
  found = {}
  for category in document['categories']:
    if not isinstance(category, dict):
      continue
    if 'isthing' not in category:
      raise UserError(
        f"{path}: not in the format of COCO's panoptic annotations (the category "
        f"{describe(category)} lacks 'isthing'); expected the files of {ARCHIVE}"
      )
    with contextlib.suppress(EntryFault):
      found.setdefault(annotation_files.identifier(category, 'id'), bool(category['isthing']))
  return {key: found[key] for key in names}


def _of_thing(segment: dict, is_thing: Mapping[Id, bool]) -> bool:
  try:
    return is_thing.get(annotation_files.identifier(segment, 'category_id'), False)
  except EntryFault:
    return False


def _segment_id(segment: dict) -> int:
  """The id by which the PNG marks its pixels; EntryFault if it cannot be one."""
  value = annotation_files.identifier(segment, 'id')
  if not isinstance(value, int) or not 0 < value < 2**24:
    raise EntryFault(
      f'"id" is {describe(value)}, expected a number from 1 to 16777215, as 0 marks what belongs '
      'to no segment'
    )
  return value


def open_segments(source: Source, part: str, image: AnnotatedImage) -> io.BufferedIOBase:
  """The PNG of an image; FileNotFoundError if there is none."""
  name = pathlib.PurePath(image.file_name).stem + '.png'
  paths = [f'{folder}/{name}' for folder in _segment_folders(part)]
  return source.open(source.find(*paths) or paths[0])


def _segment_folders(part: str) -> tuple[str, str]:
  """Where the PNGs lie: in the unpacked official archive, or unpacked from the one within it."""
  return f'annotations/panoptic_{part}', f'panoptic_{part}'

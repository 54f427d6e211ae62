"""COCO's panoptic annotations, in which every pixel belongs to one thing or one kind of stuff.

A JSON file lists the segments of each image with category and box; a PNG holds the segment id of
each pixel. Some kinds of stuff are merged ("tree-merged") and have ids and names of their own,
which are the class ids and names here.
"""

import io
import pathlib

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import builder
from data_pipelines.coco.annotations import AnnotatedImage, AnnotatedObject
from data_pipelines.coco.options import CocoOptions
from data_pipelines.pipeline.images import UnreadableImage
from data_pipelines.pipeline.source import Source
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

  def read_masks(self, source: Source, part: str, image: AnnotatedImage) -> list[np.ndarray]:
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
  document, faults = coco_annotations.load(source, path), coco_annotations.Faults()
  with coco_annotations.expect_coco(path):
    image_list = coco_annotations.ImageList(document['images'], image_ids, faults)
    is_thing = {category['id']: bool(category['isthing']) for category in document['categories']}
    categories = {}
    for of_things in (True, False):
      entries = [
        category for category in document['categories'] if is_thing[category['id']] == of_things
      ]
      categories |= coco_annotations.chosen_categories(entries, options, of_things)
    annotated = set()
    for annotation in coco_annotations.unique(
      document['annotations'], 'image_id', 'images annotated twice', faults
    ):
      image = image_list.find(annotation, faults)
      if image is None:
        continue
      annotated.add(image.image_id)
      segments = coco_annotations.unique(
        annotation['segments_info'], 'id', 'segments listed twice', faults
      )
      # Things first, as with COCO-Stuff.
      for segment in sorted(
        segments, key=lambda segment: not is_thing.get(segment['category_id'], False)
      ):
        box = coco_annotations.passing_box(segment, image, categories, options, faults)
        if box is not None:
          image.objects.append(AnnotatedObject(segment['category_id'], box, int(segment['id'])))
    vocabulary = coco_annotations.vocabulary_of(
      coco_annotations.category_names(document['categories'])
    )
  faults.report(path)
  images = [
    image
    for image in image_list.images
    if image.image_id in annotated and coco_annotations.has_right_count(image, options)
  ]
  return coco_annotations.Annotations(images, vocabulary, faults.counts)


def open_segments(source: Source, part: str, image: AnnotatedImage) -> io.BufferedIOBase:
  """The PNG of an image; FileNotFoundError if there is none."""
  name = pathlib.PurePath(image.file_name).stem + '.png'
  paths = [f'{folder}/{name}' for folder in _segment_folders(part)]
  return source.open(source.find(*paths) or paths[0])


def read_segments(file: io.BufferedIOBase) -> np.ndarray:
  """int32[H, W]: the id of the segment of each pixel, R + 256 G + 65536 B; 0 is none.

  Raises:
    UnreadableImage: no image, or cut off.
  """
  try:
    with PIL.Image.open(io.BytesIO(file.read())) as image:
      channels = np.asarray(image.convert('RGB'), np.int32)
  except Exception as error:  # see images.read_image
    raise UnreadableImage(f'its PNG: {error}') from None
  return channels @ np.array([1, 256, 65536], np.int32)


def _segment_folders(part: str) -> tuple[str, str]:
  """Where the PNGs lie: in the unpacked official archive, or unpacked from the one within it."""
  return f'annotations/panoptic_{part}', f'panoptic_{part}'

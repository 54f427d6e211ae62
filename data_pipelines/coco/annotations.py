"""COCO's annotation files: the images and objects that are kept, their boxes, masks and faults."""

import collections
import contextlib
import dataclasses
import io
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
from absl import logging
from pycocotools import mask as coco_mask

from data_pipelines.coco.options import CocoOptions
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, describe
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, UNUSED_NAME, Vocabulary

OTHER = 'other'  # the stuff class of everything that no other class describes


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedObject:
  """An object that is kept.

  Attributes:
    category_id: COCO's.
    box: float32[4] x0, y0, x1, y1 in [0, 1].
    segmentation: polygons, or RLE with counts as a list or compressed as text; the id of a panoptic
      segment.
  """

  category_id: int
  box: np.ndarray
  segmentation: list | dict | int


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedImage:
  """An image and those of its objects that are kept: things, then stuff, each in file order."""

  image_id: int
  file_name: str
  width: int
  height: int
  objects: list[AnnotatedObject] = dataclasses.field(default_factory=list)

  def mask(self, object_: AnnotatedObject) -> np.ndarray:
    """bool[height, width]: where the object is, by its polygons or RLE."""
    runs: Any = object_.segmentation
    try:
      if isinstance(runs, list):
        # Of at least three points, as pycocotools takes four numbers for a box.
        polygons = [polygon for polygon in runs if len(polygon) >= 6]
        if not polygons:
          return np.zeros((self.height, self.width), bool)
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, self.height, self.width))
      elif isinstance(runs['counts'], list):
        runs = coco_mask.frPyObjects(runs, self.height, self.width)
      return coco_mask.decode(runs).astype(bool)
    except Exception as error:  # pycocotools raises anything, down to a bare Exception
      raise UserError(
        f'image {self.image_id}: the segmentation {_describe_segmentation(object_.segmentation)} '
        'of its '
        f'object of category {object_.category_id} is not usable ({error}); expected polygons or '
        'RLE'
      ) from None


class Faults:
  """What had to be left out or changed, counted by kind."""

  def __init__(self):
    self.counts: collections.Counter[str] = collections.Counter()
    self._first: dict[str, str] = {}

  def add(self, kind: str, example: str):
    self.counts[kind] += 1
    self._first.setdefault(kind, example)

  def report(self, where: str):
    """Logs one line a kind."""
    for kind, count in self.counts.items():
      logging.warning('%s: %s: %d (the first: %s).', where, kind, count, self._first[kind])


@dataclasses.dataclass(frozen=True)
class Annotations:
  """What one part of COCO holds: kept images, the names of all classes, faults counted by kind."""

  images: list[AnnotatedImage]
  vocabulary: Vocabulary
  faults: collections.Counter[str]


def read(
  source: Source,
  instances_path: str,
  stuff_path: str,
  options: CocoOptions,
  image_ids: Collection[int] | None,
) -> Annotations:
  """Reads the things and the stuff of one part of COCO, and keeps what passes the filter.

  Args:
    source: where the files are.
    instances_path: of the file with the things and the sizes of the images.
    stuff_path: of the file with the stuff; an image that it knows nothing of is left out.
    options: which objects and images are kept.
    image_ids: the images to choose from, None for all.

  Raises:
    UserError: a file is damaged or has another format, or a whitelist names no category.
  """
  names, faults, annotated, image_list = {}, collections.Counter(), set(), None
  for path in (instances_path, stuff_path):  # one at a time in memory: each takes gigabytes
    document, file_faults = load(source, path), Faults()
    is_things = path == instances_path
    with expect_coco(path):
      if image_list is None:  # the first file lists the images
        image_list = ImageList(document['images'], image_ids, file_faults)
      names |= category_names(document['categories'])
      categories = chosen_categories(document['categories'], options, is_things)
      for annotation in unique(
        document['annotations'], 'id', 'annotations listed twice', file_faults
      ):
        image = image_list.find(annotation, file_faults)
        if image is None:
          continue
        box = passing_box(annotation, image, categories, options, file_faults)
        if box is not None:
          image.objects.append(
            AnnotatedObject(annotation['category_id'], box, _compact(annotation['segmentation']))
          )
      annotated = {annotation['image_id'] for annotation in document['annotations']}
      vocabulary = vocabulary_of(names)
    file_faults.report(path)
    faults += file_faults.counts
    del document  # before the next is loaded
  assert image_list is not None
  # `annotated` is now that of the stuff.
  images = [
    image
    for image in image_list.images
    if image.image_id in annotated and has_right_count(image, options)
  ]
  return Annotations(images, vocabulary, faults)


def load(source: Source, path: str) -> dict:
  """The JSON document at a path; UserError if it is damaged."""
  try:
    # As text: json.load would keep the bytes beside the text that it makes of them.
    with (
      source.open(path) as file,
      io.TextIOWrapper(file, encoding='utf-8') as text,  # pyright: ignore[reportArgumentType]
    ):
      return json.load(text)
  except Exception as error:  # JSON, UTF-8, or what zipfile and zlib raise for a damaged archive
    raise UserError(
      f'{source.directory / path}: not whole JSON ({error}); expected COCO annotations, so the '
      'file may '
      'have been cut off: download or unzip it again'
    ) from None


@contextlib.contextmanager
def expect_coco(path: str) -> Iterator[None]:
  """Turns what reading a document of another format raises into a UserError."""
  try:
    yield
  except UserError:
    raise
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
    raise UserError(
      f'{path}: not in the format of COCO annotations ({type(error).__name__}: {error}); expected '
      '"images", "categories" and "annotations" with "bbox" and "segmentation" or "segments_info"'
    ) from None


def unique(entries: Iterable[dict], key: str, kind: str, faults: Faults) -> Iterator[dict]:
  """The entries whose key no earlier one has; those without the key are all kept."""
  seen = set()
  for entry in entries:
    value = entry.get(key)
    if value in seen:
      faults.add(f'{kind}, of which the first is used', f'{key} {value}')
      continue
    if value is not None:
      seen.add(value)
    yield entry


class ImageList:
  """The images of a part of COCO.

  Attributes:
    images: those to choose from.
  """

  def __init__(self, entries: Iterable[dict], image_ids: Collection[int] | None, faults: Faults):
    self._by_id: dict[int, AnnotatedImage | None] = {}  # None: known, but not to choose from
    for entry in unique(entries, 'id', 'images listed twice', faults):
      is_wanted = image_ids is None or entry['id'] in image_ids
      self._by_id[entry['id']] = (
        AnnotatedImage(entry['id'], entry['file_name'], entry['width'], entry['height'])
        if is_wanted
        else None
      )
    self.images = [image for image in self._by_id.values() if image]

  def find(self, annotation: dict, faults: Faults) -> AnnotatedImage | None:
    """The image of an annotation, None if that is none to choose from."""
    if annotation['image_id'] not in self._by_id:
      faults.add(
        'annotations whose image is not listed, left out', f'image {annotation["image_id"]}'
      )
    return self._by_id.get(annotation['image_id'])


def passing_box(
  annotation: dict,
  image: AnnotatedImage,
  categories: dict[int, bool],
  options: CocoOptions,
  faults: Faults,
) -> np.ndarray | None:
  """float32[4] x0, y0, x1, y1 of an object that is kept, as shares of the image; None for others.

  The area is that of the annotated box. A box that leaves the frame by less than a pixel stays as
  it is; one that leaves it by more is then clipped. So all of COCO's own boxes, which are rounded
  to hundredths of a pixel, are those of the published code.
  """
  left, top, width, height = annotation['bbox']
  if width <= 0 or height <= 0:
    faults.add('boxes without area, left out', _name(annotation, image))
    return None
  is_large = width * height / (image.width * image.height) > options.min_object_area
  is_unwanted_crowd = bool(annotation.get('iscrowd')) and not options.keep_crowds
  if not is_large or is_unwanted_crowd:
    return None
  is_chosen = categories.get(annotation['category_id'])
  if is_chosen is None:
    faults.add('objects of a category that is not listed, left out', _name(annotation, image))
  if not is_chosen:
    return None
  edges = np.array(
    [
      left / image.width,
      top / image.height,
      (left + width) / image.width,
      (top + height) / image.height,
    ],
    np.float32,
  )
  box = edges.clip(0, 1)
  if box[0] >= box[2] or box[1] >= box[3]:
    faults.add('boxes out of the frame, left out', _name(annotation, image))
    return None
  if (np.abs(edges - box) * [image.width, image.height, image.width, image.height]).max() < 1:
    return edges
  faults.add('boxes that leave the frame, clipped to it', _name(annotation, image))
  return box


def has_right_count(image: AnnotatedImage, options: CocoOptions) -> bool:
  """Whether the image has as many objects as the options ask for."""
  return options.min_objects <= len(image.objects) <= options.max_objects


def category_names(categories: Iterable[dict]) -> dict[int, str]:
  """By category id."""
  return {category['id']: category['name'] for category in categories}


def chosen_categories(
  categories: Iterable[dict], options: CocoOptions, is_things: bool
) -> dict[int, bool]:
  """By category id, whether the options keep the category; of things or of stuff.

  Raises:
    SettingsError: the whitelist has a name that none of them has.
  """
  option = 'instance_whitelist' if is_things else 'stuff_whitelist'
  names, whitelist = category_names(categories), getattr(options, option)
  unknown = [name for name in whitelist if name not in names.values()]
  if unknown:
    nearest = vocabulary_of(names).nearest_object_names(unknown[0])
    raise SettingsError(
      Fault(
        f'data.options.{option}',
        f'has the unknown object name {describe(unknown[0])}; the nearest known names are '
        f'{", ".join(map(describe, nearest))}',
      )
    )
  return {
    category_id: (not whitelist or name in whitelist) and (options.include_other or name != OTHER)
    for category_id, name in names.items()
  }


def vocabulary_of(names: dict[int, str]) -> Vocabulary:
  """Class ids are COCO's category ids, which begin at 1 and leave gaps."""
  object_names = [names.get(category_id, UNUSED_NAME) for category_id in range(max(names) + 1)]
  object_names[0] = IMAGE_OBJECT
  return Vocabulary(tuple(object_names), COCO_PREDICATES)


def _compact(segmentation: list | dict) -> list | dict:
  """The same; polygons as arrays, which take a quarter of the memory of lists of numbers."""
  if isinstance(segmentation, list):
    return [np.array(polygon, np.float64) for polygon in segmentation]
  return segmentation


def _describe_segmentation(segmentation: list | dict | int) -> str:
  if isinstance(segmentation, list):
    return describe([np.asarray(polygon).tolist() for polygon in segmentation])
  return describe(segmentation)


def _name(annotation: dict, image: AnnotatedImage) -> str:
  return f'{annotation.get("id", describe(annotation["bbox"]))} of image {image.image_id}'

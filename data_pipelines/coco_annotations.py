"""COCO's annotation files: which images and objects are kept, their boxes and masks."""

import dataclasses
import json
import pathlib

import numpy as np
from pycocotools import mask as coco_mask

from data_pipelines.scene_graph import IMAGE_OBJECT, UserError, describe
from data_pipelines.vocabulary import COCO_PREDICATES, UNUSED_NAME, Vocabulary

OTHER = 'other'  # the stuff class of everything that no other class describes


@dataclasses.dataclass(frozen=True)
class Filters:
  """Which objects and images are kept; see `configs/coco64.py`."""
  min_object_area: float
  min_objects: int
  max_objects: int
  include_other: bool


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
  category_id: int
  bbox: tuple[float, float, float, float]  # left, top, width, height in pixels
  segmentation: list | dict  # polygons, or RLE with counts as a list or compressed as text


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
  """An image and those of its objects that pass the filter: things first, then stuff, in the order of the files."""
  image_id: int
  file_name: str
  width: int
  height: int
  objects: list[AnnotatedObject] = dataclasses.field(default_factory=list)

  def box(self, object_: AnnotatedObject) -> np.ndarray:
    """float32[4]: x0, y0, x1, y1 in [0, 1]."""
    left, top, width, height = object_.bbox
    return np.array([left / self.width, top / self.height, (left + width) / self.width, (top + height) / self.height],
                    np.float32)

  def mask(self, object_: AnnotatedObject) -> np.ndarray:
    """bool[height, width]: where the object is."""
    runs = object_.segmentation
    try:
      if isinstance(runs, list):
        runs = coco_mask.merge(coco_mask.frPyObjects(runs, self.height, self.width))
      elif isinstance(runs['counts'], list):
        runs = coco_mask.frPyObjects(runs, self.height, self.width)
      return coco_mask.decode(runs).astype(bool)
    except Exception as error:  # pycocotools raises whatever its C code meets, down to a bare Exception
      raise UserError(f'image {self.image_id}: the segmentation {describe(object_.segmentation)} of its object of '
                      f'category {object_.category_id} is not usable ({error}); expected polygons or RLE') from None


@dataclasses.dataclass(frozen=True)
class Annotations:
  images: list[AnnotatedImage]
  vocabulary: Vocabulary


def read(instances_path: pathlib.Path, stuff_path: pathlib.Path, filters: Filters) -> Annotations:
  """Reads the things and the stuff of one part of COCO, and keeps what passes the filter."""
  names, images = {}, {}
  for path in (instances_path, stuff_path):  # one at a time: the largest takes gigabytes
    document = _load(path)
    try:
      if path == instances_path:
        for image in document['images']:
          images[image['id']] = AnnotatedImage(image['id'], image['file_name'], image['width'], image['height'])
      names |= {category['id']: category['name'] for category in document['categories']}
      for annotation in document['annotations']:
        image = images.get(annotation['image_id'])
        if image and _passes(annotation, image, names, filters):
          image.objects.append(
              AnnotatedObject(annotation['category_id'], tuple(annotation['bbox']), annotation['segmentation']))
      annotated = {annotation['image_id'] for annotation in document['annotations']}
      vocabulary = _vocabulary(names)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
      raise UserError(f'{path}: not in the layout of COCO annotations ({type(error).__name__}: {error}); expected '
                      '"images", "categories" and "annotations" with "bbox" and "segmentation"') from None
  # `annotated` is now that of the stuff.
  kept = [image for image in images.values()
          if image.image_id in annotated and filters.min_objects <= len(image.objects) <= filters.max_objects]
  return Annotations(kept, vocabulary)


def _load(path: pathlib.Path) -> dict:
  try:
    with path.open(encoding='utf-8') as file:
      return json.load(file)
  except ValueError as error:  # JSON or UTF-8
    raise UserError(f'{path}: not whole JSON ({error}); expected COCO annotations, so the file may have been cut off: '
                    'download or unzip it again') from None


def _passes(annotation: dict, image: AnnotatedImage, names: dict[int, str], filters: Filters) -> bool:
  _, _, width, height = annotation['bbox']
  is_large = width * height / (image.width * image.height) > filters.min_object_area
  is_other = names[annotation['category_id']] == OTHER
  return is_large and (filters.include_other or not is_other)


def _vocabulary(names: dict[int, str]) -> Vocabulary:
  """Class ids are COCO's category ids, which begin at 1 and leave gaps."""
  object_names = [names.get(category_id, UNUSED_NAME) for category_id in range(max(names) + 1)]
  object_names[0] = IMAGE_OBJECT
  return Vocabulary(tuple(object_names), COCO_PREDICATES)

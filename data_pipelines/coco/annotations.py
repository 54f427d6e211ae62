"""COCO's annotation files: the images and objects that are kept, their boxes, masks and faults."""

import collections
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines.coco.options import CocoOptions
from data_pipelines.pipeline import annotation_files, masks
from data_pipelines.pipeline.annotation_files import EntryFault, Faults, Id, identifier
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, describe
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, UNUSED_NAME, Vocabulary

OTHER = 'other'  # the stuff class of everything that no other class describes
BAD_IMAGES, BAD_CATEGORIES, BAD_ANNOTATIONS = map(
  annotation_files.unusable, ('images', 'categories', 'annotations')
)
_EXPECTED = 'COCO annotations'
_LARGEST_CATEGORY = 255  # COCO's own go to 200; with larger ones, class ids are not category ids


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedObject:
  """An object that is kept.

  Attributes:
    category_id: that of the file.
    box: float32[4] x0, y0, x1, y1 in [0, 1].
    segmentation: polygons, or RLE with counts as a list or compressed as text; the id of a panoptic
      segment.
    annotation_id: that of the file, for messages; None if it has none.
  """

  category_id: Id
  box: np.ndarray
  segmentation: list | dict | int
  annotation_id: Id | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedImage:
  """An image and those of its objects that are kept: things, then stuff, each in file order."""

  image_id: Id
  file_name: str
  width: int
  height: int
  objects: list[AnnotatedObject] = dataclasses.field(default_factory=list)

  def mask(self, object_: AnnotatedObject) -> np.ndarray:
    """bool[height, width]: where the object is, by its polygons or RLE.

    Raises:
      EntryFault: they are not usable.
    """
    segmentation: Any = object_.segmentation
    try:
      if not isinstance(segmentation, list):
        return masks.run_length_mask(segmentation, self.width, self.height)
      # Of at least three points; the published code passes over others, too.
      polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
      if not polygons:
        return np.zeros((self.height, self.width), bool)
      return masks.polygon_mask(polygons, self.width, self.height)
    except masks.MaskFault as fault:
      raise EntryFault(f'"segmentation" {fault}') from None

  def name_of(self, object_: AnnotatedObject) -> str:
    """An object in a message."""
    if object_.annotation_id is None:
      return f'an object of category {object_.category_id} of image {self.image_id}'
    return f'{object_.annotation_id} of image {self.image_id}'


@dataclasses.dataclass(frozen=True)
class Annotations:
  """What one part of COCO holds.

  Attributes:
    images: those that are kept.
    category_names: by category id.
    faults: counted by kind.
  """

  images: list[AnnotatedImage]
  category_names: Mapping[Id, str]
  faults: collections.Counter[str]

  @property
  def vocabulary(self) -> Vocabulary:
    """The names of all classes; see `vocabulary_of`."""
    return vocabulary_of(self.category_names)

  def class_ids(self, vocabulary: Vocabulary) -> dict[Id, int]:
    """By category id its class in a vocabulary, which may be of another part; by name."""
    ids = {name: index for index, name in enumerate(vocabulary.object_names)}
    return {
      category_id: ids[name] for category_id, name in self.category_names.items() if name in ids
    }


def read(
  source: Source,
  instances_path: str,
  stuff_path: str,
  options: CocoOptions,
  image_ids: Collection[Id] | None,
) -> Annotations:
  """Reads the things and the stuff of one part of COCO, and keeps what passes the filter.

  Entries that are not usable are left out and counted.

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
    if image_list is None:  # the first file lists the images
      image_list = ImageList(document, path, image_ids, file_faults)
    own_names = category_names(document, path, file_faults)
    names |= own_names
    categories = chosen_categories(own_names, options, is_things)
    annotated = set()
    for annotation in annotation_files.unique(
      section(document, 'annotations', path, file_faults),
      'id',
      'annotations listed twice',
      file_faults,
    ):
      try:
        image = image_list.find(annotation, file_faults)
        if image is None:
          continue
        annotated.add(image.image_id)
        box = passing_box(annotation, image, categories, options, file_faults)
        if box is not None:
          image.objects.append(
            AnnotatedObject(
              identifier(annotation, 'category_id'),
              box,
              _compact(annotation),
              annotation.get('id'),
            )
          )
      except EntryFault as fault:
        file_faults.add(BAD_ANNOTATIONS, describe_annotation(annotation, fault))
    refuse_nothing_usable(document, 'annotations', BAD_ANNOTATIONS, path, file_faults)
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
  return Annotations(images, names, faults)


def load(source: Source, path: str) -> dict:
  """The JSON document at a path; UserError if it is damaged, or no object."""
  document = annotation_files.read_json(source, path, _EXPECTED)
  if not isinstance(document, dict):
    raise _other_format(path, f'found {describe(document)}')
  return document


def section(document: dict, key: str, path: str, faults: Faults) -> Iterator[dict]:
  """The entries under a key of a document.

  Raises:
    UserError: there are none.
  """
  if not isinstance(document.get(key), list) or not document[key]:
    found = describe(document[key]) if key in document else 'missing'
    raise _other_format(path, f'"{key}" is {found}')
  return annotation_files.entries(document[key], f'{path}: "{key}"', key, faults)


def refuse_nothing_usable(document: dict, key: str, kind: str, path: str, faults: Faults):
  """UserError if all entries under a key are faults of that kind: it is no such file."""
  if faults.counts[kind] == len(document[key]):
    raise _other_format(path, f'no entry of "{key}" is usable: {faults.first(kind)}')


def _other_format(path: str, found: str) -> UserError:
  return UserError(
    f'{path}: not in the format of {_EXPECTED} ({found}); expected "images", "categories" and '
    '"annotations" with "bbox" and "segmentation" or "segments_info"'
  )


def describe_annotation(annotation: dict, fault: EntryFault) -> str:
  """A fault of an annotation in a message."""
  parts = [
    f'{word} {annotation[key]}'
    for word, key in (('annotation', 'id'), ('of image', 'image_id'))
    if isinstance(annotation.get(key), Id)
  ]
  return f'{" ".join(parts) or describe(annotation)}: {fault}'


class ImageList:
  """The images of a part of COCO.

  Attributes:
    images: those to choose from.
  """

  def __init__(self, document: dict, path: str, image_ids: Collection[Id] | None, faults: Faults):
    self._by_id: dict[Id, AnnotatedImage | None] = {}  # None: known, but not to choose from
    entries = section(document, 'images', path, faults)
    for entry in annotation_files.unique(entries, 'id', 'images listed twice', faults):
      image_id = None
      try:
        image_id = identifier(entry, 'id')
        image = AnnotatedImage(
          image_id,
          annotation_files.path_in_folder(entry, 'file_name'),
          annotation_files.positive_number(entry, 'width'),
          annotation_files.positive_number(entry, 'height'),
        )
      except EntryFault as fault:
        name = 'an image' if image_id is None else f'image {image_id}'
        faults.add(BAD_IMAGES, f'{name}: {fault}')
        image = None
      if image_id is not None:
        is_wanted = image_ids is None or image_id in image_ids
        self._by_id[image_id] = image if is_wanted else None
    self.images = [image for image in self._by_id.values() if image]
    refuse_nothing_usable(document, 'images', BAD_IMAGES, path, faults)

  def find(self, annotation: dict, faults: Faults) -> AnnotatedImage | None:
    """The image of an annotation, None if that is none to choose from.

    Raises:
      EntryFault: the annotation names none.
    """
    image_id = identifier(annotation, 'image_id')
    if image_id not in self._by_id:
      faults.add('annotations whose image is not listed, left out', f'image {image_id}')
    return self._by_id.get(image_id)


def passing_box(
  annotation: dict,
  image: AnnotatedImage,
  categories: Mapping[Id, bool],
  options: CocoOptions,
  faults: Faults,
) -> np.ndarray | None:
  """float32[4] x0, y0, x1, y1 of an object that is kept, as shares of the image; None for others.

  The area is that of the annotated box. A box that leaves the frame by less than a pixel stays as
  it is; one that leaves it by more is then clipped. So all of COCO's own boxes, which are rounded
  to hundredths of a pixel, are those of the published code.

  Raises:
    EntryFault: it has no usable box or category.
  """
  left, top, width, height = annotation_files.numbers(
    annotation, 'bbox', 4, 'four numbers [left, top, width, height] in pixels'
  )
  if width <= 0 or height <= 0:
    faults.add('boxes without area, left out', _name(annotation, image))
    return None
  is_large = width * height / (image.width * image.height) > options.min_object_area
  is_unwanted_crowd = bool(annotation.get('iscrowd')) and not options.keep_crowds
  if not is_large or is_unwanted_crowd:
    return None
  is_chosen = categories.get(identifier(annotation, 'category_id'))
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


def category_names(document: dict, path: str, faults: Faults) -> dict[Id, str]:
  """The names of a document's categories by id.

  Raises:
    UserError: it has none.
  """
  names, categories = {}, section(document, 'categories', path, faults)
  for category in annotation_files.unique(categories, 'id', 'categories listed twice', faults):
    try:
      names[identifier(category, 'id')] = annotation_files.name(category, 'name')
    except EntryFault as fault:
      faults.add(BAD_CATEGORIES, f'{describe(category)}: {fault}')
  refuse_nothing_usable(document, 'categories', BAD_CATEGORIES, path, faults)
  return names


def chosen_categories(
  names: Mapping[Id, str], options: CocoOptions, is_things: bool
) -> dict[Id, bool]:
  """By category id, whether the options keep the category; of things or of stuff.

  Raises:
    SettingsError: the whitelist has a name that none of them has.
  """
  option = 'instance_whitelist' if is_things else 'stuff_whitelist'
  whitelist = getattr(options, option)
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


def vocabulary_of(names: Mapping[Id, str]) -> Vocabulary:
  """The classes of categories by id.

  COCO's category ids, which begin at 1 and leave gaps, are the class ids. Where ids are text, below
  1 or above 255, they are keys alone: class ids count the categories from 1 in their order.
  """
  if all(isinstance(key, int) and 0 < key <= _LARGEST_CATEGORY for key in names):
    object_names, last = [], max(map(int, names), default=0)
    for category_id in range(1, last + 1):
      name = names.get(category_id, UNUSED_NAME)  # of two with one name, the first is its class
      object_names.append(UNUSED_NAME if name in object_names else name)
  else:
    object_names = list(dict.fromkeys(names.values()))
  return Vocabulary((IMAGE_OBJECT, *object_names), COCO_PREDICATES)


def _compact(annotation: dict) -> list | dict:
  """The segmentation; polygons as arrays, which take a quarter of the memory of lists of numbers.

  Raises:
    EntryFault: it is neither polygons nor RLE.
  """
  segmentation = annotation.get('segmentation')
  if isinstance(segmentation, list) and all(isinstance(one, list) for one in segmentation):
    try:
      return [np.array(polygon, np.float64) for polygon in segmentation]
    except (TypeError, ValueError):  # numbers and others
      pass
  elif isinstance(segmentation, dict):
    return segmentation
  raise EntryFault(
    f'"segmentation" is {describe(segmentation)}, expected polygons [[x, y, ...], ...] or RLE '
    '{"size": [height, width], "counts": ...}'
  )


def _name(annotation: dict, image: AnnotatedImage) -> str:
  return f'{annotation.get("id", describe(annotation["bbox"]))} of image {image.image_id}'

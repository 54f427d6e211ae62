"""Visual Genome's annotation files: the images, objects and relations that are kept.

Everything here follows the preprocessing of the published code, oddities included, as the published
models were trained on its output; comments name the oddities.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, IN_IMAGE_PREDICATE, describe
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from data_pipelines.visual_genome.options import VisualGenomeOptions

IMAGES, OBJECTS, ATTRIBUTES, RELATIONSHIPS = ANNOTATIONS = (
  'image_data.json',
  'objects.json',
  'attributes.json',
  'relationships.json',
)
OBJECT_ALIASES, RELATIONSHIP_ALIASES = ALIASES = 'object_alias.txt', 'relationship_alias.txt'
SPLIT_FILES = ('splits.json', 'vg_splits.json')  # the first one that there is
SPLITS = ('train', 'val', 'test')
MAX_ATTRIBUTES = 30  # of one object; further ones are dropped

# The keys that are read; all others are dropped while a gigabyte is parsed.
_KEYS = frozenset(
  (
    'image_id',
    'url',
    'width',
    'height',
    'objects',
    'object_id',
    'names',
    'x',
    'y',
    'w',
    'h',
    'attributes',
    'relationships',
    'relationship_id',
    'subject',
    'predicate',
    'object',
  )
)


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectAnnotation:
  """An object that is kept.

  Attributes:
    object_id: Visual Genome's.
    class_id: of the vocabulary.
    box: left, top, width, height in pixels; may reach out of the image.
    attribute_ids: at most MAX_ATTRIBUTES.
  """

  object_id: int
  class_id: int
  box: tuple[int, int, int, int]
  attribute_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RelationAnnotation:
  """A relation that is kept."""

  relationship_id: int
  subject: int  # index into the scene's objects, as is `object`
  predicate_id: int
  object: int


@dataclasses.dataclass(frozen=True)
class ImageAnnotation:
  """An image with those of its objects and relations that are kept, in file order."""

  image_id: int
  path: str  # relative, such as VG_100K/1.jpg
  width: int
  height: int
  objects: list[ObjectAnnotation]
  relations: list[RelationAnnotation]


@dataclasses.dataclass(frozen=True, slots=True)
class _Image:
  path: str
  width: int
  height: int


@dataclasses.dataclass(frozen=True, slots=True)
class _KnownObject:
  """An object that is large enough and has a name of the vocabulary."""

  class_id: int
  box: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Annotations:
  """What `read` finds.

  Attributes:
    vocabulary: of objects (the most common first) and predicates (the first seen first).
    attribute_names: by attribute id, the most common first.
  """

  vocabulary: Vocabulary
  attribute_names: tuple[str, ...]
  _options: VisualGenomeOptions
  _image_ids: Mapping[str, list[int]]  # by split
  _images: Mapping[int, _Image]
  _known_objects: Mapping[int, _KnownObject]  # by object id
  _object_ids: Mapping[int, list[int]]  # by image id, as the following
  _attribute_ids: Mapping[int, Mapping[int, tuple[int, ...]]]  # by object id in turn
  # Ids of relationship and subject, name of the predicate, id of the object.
  _relationships: Mapping[int, list[tuple[int, int, str, int]]]

  def scenes(self, split: str) -> Iterator[ImageAnnotation]:
    """The images of a split that have as many objects and relations as the options ask for.

    They come in the order of the split file.
    """
    options = self._options
    for image_id in self._image_ids[split]:
      for file, entries in (
        (OBJECTS, self._object_ids),
        (ATTRIBUTES, self._attribute_ids),
        (RELATIONSHIPS, self._relationships),
      ):
        if image_id not in entries:
          raise UserError(
            f'{file}: nothing about image {image_id}, which is in split {split!r}; expected every '
            'image '
            'of the split file: get all files of the same version of Visual Genome'
          )
      objects = self._objects(image_id)
      if not options.min_objects <= len(objects) <= options.max_objects:
        continue
      relations = self._relations(image_id, objects)
      if options.min_relations <= len(relations) <= options.max_relations:
        image = self._images[image_id]
        yield ImageAnnotation(image_id, image.path, image.width, image.height, objects, relations)

  def _objects(self, image_id: int) -> list[ObjectAnnotation]:
    attribute_ids = self._attribute_ids[image_id]
    known = [
      (object_id, self._known_objects[object_id])
      for object_id in self._object_ids[image_id]
      if object_id in self._known_objects
    ]
    return [
      ObjectAnnotation(object_id, object_.class_id, object_.box, attribute_ids.get(object_id, ()))
      for object_id, object_ in known
    ]

  def _relations(self, image_id: int, objects: list[ObjectAnnotation]) -> list[RelationAnnotation]:
    indices = {object_.object_id: index for index, object_ in enumerate(objects)}
    return [
      RelationAnnotation(
        relationship_id, indices[subject], self._predicate_ids[predicate], indices[object_]
      )
      for relationship_id, subject, predicate, object_ in self._relationships[image_id]
      if subject in indices and object_ in indices and predicate in self._predicate_ids
    ]

  @functools.cached_property
  def _predicate_ids(self) -> dict[str, int]:
    return _ids(self.vocabulary.predicate_names)


def split_file(source: Source) -> str:
  """The path of the file that divides the images into splits, whether there is one or not."""
  return source.find(*SPLIT_FILES) or SPLIT_FILES[0]


def read(source: Source, options: VisualGenomeOptions) -> Annotations:
  """Reads all annotation files, one at a time, as the largest takes gigabytes once parsed.

  Raises:
    UserError: a file is cut off or not in Visual Genome's format.
  """
  images = _read_images(source)
  image_ids = _read_splits(source, images, options.min_image_size)
  train_ids, all_ids = (
    set(image_ids['train']),
    {image_id for ids in image_ids.values() for image_id in ids},
  )
  object_names, known_objects, object_ids = _read_objects(source, options, train_ids, all_ids)
  attribute_names, attribute_ids = _read_attributes(source, options, train_ids, all_ids)
  predicate_names, relationships = _read_relationships(
    source, options, train_ids, all_ids, known_objects
  )
  return Annotations(
    Vocabulary(object_names, predicate_names),
    attribute_names,
    options,
    image_ids,
    images,
    known_objects,
    object_ids,
    attribute_ids,
    relationships,
  )


def _read_images(source: Source) -> dict[int, _Image]:
  document = _read_json(source, IMAGES)
  with _expecting(source, IMAGES, 'a list of objects with "image_id", "url", "width" and "height"'):
    _warn_of_repeated((image['image_id'] for image in document), f'{IMAGES}: image')
    return {
      image['image_id']: _Image(
        '/'.join(image['url'].split('/')[-2:]), int(image['width']), int(image['height'])
      )
      for image in document
    }


def _read_splits(
  source: Source, images: Mapping[int, _Image], min_image_size: int
) -> dict[str, list[int]]:
  """The ids of the images of each split that are large enough."""
  file = split_file(source)
  where, document = source.directory / file, _read_json(source, file, object_hook=None)
  expected = 'expected {"train": [image ids], "val": [...], "test": [...]}'
  for split in SPLITS:
    if not isinstance(document, dict) or not isinstance(document.get(split), list):
      raise UserError(f'{where}: found {describe(document)} without a list "{split}"; {expected}')
  image_ids = [image_id for split in SPLITS for image_id in document[split]]
  for image_id in image_ids:
    if not isinstance(image_id, int) or image_id not in images:
      raise UserError(
        f'{where}: found {describe(image_id)}, which is no image of {IMAGES}; {expected}'
      )
  repeated = _repeated(image_ids)
  if repeated:
    raise UserError(
      f'{where}: names image {repeated[0]} twice, and {len(repeated)} images in all; expected '
      'every '
      'image once in one split: delete the repetitions'
    )
  return {
    split: [
      image_id
      for image_id in document[split]
      if min(images[image_id].width, images[image_id].height) >= min_image_size
    ]
    for split in SPLITS
  }


def _read_objects(
  source: Source, options: VisualGenomeOptions, train_ids: set[int], all_ids: set[int]
) -> tuple[tuple[str, ...], dict[int, _KnownObject], dict[int, list[int]]]:
  """The names by class id, the objects that are kept, and the ids of all objects by image id."""
  aliases = _read_aliases(source, OBJECT_ALIASES)
  entries = _read_entries(source, OBJECTS, 'objects', all_ids)

  def class_name(name: str) -> str:
    return aliases.get(name, name)

  with _expecting(source, OBJECTS, 'objects with "object_id", "names", "x", "y", "w" and "h"'):
    counts = _count_names(
      map(class_name, object_['names']) for object_ in _of_images(entries, train_ids)
    )
    names = (IMAGE_OBJECT, *_frequent_names(counts, options.min_object_instances))
    known = _known_objects(
      _of_images(entries, all_ids), aliases, _ids(names), options.min_object_size
    )
    return (
      names,
      known,
      {
        image_id: [object_['object_id'] for object_ in objects]
        for image_id, objects in entries.items()
      },
    )


def _read_attributes(
  source: Source, options: VisualGenomeOptions, train_ids: set[int], all_ids: set[int]
) -> tuple[tuple[str, ...], dict[int, dict[int, tuple[int, ...]]]]:
  """The names by attribute id, and the attributes that are kept by image id and object id."""
  entries = _read_entries(source, ATTRIBUTES, 'attributes', all_ids)
  with _expecting(source, ATTRIBUTES, 'objects with "object_id" and a list of names "attributes"'):
    counts = _count_names(
      object_.get('attributes', ()) for object_ in _of_images(entries, train_ids)
    )
    names = _frequent_names(counts, options.min_attribute_instances)
    ids = _ids(names)
    return names, {
      image_id: {object_['object_id']: _known_attributes(object_, ids) for object_ in objects}
      for image_id, objects in entries.items()
    }


def _read_relationships(
  source: Source,
  options: VisualGenomeOptions,
  train_ids: set[int],
  all_ids: set[int],
  known_objects: Mapping[int, _KnownObject],
) -> tuple[tuple[str, ...], dict[int, list[tuple[int, int, str, int]]]]:
  """The names by predicate id, and all relationships between known objects by image id."""
  aliases = _read_aliases(source, RELATIONSHIP_ALIASES)
  entries = _read_entries(source, RELATIONSHIPS, 'relationships', all_ids)
  with _expecting(
    source,
    RELATIONSHIPS,
    'relationships with "relationship_id", "predicate", "subject" and "object" with "object_id"',
  ):
    # The published code tidies the predicates of the training images alone; elsewhere "On a" stays
    # an unknown name.
    relationships = {
      image_id: list(
        _known_relationships(entry, known_objects, aliases if image_id in train_ids else None)
      )
      for image_id, entry in entries.items()
    }
  counts = collections.Counter(
    predicate
    for image_id, entry in relationships.items()
    if image_id in train_ids
    for _, _, predicate, _ in entry
  )
  names = (name for name, count in counts.items() if count >= options.min_predicate_instances)
  return (IN_IMAGE_PREDICATE, *names), relationships


def _read_entries(
  source: Source, file: str, key: str, image_ids: set[int]
) -> dict[int, list[dict]]:
  """What a file lists under `key` of the images asked for, by image id in the order of the file."""
  document = _read_json(source, file)
  with _expecting(source, file, f'a list of objects with "image_id" and "{key}"'):
    _warn_of_repeated((image['image_id'] for image in document), f'{file}: image')
    return {image['image_id']: image[key] for image in document if image['image_id'] in image_ids}


def _of_images(entries: Mapping[int, list[dict]], image_ids: set[int]) -> Iterator[dict]:
  return (
    entry
    for image_id, image_entries in entries.items()
    if image_id in image_ids
    for entry in image_entries
  )


def _count_names(named: Iterable[Iterable[str]]) -> collections.Counter:
  """In how many things each name occurs, in order of first occurrence."""
  counts = collections.Counter()
  for names in named:
    counts.update(dict.fromkeys(names, 1))
  return counts


def _frequent_names(counts: collections.Counter, least: int) -> tuple[str, ...]:
  return tuple(name for name, count in counts.most_common() if count >= least)


def _ids(names: Iterable[str]) -> dict[str, int]:
  return {name: index for index, name in enumerate(names)}


def _known_objects(
  objects: Iterable[dict],
  aliases: Mapping[str, str],
  class_ids: Mapping[str, int],
  min_object_size: int,
) -> dict[int, _KnownObject]:
  """The objects that are large enough, with the class of the first name that has one."""
  known, ids = {}, []
  for object_ in objects:
    names = (aliases.get(name, name) for name in object_['names'])
    class_id = next((class_ids[name] for name in names if name in class_ids), None)
    left, top, width, height = (int(object_[key]) for key in 'xywh')
    if class_id is not None and min(width, height) >= min_object_size:
      ids.append(object_['object_id'])
      known[ids[-1]] = _KnownObject(class_id, (left, top, width, height))
  _warn_of_repeated(ids, f'{OBJECTS}: object')
  return known


def _known_attributes(object_: dict, ids: Mapping[str, int]) -> tuple[int, ...]:
  return tuple(ids[name] for name in object_.get('attributes', ()) if name in ids)[:MAX_ATTRIBUTES]


def _known_relationships(
  relationships: list[dict],
  known_objects: Mapping[int, _KnownObject],
  aliases: Mapping[str, str] | None,
) -> Iterator[tuple[int, int, str, int]]:
  """Those between known objects, with tidied predicates unless `aliases` is None."""
  for relationship in relationships:
    subject, object_ = relationship['subject']['object_id'], relationship['object']['object_id']
    if subject in known_objects and object_ in known_objects:
      predicate = relationship['predicate']
      if aliases is not None:
        predicate = predicate.lower().strip()
        predicate = aliases.get(predicate, predicate)
      yield relationship['relationship_id'], subject, sys.intern(predicate), object_


def _read_aliases(source: Source, file: str) -> dict[str, str]:
  """From every name of a line to the first one; of two lines with a name, the later one counts."""
  aliases = {}
  for number, line in enumerate(
    _read_bytes(source, file).removeprefix(b'\xef\xbb\xbf').splitlines(), 1
  ):
    try:
      text = line.decode()
    except UnicodeDecodeError:
      text = line.decode(errors='replace')
      logging.warning(
        '%s: line %d is not UTF-8 and is read as %s; its damaged names match nothing.',
        file,
        number,
        describe(text),
      )
    names = [name.strip() for name in text.split(',')]
    aliases |= dict.fromkeys(names, names[0])
  return aliases


def _needed(entry: dict) -> dict:
  return {key: value for key, value in entry.items() if key in _KEYS}


def _read_json(source: Source, file: str, object_hook: Callable | None = _needed) -> Any:
  try:
    return json.loads(_read_bytes(source, file), object_hook=object_hook)
  except (ValueError, RecursionError) as error:  # JSON or UTF-8; nested too deep
    raise UserError(
      f'{source.directory / file}: not whole JSON ({error}); the file may have been cut off: '
      'download or '
      'unzip it again'
    ) from None


def _read_bytes(source: Source, file: str) -> bytes:
  try:
    with source.open(file) as opened:
      return opened.read()
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise UserError(
      f'{source.directory / file}: cannot be read ({error}); download it again'
    ) from None


def _repeated(ids: Iterable[int]) -> list[int]:
  return sorted(value for value, count in collections.Counter(ids).items() if count > 1)


def _warn_of_repeated(ids: Iterable[int], what: str):
  repeated = _repeated(ids)
  if repeated:
    logging.warning(
      '%s %s comes more than once, as do %d in all; its last entry counts.',
      what,
      repeated[0],
      len(repeated),
    )


@contextlib.contextmanager
def _expecting(source: Source, file: str, expected: str) -> Iterator[None]:
  """Turns what entries of another format raise into a UserError that names file and format."""
  try:
    yield
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
    raise UserError(
      f'{source.directory / file}: not in the format of Visual Genome 1.4 ({type(error).__name__}: '
      f'{error}); expected {expected}: get the file of that version'
    ) from None

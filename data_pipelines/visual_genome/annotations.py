"""Visual Genome's annotation files: the images, objects and relations that are kept.

Everything here follows the preprocessing of the published code, oddities included, as the published
models were trained on its output; comments name the oddities.
"""

import collections
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from data_pipelines.pipeline import annotation_files
from data_pipelines.pipeline.annotation_files import EntryFault, Faults, Id
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

  object_id: Id
  class_id: int
  box: tuple[int, int, int, int]
  attribute_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RelationAnnotation:
  """A relation that is kept."""

  relationship_id: Id
  subject: int  # index into the scene's objects, as is `object`
  predicate_id: int
  object: int


@dataclasses.dataclass(frozen=True)
class ImageAnnotation:
  """An image with those of its objects and relations that are kept, in file order."""

  image_id: Id
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
    faults: what was left out, counted by kind.
  """

  vocabulary: Vocabulary
  attribute_names: tuple[str, ...]
  faults: collections.Counter[str]
  _options: VisualGenomeOptions
  _image_ids: Mapping[str, list[Id]]  # by split
  _images: Mapping[Id, _Image | None]
  _known_objects: Mapping[Id, _KnownObject]  # by object id
  _object_ids: Mapping[Id, list[Id]]  # by image id, as the following
  _attribute_ids: Mapping[Id, Mapping[Id, tuple[int, ...]]]  # by object id in turn
  # Ids of relationship and subject, name of the predicate, id of the object.
  _relationships: Mapping[Id, list[tuple[Id, Id, str, Id]]]

  def scenes(self, split: str) -> Iterator[ImageAnnotation]:
    """The images of a split that have as many objects and relations as the options ask for.

    They come in the order of the split file.
    """
    options = self._options
    for image_id in self._image_ids[split]:
      objects = self._objects(image_id)
      if not options.min_objects <= len(objects) <= options.max_objects:
        continue
      relations = self._relations(image_id, objects)
      if options.min_relations <= len(relations) <= options.max_relations:
        image = self._images[image_id]
        assert image is not None  # as the splits name those alone
        yield ImageAnnotation(image_id, image.path, image.width, image.height, objects, relations)

  def _objects(self, image_id: Id) -> list[ObjectAnnotation]:
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

  def _relations(self, image_id: Id, objects: list[ObjectAnnotation]) -> list[RelationAnnotation]:
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

  Entries that are not usable are left out and counted.

  Raises:
    UserError: a file is cut off or not in Visual Genome's format.
  """
  files = {file: Faults() for file in (*ANNOTATIONS, split_file(source))}
  images = _read_images(source, files[IMAGES])
  image_ids = _read_splits(source, images, options.min_image_size, files[split_file(source)])
  train_ids, all_ids = (
    set(image_ids['train']),
    {image_id for ids in image_ids.values() for image_id in ids},
  )
  object_names, known_objects, object_ids = _read_objects(
    source, options, train_ids, all_ids, files[OBJECTS]
  )
  attribute_names, attribute_ids = _read_attributes(
    source, options, train_ids, all_ids, files[ATTRIBUTES]
  )
  predicate_names, relationships = _read_relationships(
    source, options, train_ids, all_ids, known_objects, files[RELATIONSHIPS]
  )
  counts = collections.Counter()
  for file, faults in files.items():
    faults.report(file)
    counts += faults.counts
  return Annotations(
    Vocabulary(object_names, predicate_names),
    attribute_names,
    counts,
    options,
    image_ids,
    images,
    known_objects,
    object_ids,
    attribute_ids,
    relationships,
  )


def _read_images(source: Source, faults: Faults) -> dict[Id, _Image | None]:
  """By id; None for those whose entry is not usable."""
  images, repeated = {}, []
  document = _read_json(source, IMAGES)
  for entry in annotation_files.entries(document, IMAGES, 'images', faults):
    image_id = None
    try:
      image_id = annotation_files.identifier(entry, 'image_id')
      repeated.append(image_id)
      images[image_id] = None
      url = entry.get('url')
      if not isinstance(url, str):
        raise EntryFault(f'"url" is {describe(url)}, expected the address of the image')
      images[image_id] = _Image(
        annotation_files.path_in_folder({'url': '/'.join(url.split('/')[-2:])}, 'url'),
        annotation_files.positive_number(entry, 'width'),
        annotation_files.positive_number(entry, 'height'),
      )
    except EntryFault as fault:
      faults.add(annotation_files.unusable('images'), f'image {image_id}: {fault}')
  _refuse_nothing_usable(source, IMAGES, 'images', len(document), faults)
  _warn_of_repeated(repeated, f'{IMAGES}: image')
  return images


def _read_splits(
  source: Source, images: Mapping[Id, _Image | None], min_image_size: int, faults: Faults
) -> dict[str, list[Id]]:
  """The ids of the images of each split that are large enough."""
  file = split_file(source)
  where, document = source.directory / file, _read_json(source, file, object_hook=None)
  expected = 'expected {"train": [image ids], "val": [...], "test": [...]}'
  for split in SPLITS:
    if not isinstance(document, dict) or not isinstance(document.get(split), list):
      raise UserError(f'{where}: found {describe(document)} without a list "{split}"; {expected}')
  seen, image_ids = set(), {split: [] for split in SPLITS}
  for split in SPLITS:
    for value in document[split]:
      try:
        image_id = annotation_files.identifier({split: value}, split)
      except EntryFault:
        image_id = None
      if image_id is None or image_id not in images:
        faults.add(f'images that are not in {IMAGES}, left out', describe(value))
      elif image_id in seen:
        faults.add('images that are named twice, of which the first is used', describe(value))
      else:
        seen.add(image_id)
        image = images[image_id]
        if image is not None and min(image.width, image.height) >= min_image_size:
          image_ids[split].append(image_id)
  if not seen:
    raise UserError(f'{where}: none of its images is in {IMAGES}; {expected}')
  return image_ids


def _read_objects(
  source: Source,
  options: VisualGenomeOptions,
  train_ids: set[Id],
  all_ids: set[Id],
  faults: Faults,
) -> tuple[tuple[str, ...], dict[Id, _KnownObject], dict[Id, list[Id]]]:
  """The names by class id, the objects that are kept, and the ids of all objects by image id."""
  aliases = _read_aliases(source, OBJECT_ALIASES)
  entries = _read_entries(source, OBJECTS, 'objects', all_ids, _check_object, faults)

  def class_name(name: str) -> str:
    return aliases.get(name, name)

  counts = _count_names(
    map(class_name, object_['names']) for object_ in _of_images(entries, train_ids)
  )
  names = (IMAGE_OBJECT, *_frequent_names(counts, options.min_object_instances))
  known = _known_objects(
    _of_images(entries, all_ids), aliases, _ids(names), options.min_object_size
  )
  object_ids = {
    image_id: [object_['object_id'] for object_ in objects] for image_id, objects in entries.items()
  }
  return names, known, object_ids


def _read_attributes(
  source: Source,
  options: VisualGenomeOptions,
  train_ids: set[Id],
  all_ids: set[Id],
  faults: Faults,
) -> tuple[tuple[str, ...], dict[Id, dict[Id, tuple[int, ...]]]]:
  """The names by attribute id, and the attributes that are kept by image id and object id."""
  entries = _read_entries(source, ATTRIBUTES, 'attributes', all_ids, _check_attributes, faults)
  counts = _count_names(object_.get('attributes', ()) for object_ in _of_images(entries, train_ids))
  names = _frequent_names(counts, options.min_attribute_instances)
  ids = _ids(names)
  return names, {
    image_id: {object_['object_id']: _known_attributes(object_, ids) for object_ in objects}
    for image_id, objects in entries.items()
  }


def _read_relationships(
  source: Source,
  options: VisualGenomeOptions,
  train_ids: set[Id],
  all_ids: set[Id],
  known_objects: Mapping[Id, _KnownObject],
  faults: Faults,
) -> tuple[tuple[str, ...], dict[Id, list[tuple[Id, Id, str, Id]]]]:
  """The names by predicate id, and all relationships between known objects by image id."""
  aliases = _read_aliases(source, RELATIONSHIP_ALIASES)
  entries = _read_entries(
    source, RELATIONSHIPS, 'relationships', all_ids, _check_relationship, faults
  )
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
  source: Source,
  file: str,
  key: str,
  image_ids: set[Id],
  check: Callable[[dict], None],
  faults: Faults,
) -> dict[Id, list[dict]]:
  """What a file lists under `key` of each of the images asked for, in the order of the file.

  Entries that `check` raises an EntryFault for are left out; an image of which the file says
  nothing usable has none.
  """
  document = _read_json(source, file)
  found, repeated, num_entries = {}, [], 0
  of_images = annotation_files.unusable(f'{key} of images')
  for image in annotation_files.entries(document, file, f'{key} of images', faults):
    image_id = None
    try:
      image_id = annotation_files.identifier(image, 'image_id')
      repeated.append(image_id)
      if image_id not in image_ids:
        continue
      if not isinstance(image.get(key), list):
        raise EntryFault(f'"{key}" is {describe(image.get(key))}, expected a list')
    except EntryFault as fault:
      faults.add(of_images, f'image {image_id}: {fault}')
      continue
    found[image_id] = []
    for entry in image[key]:
      num_entries += 1
      try:
        check(entry)
        found[image_id].append(entry)
      except EntryFault as fault:
        faults.add(annotation_files.unusable(key), f'image {image_id}: {fault}')
  _refuse_nothing_usable(source, file, f'{key} of images', len(document), faults)
  if num_entries:
    _refuse_nothing_usable(source, file, key, num_entries, faults)
  _warn_of_repeated(repeated, f'{file}: image')
  for image_id in sorted(image_ids - set(repeated), key=str):
    faults.add('images of which it says nothing', f'image {image_id}')
  return found | {image_id: [] for image_id in image_ids - found.keys()}


def _check_object(entry: Any):
  object_id = _object_id(entry, 'object')
  names = entry.get('names')
  if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
    raise EntryFault(
      f'"names" of object {object_id} is {describe(names)}, expected a list of names'
    )
  reserved = next((name for name in names if name in annotation_files.RESERVED_NAMES), None)
  if reserved is not None:
    raise EntryFault(f'object {object_id} is called {describe(reserved)}, which has a meaning here')
  for key in 'xywh':
    if not annotation_files.is_number(entry.get(key)):
      raise EntryFault(
        f'"{key}" of object {object_id} is {describe(entry.get(key))}, expected a number of pixels'
      )


def _check_attributes(entry: Any):
  object_id, names = _object_id(entry, 'object'), entry.get('attributes', [])
  if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
    raise EntryFault(
      f'"attributes" of object {object_id} is {describe(names)}, expected a list of names'
    )


def _check_relationship(entry: Any):
  if not isinstance(entry, dict):
    raise EntryFault(f'found {describe(entry)}, expected a relationship')
  relationship_id = annotation_files.identifier(entry, 'relationship_id')
  for role in ('subject', 'object'):
    _object_id(entry.get(role), f'{role} of relationship {relationship_id}')
  predicate = entry.get('predicate')
  if not isinstance(predicate, str) or predicate in annotation_files.RESERVED_NAMES:
    raise EntryFault(
      f'"predicate" of relationship {relationship_id} is {describe(predicate)}, expected a name'
    )


def _object_id(entry: Any, what: str) -> Id:
  """The id of an object, which is replaced by the number where it is written as text."""
  if not isinstance(entry, dict):
    raise EntryFault(f'the {what} is {describe(entry)}, expected an object with "object_id"')
  entry['object_id'] = annotation_files.identifier(entry, 'object_id')
  return entry['object_id']


def _refuse_nothing_usable(source: Source, file: str, kind: str, count: int, faults: Faults):
  """UserError if all `count` entries of a kind are not usable: the file has another format."""
  if count == 0 or faults.counts[annotation_files.unusable(kind)] == count:
    found = faults.first(annotation_files.unusable(kind)) if count else f'no {kind}'
    raise UserError(
      f'{source.directory / file}: not in the format of Visual Genome 1.4 ({found}): get the file '
      'of that version'
    )


def _of_images(entries: Mapping[Id, list[dict]], image_ids: set[Id]) -> Iterator[dict]:
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
) -> dict[Id, _KnownObject]:
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
  known_objects: Mapping[Id, _KnownObject],
  aliases: Mapping[str, str] | None,
) -> Iterator[tuple[Id, Id, str, Id]]:
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
    annotation_files.read_bytes(source, file).removeprefix(b'\xef\xbb\xbf').splitlines(), 1
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


def _read_json(
  source: Source, file: str, object_hook: Callable[[dict], Any] | None = _needed
) -> Any:
  return annotation_files.read_json(source, file, 'Visual Genome 1.4', object_hook)


def _repeated(ids: Iterable[Id]) -> list[Id]:
  return sorted((value for value, count in collections.Counter(ids).items() if count > 1), key=str)


def _warn_of_repeated(ids: Iterable[Id], what: str):
  repeated = _repeated(ids)
  if repeated:
    logging.warning(
      '%s %s comes more than once, as do %d in all; its last entry counts.',
      what,
      repeated[0],
      len(repeated),
    )

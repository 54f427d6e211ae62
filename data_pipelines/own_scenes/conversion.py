"""Other data sets' JSON -> a folder of scenes as `scenes_file` reads it.

Files are parsed entry by entry, so memory does not grow with them. An entry that is not usable is
left out, or what is wrong with it is; both are named and counted.

PSG (Yang et al., Panoptic Scene Graph Generation, ECCV 2022), as `openpsg/datasets/psg.py` of
github.com/Jingkang50/OpenPSG reads psg.json:

  {"thing_classes": [...], "stuff_classes": [...], "predicate_classes": [...],
   "test_image_ids": ["107902", ...],
   "data": [{"image_id": "107903", "file_name": "train2017/000000417720.jpg", "width", "height",
             "pan_seg_file_name": "panoptic_train2017/000000417720.png",
             "segments_info": [{"id": 3648962, "category_id": 0, "isthing": 1, ...}, ...],
             "annotations": [{"bbox": [x0, y0, x1, y1], "bbox_mode": 0, "category_id": 0}, ...],
             "relations": [[subject, object, predicate], ...]}]}

Categories are places among the things, then the stuff; objects and predicates are places, too.

LAION-SG (Li et al., arXiv:2412.08580), by the card of huggingface.co/datasets/mengcy/LAION-SG, as a
list or one entry a line:

  {"img_id": "482027", "name": "8040361340228797010.jpg", "caption_ori": ..., "score", "url",
   "items": [{"item_id": 0, "label": "mountains", "attributes": ["rocky", "tall"]}, ...],
   "relations": [{"triple_id": 0, "item1": 0, "relation": "above", "item2": 1}, ...]}

It is published without boxes. Here each item needs "bbox", [x0, y0, x1, y1] in pixels, as of a
detector that is asked for the label.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import ijson
import numpy as np
import PIL.Image

from data_pipelines import atomic_files
from data_pipelines.own_scenes import scenes_file
from data_pipelines.pipeline import annotation_files, masks
from data_pipelines.pipeline.annotation_files import EntryFault, Faults
from data_pipelines.pipeline.download import Listener
from data_pipelines.pipeline.images import UNUSABLE, read_segments
from data_pipelines.pipeline.parallel import ordered_map
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import describe

IMAGES = 'images'  # in the folder of scenes, the link to the images
NO_PNG = 'scenes without the PNG of their segments, whose objects have no masks'
OUT_OF_FRAME = 'boxes that leave the frame, clipped to it'
OBJECTS = annotation_files.unusable('objects')
RELATIONS = annotation_files.unusable('relations')
SCENES = annotation_files.unusable('scenes')
LOST_RELATIONS = 'relations of objects that are left out, or of an object to itself, left out'


@dataclasses.dataclass(frozen=True)
class AnnotationFile:
  """A file to convert.

  Attributes:
    path: of the file.
    split: of all of its scenes; None where the format says it.
  """

  path: pathlib.Path
  split: str | None = None


@dataclasses.dataclass(frozen=True)
class Converted:
  """What has become of an entry.

  Attributes:
    scene: a line of scenes.jsonl, but for the split; None if the entry is not usable.
    is_held_out: whether the data set tests on it.
    faults: kind and example of what is left out or changed.
  """

  scene: dict[str, Any] | None
  is_held_out: bool = False
  faults: tuple[tuple[str, str], ...] = ()


Convert = Callable[[Any], Converted]


@dataclasses.dataclass(frozen=True)
class Format:
  """How a data set writes its scenes.

  Attributes:
    name: in the command.
    expected: what a file holds, in messages.
    entries: yields the entries of an open file.
    converter: from an open file and the directory of images to what converts an entry of it.
  """

  name: str
  expected: str
  entries: Callable[[BinaryIO], Iterator[Any]]
  converter: Callable[[BinaryIO, pathlib.Path], Convert]


def convert(
  format_: Format,
  files: Sequence[AnnotationFile],
  images: pathlib.Path,
  output: pathlib.Path,
  *,
  num_val: int,
  listener: Listener,
) -> collections.Counter[str]:
  """Writes scenes.jsonl, and beside it a link to the images.

  Args:
    format_: of the files.
    files: at least one.
    images: the directory that the paths in the files are in.
    output: the folder of scenes; an existing scenes.jsonl in it is replaced.
    num_val: how many of the held-out scenes are `val`, the first ones; the others are `test`.
    listener: is told how it gets on.

  Returns:
    The number of scenes by split.

  Raises:
    UserError: a file is not in this format, or not whole, or has no usable entry.
  """
  if not images.is_dir():
    raise UserError(f'--images={images}: no such directory; expected that of the images')
  link, splits = output / IMAGES, collections.Counter()
  if link.exists() and link.resolve() != images.resolve():
    raise UserError(f'{link} is there already, and is not {images}; choose another --output')
  missing = atomic_files.missing_directories(output)
  path = output / scenes_file.FILE_NAME
  unfinished = path.with_name(path.name + atomic_files.WRITING)
  try:
    with atomic_files.writing_to(output, 'output'):
      output.mkdir(parents=True, exist_ok=True)
      lines = unfinished.open('w', encoding='utf-8')
    with lines:
      for file in files:
        faults = Faults()
        for scene, is_held_out in _scenes(format_, file, images, faults, listener):
          split = file.split or _split(is_held_out, num_val - splits['val'])
          splits[split] += 1
          lines.write(json.dumps({'file': scene.pop('file'), 'split': split, **scene}) + '\n')
        faults.report(str(file.path))
    os.replace(unfinished, path)
    if not link.exists():
      link.symlink_to(images.resolve(), target_is_directory=True)
  finally:
    unfinished.unlink(missing_ok=True)
    atomic_files.remove_unused(missing)
  return splits


def _split(is_held_out: bool, num_val_left: int) -> str:
  return 'train' if not is_held_out else 'val' if num_val_left > 0 else 'test'


def _scenes(
  format_: Format,
  file: AnnotationFile,
  images: pathlib.Path,
  faults: Faults,
  listener: Listener,
) -> Iterator[tuple[dict, bool]]:
  """The scenes of a file, and whether they are held out."""
  num_entries = num_scenes = 0

  def progress(is_final: bool):
    text = f'{file.path.name}: {num_scenes} scenes of {num_entries} entries'
    listener.update(text, is_final=is_final)

  with _reading(file.path, format_.expected):
    with file.path.open('rb') as opened:
      convert_entry = format_.converter(opened, images)
    with file.path.open('rb') as opened:
      for converted in ordered_map(convert_entry, format_.entries(opened)):
        num_entries += 1
        for kind, example in converted.faults:
          faults.add(kind, example)
        if converted.scene is not None:
          num_scenes += 1
          yield converted.scene, converted.is_held_out
        progress(is_final=False)
  progress(is_final=True)
  if not num_scenes:
    found = faults.first(SCENES) if faults.counts[SCENES] else 'no entry'
    raise UserError(f'{file.path}: no entry is usable ({found}); expected {format_.expected}')


@contextlib.contextmanager
def _reading(path: pathlib.Path, expected: str) -> Iterator[None]:
  try:
    yield
  except ijson.JSONError as error:
    reason = ' '.join(str(error).split())
    raise UserError(
      f'{path}: not whole JSON ({reason}); expected {expected}: download it again'
    ) from None
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror or error})') from None


# What both formats share.


@dataclasses.dataclass(frozen=True)
class _Object:
  name: str
  box: list[float]
  mask: dict[str, Any] | None = None
  attributes: tuple[str, ...] = ()

  def document(self) -> dict[str, Any]:
    mask = {} if self.mask is None else {'mask': self.mask}
    attributes = {'attributes': list(self.attributes)} if self.attributes else {}
    return {'name': self.name, 'box': self.box, **mask, **attributes}


class _Scene:
  """A scene in the making; objects have keys, by which relations name them.

  Attributes:
    faults: kind and example of what has been left out.
  """

  def __init__(self, name: str, width: int, height: int):
    self.faults: list[tuple[str, str]] = []
    self._name, self._size = name, (width, height)
    self._objects: dict[Any, _Object | None] = {}
    self._relationships: list[list] = []

  def add_object(self, key: Any, make: Callable[[], _Object]):
    """Adds an object, unless `make` raises an EntryFault."""
    where = f'object {key} of {self._name}'
    self._objects[key] = None
    try:
      made = make()
      box = self._in_frame(made.box)
    except EntryFault as fault:
      self.faults.append((OBJECTS, f'{where}: {fault}'))
      return
    if box != made.box:
      self.faults.append((OUT_OF_FRAME, where))
    self._objects[key] = dataclasses.replace(made, box=box)

  def add_relation(self, subject: Any, predicate: str, other: Any):
    """Adds a relation; EntryFault if it names no object."""
    for key in (subject, other):
      if key not in self._objects:
        raise EntryFault(f'names object {describe(key)}, which the scene does not have')
    if subject == other or self._objects[subject] is None or self._objects[other] is None:
      self.faults.append((LOST_RELATIONS, f'{subject} {predicate} {other} of {self._name}'))
      return
    places = {key: place for place, key in enumerate(self._kept())}
    self._relationships.append([places[subject], predicate, places[other]])

  def document(self, file: str) -> dict[str, Any]:
    """Its line of scenes.jsonl, without split; EntryFault if there is no object."""
    objects = [object_.document() for object_ in self._kept().values()]
    if not objects:
      raise EntryFault('none of its objects is usable')
    return {'file': file, 'objects': objects, 'relationships': self._relationships}

  def _kept(self) -> dict[Any, _Object]:
    return {key: object_ for key, object_ in self._objects.items() if object_ is not None}

  def _in_frame(self, box: list[float]) -> list[float]:
    (x0, y0, x1, y1), (width, height) = box, self._size
    clipped = [max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)]
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
      raise EntryFault(f'"bbox" {describe(box)} has no area in {width}x{height} pixels')
    return clipped


def _list(entry: dict, key: str) -> list:
  value = entry.get(key)
  if not isinstance(value, list):
    raise EntryFault(f'"{key}" is {describe(value)}, expected a list')
  return value


def _dict(value: Any, kind: str) -> dict:
  if not isinstance(value, dict):
    raise EntryFault(f'found {describe(value)}, expected {kind}')
  return value


def _box(entry: dict) -> list[float]:
  return annotation_files.numbers(entry, 'bbox', 4, 'edges [x0, y0, x1, y1] in pixels')


def _name(value: Any, kind: str) -> str:
  """A name without the blanks around it."""
  return annotation_files.name({kind: value}, kind).strip()


def _place(names: Sequence[str], value: Any, kind: str) -> str:
  if type(value) is not int or not 0 <= value < len(names):
    raise EntryFault(f'{kind} is {describe(value)}, expected a number from 0 to {len(names) - 1}')
  return names[value]


def _unusable(where: str, fault: EntryFault, faults: Iterable[tuple[str, str]] = ()) -> Converted:
  return Converted(None, faults=(*faults, (SCENES, f'{where}: {fault}')))


# PSG.


@dataclasses.dataclass(frozen=True)
class _PsgNames:
  categories: Sequence[str]
  predicates: Sequence[str]
  held_out: frozenset[str]


def _psg_converter(file: BinaryIO, images: pathlib.Path) -> Convert:
  """Reads the names, which may stand behind the entries."""
  lists = {key: [] for key in ('thing_classes', 'stuff_classes', 'predicate_classes')}
  held_out = []
  for prefix, event, value in ijson.parse(file):
    key = prefix.removesuffix('.item')
    if prefix == f'{key}.item' and event in ('string', 'number'):
      if key in lists:
        lists[key].append(str(value))
      elif key == 'test_image_ids':
        held_out.append(str(value))
  names = _PsgNames(
    lists['thing_classes'] + lists['stuff_classes'],
    lists['predicate_classes'],
    frozenset(held_out),
  )
  return functools.partial(_psg_scene, names, images)


def _psg_scene(names: _PsgNames, images: pathlib.Path, entry: Any) -> Converted:
  where, scene = describe(entry), None
  try:
    entry = _dict(entry, 'an entry of PSG')
    image_id = annotation_files.identifier(entry, 'image_id')
    where = f'image {image_id}'
    file = annotation_files.path_in_folder(entry, 'file_name')
    segments, annotations = _list(entry, 'segments_info'), _list(entry, 'annotations')
    if len(segments) != len(annotations):
      raise EntryFault(
        f'"segments_info" has {len(segments)} entries, "annotations" {len(annotations)}; expected '
        'one of each for an object'
      )
    width, height = (annotation_files.positive_number(entry, key) for key in ('width', 'height'))
    scene = _Scene(where, width, height)
    segment_ids = _segment_ids(entry, images, (height, width), scene)
    for index, (segment, annotation) in enumerate(zip(segments, annotations, strict=True)):
      make = functools.partial(_psg_object, names, segment_ids, segment, annotation)
      scene.add_object(index, make)
    for relation in _list(entry, 'relations'):
      _psg_relation(names, relation, scene, where)
    document = scene.document(f'{IMAGES}/{file}')
  except EntryFault as fault:
    return _unusable(where, fault, scene.faults if scene else ())
  return Converted(document, str(image_id) in names.held_out, tuple(scene.faults))


def _segment_ids(
  entry: dict, images: pathlib.Path, shape: tuple[int, int], scene: _Scene
) -> np.ndarray | None:
  """int32[height, width] of the scene's PNG; None if there is no usable one."""
  file = annotation_files.path_in_folder(entry, 'pan_seg_file_name')
  try:
    with (images / file).open('rb') as opened:
      segment_ids = read_segments(opened)
    if segment_ids.shape == shape:
      return segment_ids
    reason = f'has {segment_ids.shape[1]}x{segment_ids.shape[0]} pixels'
  except UNUSABLE as error:
    reason = getattr(error, 'strerror', None) or str(error)
  scene.faults.append((NO_PNG, f'{file}: {reason}'))
  return None


def _psg_object(
  names: _PsgNames, segment_ids: np.ndarray | None, segment: Any, annotation: Any
) -> _Object:
  segment, annotation = _dict(segment, 'a segment'), _dict(annotation, 'an annotation')
  name = _place(names.categories, segment.get('category_id'), '"category_id"')
  if annotation.get('bbox_mode', 0) != 0:
    raise EntryFault(
      f'"bbox_mode" is {describe(annotation["bbox_mode"])}, expected 0, which is [x0, y0, x1, y1]'
    )
  mask = None
  if segment_ids is not None:
    pixels = segment_ids == annotation_files.identifier(segment, 'id')
    mask = masks.run_lengths(pixels) if pixels.any() else None
  return _Object(_name(name, 'name'), _box(annotation), mask)


def _psg_relation(names: _PsgNames, relation: Any, scene: _Scene, where: str):
  try:
    if not isinstance(relation, list) or [type(one) for one in relation] != [int] * 3:
      raise EntryFault('expected numbers [subject, object, predicate]')
    predicate = _place(names.predicates, relation[2], 'the predicate')
    scene.add_relation(relation[0], predicate, relation[1])
  except EntryFault as fault:
    scene.faults.append((RELATIONS, f'{describe(relation)} of {where}: {fault}'))


# LAION-SG.


def _laion_sg_entries(file: BinaryIO) -> Iterator[Any]:
  """The entries of a list, or of lines."""
  first = next((byte for byte in iter(lambda: file.read(1), b'') if not byte.isspace()), b'')
  file.seek(0)
  if first == b'[':
    return ijson.items(file, 'item', use_float=True)
  return ijson.items(file, '', use_float=True, multiple_values=True)


def _laion_sg_converter(file: BinaryIO, images: pathlib.Path) -> Convert:
  del file  # it has no names of its own
  return functools.partial(_laion_sg_scene, images)


def _laion_sg_scene(images: pathlib.Path, entry: Any) -> Converted:
  where, scene = describe(entry), None
  try:
    file = annotation_files.path_in_folder(_dict(entry, 'an entry of LAION-SG'), 'name')
    where = file
    try:
      with PIL.Image.open(images / file) as image:
        width, height = image.size
    except UNUSABLE as error:
      reason = getattr(error, 'strerror', None) or 'no image of a known format'
      raise EntryFault(f'its image cannot be read ({reason})') from None
    scene = _Scene(where, width, height)
    for item in _list(entry, 'items'):
      item_id = annotation_files.identifier(_dict(item, 'an item'), 'item_id')
      scene.add_object(item_id, functools.partial(_laion_sg_object, item))
    for relation in _list(entry, 'relations'):
      _laion_sg_relation(relation, scene, where)
    document = scene.document(f'{IMAGES}/{file}')
  except EntryFault as fault:
    return _unusable(where, fault, scene.faults if scene else ())
  return Converted(document, faults=tuple(scene.faults))


def _laion_sg_object(item: dict) -> _Object:
  attributes = item.get('attributes') or []
  if not isinstance(attributes, list):
    raise EntryFault(f'"attributes" is {describe(attributes)}, expected a list')
  return _Object(
    _name(item.get('label'), 'label'),
    _box(item),
    attributes=tuple(_name(attribute, 'attribute') for attribute in attributes),
  )


def _laion_sg_relation(relation: Any, scene: _Scene, where: str):
  try:
    relation = _dict(relation, '{"item1": ..., "relation": ..., "item2": ...}')
    predicate = _name(relation.get('relation'), 'relation')
    subject, other = (annotation_files.identifier(relation, key) for key in ('item1', 'item2'))
    scene.add_relation(subject, predicate, other)
  except EntryFault as fault:
    scene.faults.append((RELATIONS, f'{describe(relation)} of {where}: {fault}'))


FORMATS = (
  Format(
    'psg',
    'psg.json of PSG, with "data", "thing_classes", "stuff_classes", "predicate_classes" and '
    '"test_image_ids"',
    lambda file: ijson.items(file, 'data.item', use_float=True),
    _psg_converter,
  ),
  Format(
    'laion_sg',
    'entries of LAION-SG, with "name", "items", each with "label" and "bbox", and "relations"',
    _laion_sg_entries,
    _laion_sg_converter,
  ),
)

"""A folder of a user's own scenes: images, and `scenes.jsonl`, which describes them.

One JSON object a line:

  {"file": "images/a.jpg", "split": "train",
   "objects": [{"name": "dog", "box": [12, 30, 85.5, 96], "mask": "masks/a-dog.png",
                "attributes": ["brown"]},
               {"name": "grass", "box": [0, 60, 128, 96]}],
   "relationships": [[0, "on", 1]]}

`file`           the image: a path in the folder, with "/" between its parts; images may also lie
                 in zip archives there
`split`          "train" (the default), "val" or "test"
`objects`        at least one
  `name`         one or more words, case-sensitive; blanks around it are stripped
  `box`          [x0, y0, x1, y1], the left, top, right and bottom edge in pixels of the image as
                 it is stored, counted from its left and top edge: 0 <= x0 < x1 <= width,
                 0 <= y0 < y1 <= height; fractions are fine
  `mask`         optional, the object's pixels, as one of
                   the path of an image of the same size, black outside the object
                   polygons [[x, y, x, y, ...], ...] in pixels
                   COCO's run lengths {"size": [height, width], "counts": a list, or text}
  `attributes`   optional, a list of names
`relationships`  optional, [subject, "predicate", object] with indices into `objects`, from 0

Blank lines are skipped. Keys of other names are faults.
"""

import collections
import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image

from data_pipelines.pipeline import masks, parallel
from data_pipelines.pipeline.annotation_files import RESERVED_NAMES, is_number
from data_pipelines.pipeline.images import EXIF_ORIENTATION, UPRIGHT
from data_pipelines.pipeline.parallel import OrderedMap
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import text_files
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import describe

FILE_NAME = 'scenes.jsonl'
EXAMPLE = '{"file": "images/a.jpg", "objects": [{"name": "dog", "box": [12, 30, 85, 96]}]}'
SPLITS = ('train', 'val', 'test')
NEEDED_SPLITS = ('train', 'val')  # training validates on `val`
_MASK_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B', 'F', 'RGB')  # without transparency


class LineFault(ValueError):
  """Something wrong with a line; the message is one line, without the place."""


@dataclasses.dataclass(frozen=True)
class ObjectDescription:
  """An object as the line describes it.

  Attributes:
    name: stripped.
    box: x0, y0, x1, y1 in pixels.
    mask: path, polygons or run lengths, see `read_mask`; None if there is none.
    attributes: names, stripped, each once.
  """

  name: str
  box: tuple[float, float, float, float]
  mask: str | list | dict | None
  attributes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SceneDescription:
  """A line without faults.

  Attributes:
    file: path of the image in the folder.
    split: one of `SPLITS`.
    width, height: of the image, in pixels.
    objects: at least one.
    relationships: (subject, predicate, object) with indices into `objects`, each once.
  """

  file: str
  split: str
  width: int
  height: int
  objects: tuple[ObjectDescription, ...]
  relationships: tuple[tuple[int, str, int], ...]


@dataclasses.dataclass(frozen=True)
class Reading:
  """The scenes of the good lines in their order, and the faults of the others by line number."""

  scenes: list[SceneDescription]
  faults: dict[int, list[str]]

  def missing_splits(self) -> list[str]:
    """The splits that training needs and no good line belongs to."""
    found = {scene.split for scene in self.scenes}
    return [split for split in NEEDED_SPLITS if split not in found]


def check(folder: str | os.PathLike) -> list[str]:
  """Everything that is wrong with a folder of scenes, one line each, such as 'scenes.jsonl:3:
  object 0: ...'.

  Raises:
    UserError: there is no scenes.jsonl, or it cannot be read.
  """
  source = Source(folder)
  reading = read(source, read_content(source))
  problems = [
    f'{FILE_NAME}:{number}: {fault}'
    for number, faults in reading.faults.items()
    for fault in faults
  ]
  return problems + [
    f'{FILE_NAME}: no good line is of split "{split}", which training needs; '
    f'give some lines "split": "{split}"'
    for split in reading.missing_splits()
  ]


def read_content(source: Source) -> bytes:
  """The bytes of the folder's scenes.jsonl."""
  try:
    with source.open(FILE_NAME) as file:
      content = file.read()
  except FileNotFoundError:
    raise SettingsError(
      Fault(
        'data.source_dir',
        f'is {source.directory}, but there is no such file; expected one JSON object a line, like '
        f'{EXAMPLE}: write it, or choose the folder that has it',
      ),
      str(source.directory / FILE_NAME),
    ) from None
  except (OSError, zipfile.BadZipFile, zlib.error) as error:
    raise UserError(
      f'{source.directory / FILE_NAME}: cannot be read ({error}); expected a text file with one '
      'JSON '
      'object a line'
    ) from None
  text_files.refuse_utf_16(content, str(source.directory / FILE_NAME))
  return content


def read(source: Source, content: bytes, ordered_map: OrderedMap = parallel.ordered_map) -> Reading:
  """Parses and checks every line, with all images and masks that the lines name.

  Args:
    source: the folder.
    content: of its scenes.jsonl.
    ordered_map: who checks; by default threads, on all cores.
  """
  lines = [
    (number, line)
    for number, line in enumerate(content.removeprefix(b'\xef\xbb\xbf').split(b'\n'), 1)
    if line.strip()
  ]
  scenes, faults, first_lines = [], collections.defaultdict(list), {}
  parsed = ordered_map(functools.partial(_Line, source), [line for _, line in lines])
  for (number, _), line in zip(lines, parsed, strict=True):
    first = first_lines.setdefault(line.file, number) if line.file else number
    if first != number:
      line.note(
        f'"file" is {describe(line.file)}, which line {first} describes already; put all objects '
        'of an image '
        'in one line'
      )
    if line.scene is None or line.faults:
      faults[number] = line.faults
    else:
      scenes.append(line.scene)
  return Reading(scenes, dict(faults))


def read_mask(source: Source, mask: Any, width: int, height: int) -> np.ndarray:
  """Where an object is.

  Args:
    source: the folder.
    mask: the value of "mask": the path of an image, polygons, or run lengths.
    width, height: of the image, in pixels.

  Returns:
    bool[height, width].

  Raises:
    LineFault: it is not what was expected, or of another size.
  """
  if isinstance(mask, str):
    return _image_mask(source, mask, width, height)
  try:
    if isinstance(mask, list) and mask:
      return _polygon_mask(mask, width, height)
    if isinstance(mask, dict):
      return masks.run_length_mask(mask, width, height)
  except masks.MaskFault as fault:
    raise LineFault(f'"mask" {fault}') from None
  raise LineFault(
    f'"mask" is {describe(mask)}; expected the path of an image, polygons [[x, y, ...], ...] or '
    '{"size": [height, width], "counts": ...}; leave it out where there is none'
  )


class _Line:
  """One line, checked: `faults` holds all that is wrong; `scene` is None if there are any."""

  def counted_as(self) -> Iterator[str]:
    """What it adds one to, among the counters of a run on many machines."""
    yield 'lines with faults' if self.faults else 'good lines'

  def __init__(self, source: Source, line: bytes):
    self._source = source
    self.faults: list[str] = []
    self.file: str | None = None
    self.scene: SceneDescription | None = None
    with self._noting(''):
      self._parse(_load(line))

  @contextlib.contextmanager
  def _noting(self, where: str) -> Iterator[None]:
    """Notes a fault and goes on after the block."""
    try:
      yield
    except LineFault as fault:
      self.note(f'{where}{fault}')

  def note(self, fault: str):
    """Adds a line to `faults`."""
    # A lone surrogate, which JSON can spell, cannot be printed.
    self.faults.append(fault.encode('utf-8', 'backslashreplace').decode())

  def _parse(self, document: dict):
    self._note_keys(document, ('file', 'objects'), ('split', 'relationships'), '')
    split, objects = document.get('split', 'train'), document.get('objects', [])
    if split not in SPLITS:
      self.note(f'"split" is {describe(split)}; expected one of {", ".join(SPLITS)}')
    size = None  # width and height; while they are unknown, boxes are checked for all else
    if 'file' in document:
      with self._noting(''):
        self.file = _path('file', document['file'])
        image = _open_image(self._source, 'file', self.file)
        size = image.size
        _check_upright(image, self.file)
    parsed = []
    if not isinstance(objects, list) or ('objects' in document and not objects):
      self.note(f'"objects" is {describe(objects)}; expected a list of at least one object')
    else:
      parsed = [
        self._parse_object(value, size, f'object {index}: ') for index, value in enumerate(objects)
      ]
    relationships = []
    with self._noting(''):
      for index, value in enumerate(_list('relationships', document.get('relationships', []))):
        with self._noting(f'relationship {index}: '):
          relationships.append(_relationship(value, len(parsed)))
    if not self.faults and self.file is not None and size is not None:
      objects = tuple(object_ for object_ in parsed if object_ is not None)
      self.scene = SceneDescription(
        self.file, split, *size, objects, tuple(dict.fromkeys(relationships))
      )

  def _parse_object(
    self, value, size: tuple[int, int] | None, where: str
  ) -> ObjectDescription | None:
    """The object; None after a fault."""
    num_faults = len(self.faults)
    if not isinstance(value, dict):
      self.note(
        f'{where}found {describe(value)}; expected {{"name": ..., "box": [x0, y0, x1, y1]}}'
      )
      return None
    self._note_keys(value, ('name', 'box'), ('mask', 'attributes'), where)
    name = box = None
    attributes = []
    if 'name' in value:
      with self._noting(where):
        name = _name('"name"', value['name'])
    if 'box' in value:
      with self._noting(where):
        box = _box(value['box'], size)
    if 'mask' in value and size is not None:
      with self._noting(where):
        _check_mask(read_mask(self._source, value['mask'], *size), box)
    with self._noting(where):
      for attribute in _list('attributes', value.get('attributes', [])):
        with self._noting(where):
          attributes.append(_name('an attribute', attribute))
    if len(self.faults) > num_faults or name is None or box is None:
      return None
    return ObjectDescription(name, box, value.get('mask'), tuple(dict.fromkeys(attributes)))

  def _note_keys(
    self, value: dict, required: tuple[str, ...], optional: tuple[str, ...], where: str
  ):
    with self._noting(where):
      missing = [key for key in required if key not in value]
      if missing:
        raise LineFault(f'"{missing[0]}" is missing; expected a line like {EXAMPLE}')
    for key in value:
      with self._noting(where):
        if key not in required + optional:
          raise LineFault(
            f'unknown key {describe(key)}; expected one of {", ".join(required + optional)}'
          )


def _load(line: bytes) -> dict:
  try:
    document = json.loads(line.decode('utf-8'))
  except UnicodeDecodeError as error:
    raise LineFault(
      f'not text in UTF-8 (byte {error.start} of the line); save the file as UTF-8'
    ) from None
  except json.JSONDecodeError as error:
    raise LineFault(
      f'not JSON: {error.msg} at column {error.colno}; expected one object a line, like {EXAMPLE}'
    ) from None
  except (RecursionError, ValueError) as error:  # too deeply nested; a number of too many digits
    raise LineFault(
      f'not usable JSON ({error}); expected one object a line, like {EXAMPLE}'
    ) from None
  if not isinstance(document, dict):
    raise LineFault(f'found {describe(document)}; expected one object a line, like {EXAMPLE}')
  return document


def _list(key: str, value) -> list:
  if not isinstance(value, list):
    raise LineFault(f'"{key}" is {describe(value)}; expected a list, or no such key')
  return value


def _name(what: str, value) -> str:
  if not isinstance(value, str) or not value.strip():
    raise LineFault(f'{what} is {describe(value)}; expected a name')
  name = value.strip()
  if name in RESERVED_NAMES:
    raise LineFault(
      f'{what} is "{name}", which has a meaning of its own in vocabularies; choose another'
    )
  odd = next(
    (character for character in name if not character.isprintable() or character == '\ufffd'), None
  )
  if odd is not None:
    raise LineFault(
      f'{what} is {json.dumps(name[:40])} with the odd character U+{ord(odd):04X}; expected what '
      'can be '
      'seen and typed, with plain blanks between words'
    )
  return name


def _path(key: str, value) -> str:
  """The normalised path, so that two spellings of one file are equal."""
  if not isinstance(value, str) or not value.strip():
    raise LineFault(f'"{key}" is {describe(value)}; expected the path of an image in the folder')
  path = pathlib.PurePosixPath(value)
  if path.is_absolute() or '..' in path.parts or '\\' in value:
    raise LineFault(
      f'"{key}" is {describe(value)}; expected a path inside the folder, such as "images/a.jpg", '
      'with "/" '
      'between its parts'
    )
  return str(path)


def _open_image(source: Source, key: str, path: str) -> PIL.Image.Image:
  """The image, decoded: a file that was cut off can have a good beginning."""
  try:
    with source.open(path) as file:
      image = PIL.Image.open(io.BytesIO(file.read()))
    image.load()
    image.getexif()  # so that a damaged one is reported here; Pillow keeps it
    return image
  except FileNotFoundError:
    raise LineFault(f'"{key}" is {describe(path)}, but there is no such file') from None
  except UserError:  # a broken zip archive in the folder
    raise
  except PIL.UnidentifiedImageError:
    raise LineFault(f'"{key}" is {describe(path)}, which is no image of a known format') from None
  except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them into
    reason = (
      getattr(error, 'strerror', None) or ' '.join(str(error).split()) or type(error).__name__
    )
    raise LineFault(f'"{key}" is {describe(path)}, which is no whole image ({reason})') from None


def _check_upright(image: PIL.Image.Image, path: str):
  """Viewers rotate such photographs, other programs do not, so boxes would be ambiguous."""
  orientation = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
  if orientation != UPRIGHT:
    raise LineFault(
      f'"file" is {describe(path)}, which is stored turned or mirrored (EXIF orientation '
      f'{orientation}); '
      'save it upright without that mark, and give the boxes in its pixels'
    )


def _box(value, image_size: tuple[int, int] | None) -> tuple[float, float, float, float]:
  if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
    raise LineFault(f'"box" is {describe(value)}; expected four numbers [x0, y0, x1, y1] in pixels')
  x0, y0, x1, y1 = value
  width, height = image_size or (math.inf, math.inf)
  if x0 >= x1 or y0 >= y1:
    raise LineFault(
      f'"box" is {describe(value)}, which has no area; expected its edges [left, top, right, '
      'bottom] in '
      'pixels (not width and height)'
    )
  if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
    size = f'the image of {width}x{height} pixels' if image_size else 'the image'
    raise LineFault(
      f'"box" is {describe(value)}, which reaches out of {size}; expected 0 <= x0 < x1 <= width '
      'and '
      '0 <= y0 < y1 <= height'
    )
  if x1 <= 1 < width and y1 <= 1 < height:
    raise LineFault(
      f'"box" is {describe(value)}, which lies in the first pixel; expected pixels, not shares of '
      'the image'
    )
  return x0, y0, x1, y1


def _relationship(value, num_objects: int) -> tuple[int, str, int]:
  if not isinstance(value, list) or len(value) != 3:
    raise LineFault(f'found {describe(value)}; expected [subject index, "predicate", object index]')
  subject, predicate, other = value
  for role, index in (('subject', subject), ('object', other)):
    if not isinstance(index, int) or isinstance(index, bool):  # JSON's true is an int to Python
      raise LineFault(
        f'the {role} is {describe(index)}; expected the index of an object, a whole number'
      )
    if not 0 <= index < num_objects:
      raise LineFault(
        f'{role} index {describe(index)} is out of range; the line has {num_objects} '
        f'object{"" if num_objects == 1 else "s"}, counted from 0'
      )
  if subject == other:
    raise LineFault(f'{describe(value)} relates object {subject} to itself; expected two objects')
  return subject, _name('the predicate', predicate), other


def _check_mask(mask: np.ndarray, box: tuple[float, float, float, float] | None):
  if not mask.any():
    raise LineFault('"mask" is empty; expected where the object is, or no mask')
  if box is not None:
    x0, y0, x1, y1 = box
    if not mask[math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)].any():
      raise LineFault('"mask" has nothing inside of "box"; expected the mask of the same object')


def _image_mask(source: Source, value: str, width: int, height: int) -> np.ndarray:
  path = _path('mask', value)
  image = _open_image(source, 'mask', path)
  if image.size != (width, height):
    raise LineFault(
      f'"mask" is {describe(path)} of {image.width}x{image.height} pixels; expected the size of '
      'the image, '
      f'{width}x{height}'
    )
  if image.mode not in _MASK_MODES:
    raise LineFault(
      f'"mask" is {describe(path)} of mode {image.mode}; expected grey or RGB without '
      'transparency, and '
      'black where the object is not'
    )
  if image.format == 'JPEG':
    raise LineFault(
      f'"mask" is {describe(path)}, a JPEG, which is not exactly black beside the object; expected '
      'PNG'
    )
  pixels = np.asarray(image) != 0
  return pixels.any(-1) if pixels.ndim == 3 else pixels


def _polygon_mask(polygons: list, width: int, height: int) -> np.ndarray:
  mask = masks.polygon_mask(polygons, width, height)
  for polygon in polygons:
    if min(polygon) < 0 or max(polygon[::2]) > width or max(polygon[1::2]) > height:
      raise masks.MaskFault(
        f'has the polygon {describe(polygon)}, which reaches out of the image of {width}x{height} '
        'pixels'
      )
  return mask

"""What readers of annotation files share: JSON text, checked fields of entries, counted faults."""

import collections
import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from absl import logging

from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import text_files
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, IN_IMAGE_PREDICATE, describe
from data_pipelines.scene_graphs.vocabulary import UNUSED_NAME

RESERVED_NAMES = (IMAGE_OBJECT, IN_IMAGE_PREDICATE, UNUSED_NAME)  # have a meaning in vocabularies
_MOST_NAMED = 5  # faults of a kind that are named; the others are counted

Id = int | str


class EntryFault(ValueError):
  """One entry of a file that is not usable: its field, what was found, what was expected."""


class Faults:
  """What had to be left out or changed, counted by kind.

  Attributes:
    counts: by kind.
  """

  def __init__(self):
    self.counts: collections.Counter[str] = collections.Counter()
    self._named: dict[str, list[str]] = collections.defaultdict(list)

  def add(self, kind: str, example: str):
    """One more of a kind; `example` names it."""
    self.counts[kind] += 1
    if len(self._named[kind]) < _MOST_NAMED:
      self._named[kind].append(example)

  def first(self, kind: str) -> str:
    """The first one of a kind."""
    return self._named[kind][0]

  def report(self, where: str):
    """Logs one line a kind, with the first ones by name."""
    for kind, count in self.counts.items():
      named = '; '.join(self._named[kind])
      more = '; ...' if count > len(self._named[kind]) else ''
      logging.warning('%s: %s: %d (%s%s).', where, kind, count, named, more)


def read_json(
  source: Source, path: str, expected: str, object_hook: Callable[[dict], Any] | None = None
) -> Any:
  """The JSON document at a path, in UTF-8 with or without a byte order mark.

  Args:
    source: where the file is.
    path: in the source.
    expected: what it holds, such as "COCO annotations".
    object_hook: of `json.loads`.

  Raises:
    UserError: it cannot be read, is in another encoding, or is not whole.
  """
  where, content = source.directory / path, read_bytes(source, path)
  text = text_files.decode(content, str(where), expected)
  del content  # beside the text it would take another gigabyte
  try:
    return json.loads(text, object_hook=object_hook)
  except (ValueError, RecursionError) as error:  # no JSON; nested too deep
    raise UserError(
      f'{where}: not whole JSON ({error}); expected {expected}, so the file may have been cut off: '
      'download or unzip it again'
    ) from None


def read_bytes(source: Source, path: str) -> bytes:
  """The content of a file; UserError if it cannot be read."""
  try:
    with source.open(path) as file:
      return file.read()
  except UserError:  # of a whole archive, which says so
    raise
  except Exception as error:  # OSError, or what zipfile and zlib raise for a damaged member
    raise UserError(
      f'{source.directory / path}: cannot be read ({error}); download it again'
    ) from None


def entries(value: Any, where: str, kind: str, faults: Faults) -> Iterator[dict]:
  """Those of a list that are JSON objects.

  Args:
    value: the list.
    where: the file and the key, for messages.
    kind: of the entries, such as "annotations".
    faults: where the others are counted.

  Raises:
    UserError: it is no list.
  """
  if not isinstance(value, list):
    raise UserError(f'{where} is {describe(value)}; expected a list of {kind}')
  for index, entry in enumerate(value):
    if isinstance(entry, dict):
      yield entry
    else:
      faults.add(unusable(kind), f'entry {index} of {kind}: found {describe(entry)}')


def unusable(kind: str) -> str:
  """The kind of fault of entries that are left out because something in them is wrong."""
  return f'{kind} that are not usable, left out'


def unique(items: Iterable[dict], key: str, kind: str, faults: Faults) -> Iterator[dict]:
  """The entries whose key no earlier one has; those without the key are all kept."""
  seen: set[Hashable] = set()
  for entry in items:
    value = entry.get(key)
    if isinstance(value, Hashable) and value is not None:
      if value in seen:
        faults.add(f'{kind}, of which the first is used', f'{key} {value}')
        continue
      seen.add(value)
    yield entry


def identifier(entry: dict, key: str) -> Id:
  """An id: a number, also where it is written as text or with a decimal point, or other text.

  Raises:
    EntryFault: it is neither.
  """
  value = entry.get(key)
  if type(value) is int:  # not JSON's true, which is an int to Python
    return value
  if isinstance(value, str) and (text := value.strip()):
    return int(text) if text.isdecimal() and len(text) < 20 else text
  if isinstance(value, float) and value.is_integer():
    return int(value)
  raise EntryFault(f'"{key}" is {_found(entry, key)}, expected an id')


def positive_number(entry: dict, key: str) -> int:
  """A number of pixels; EntryFault if it is none.

  It may be written with a decimal point.
  """
  value = entry.get(key)
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  if type(value) is not int or not 0 < value < 2**31:
    raise EntryFault(f'"{key}" is {_found(entry, key)}, expected a number of pixels from 1')
  return value


def numbers(entry: dict, key: str, count: int, meaning: str) -> list[float]:
  """A list of `count` finite numbers; EntryFault if it is none."""
  value = entry.get(key)
  if not isinstance(value, list) or len(value) != count or not all(map(is_number, value)):
    raise EntryFault(f'"{key}" is {_found(entry, key)}, expected {meaning}')
  return value


def is_number(value: Any) -> bool:
  """Whether it is a finite number that can be a coordinate."""
  return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def name(entry: dict, key: str) -> str:
  """A name as it is written.

  Raises:
    EntryFault: it is no text, blank, or has a meaning of its own in vocabularies.
  """
  value = entry.get(key)
  if not isinstance(value, str) or not value.strip():
    raise EntryFault(f'"{key}" is {_found(entry, key)}, expected a name')
  if value in RESERVED_NAMES:
    raise EntryFault(f'"{key}" is {describe(value)}, which has a meaning of its own here')
  return value


def path_in_folder(entry: dict, key: str) -> str:
  """A path that stays in its folder, with "/" between its parts; EntryFault if it is none."""
  value = entry.get(key)
  if isinstance(value, str) and value.strip():
    parts = value.replace('\\', '/').split('/')
    if parts[0] and '..' not in parts and '\0' not in value:
      return '/'.join(part for part in parts if part != '.')
  raise EntryFault(f'"{key}" is {_found(entry, key)}, expected a path in the folder of images')


def _found(entry: dict, key: str) -> str:
  return describe(entry[key]) if key in entry else 'missing'

"""Names and ids of object classes, predicates and attributes."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, IN_IMAGE_PREDICATE, describe

UNUSED_NAME = 'NONE'  # what the published vocabularies call an id without a class
GEOMETRIC_PREDICATES = ('left of', 'right of', 'above', 'below', 'inside', 'surrounding')
COCO_PREDICATES = (IN_IMAGE_PREDICATE, *GEOMETRIC_PREDICATES)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The names a model knows.

  Attributes:
    object_names: by class id; id 0 is `__image__`, unused ids are 'NONE'.
    predicate_names: by predicate id; id 0 is `__in_image__`.
    attribute_names: by attribute id; () of a model without attributes.
  """

  object_names: tuple[str, ...]
  predicate_names: tuple[str, ...]
  attribute_names: tuple[str, ...] = ()

  @property
  def num_objects(self) -> int:
    return len(self.object_names)

  @property
  def num_predicates(self) -> int:
    return len(self.predicate_names)

  @property
  def num_attributes(self) -> int:
    return len(self.attribute_names)

  @functools.cached_property
  def _object_ids(self) -> dict[str, int]:
    return {name: index for index, name in enumerate(self.object_names) if name != UNUSED_NAME}

  @functools.cached_property
  def _predicate_ids(self) -> dict[str, int]:
    return {name: index for index, name in enumerate(self.predicate_names) if name != UNUSED_NAME}

  @functools.cached_property
  def _attribute_ids(self) -> dict[str, int]:
    return {name: index for index, name in enumerate(self.attribute_names)}

  def object_id(self, name: str, where: str) -> int:
    """The class id of `name`; UserError with the nearest known names if there is none."""
    return _look_up(name, self._object_ids, f'{where}: unknown object name')

  def predicate_id(self, name: str, where: str) -> int:
    """The id of predicate `name`; UserError with the nearest known names if there is none."""
    return _look_up(name, self._predicate_ids, f'{where}: unknown predicate name')

  def attribute_id(self, name: str, where: str) -> int:
    """The id of attribute `name`; UserError with the nearest known names if there is none."""
    return _look_up(name, self._attribute_ids, f'{where}: unknown attribute name')

  def nearest_object_names(self, name: str) -> list[str]:
    """The known object names that are most like `name`, the nearest first."""
    return _nearest_names(name, self._object_ids)

  def translation(self, target: 'Vocabulary') -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids that `target` has for the names here: int32[num_objects], int32[num_predicates],
    int32[num_attributes]; 0 for unused ids. A target without attributes asks for none of them.

    Raises:
      UserError: a name is not in `target`.
    """

    def ids(kind: str, names: tuple[str, ...], known: Mapping[str, int]) -> np.ndarray:
      missing = [name for name in names if name not in known and name != UNUSED_NAME]
      if missing:
        shown = ', '.join(f'"{name}"' for name in missing[:5])
        raise UserError(
          f'{len(missing)} of the {kind} names of the data set are not in the vocabulary of the '
          'model: '
          f'{shown}{", ..." if len(missing) > 5 else ""}; use the data set that it was trained '
          'with, or '
          'train into another work directory'
        )
      return np.array([known.get(name, 0) for name in names], np.int32)

    asked = self.attribute_names if target.attribute_names else ()
    return (
      ids('object', self.object_names, target._object_ids),
      ids('predicate', self.predicate_names, target._predicate_ids),
      ids('attribute', asked, target._attribute_ids),
    )

  def without_attributes(self) -> 'Vocabulary':
    """The names of objects and predicates alone."""
    return Vocabulary(self.object_names, self.predicate_names)

  def to_dict(self) -> dict[str, list[str] | dict[str, int]]:
    """The published format: lists by id and mappings by name; fit for JSON."""
    values: dict[str, list[str] | dict[str, int]] = {
      'object_idx_to_name': list(self.object_names),
      'object_name_to_idx': dict(self._object_ids),
      'pred_idx_to_name': list(self.predicate_names),
      'pred_name_to_idx': dict(self._predicate_ids),
    }
    if self.attribute_names:
      values['attribute_idx_to_name'] = list(self.attribute_names)
      values['attribute_name_to_idx'] = dict(self._attribute_ids)
    return values

  @classmethod
  def from_dict(cls, values: Mapping[str, Any]) -> 'Vocabulary':
    """From the published format; the lists by id decide."""
    for key, first in (
      ('object_idx_to_name', IMAGE_OBJECT),
      ('pred_idx_to_name', IN_IMAGE_PREDICATE),
    ):
      names = values.get(key)
      if (
        not names or isinstance(names, str) or not isinstance(names, Sequence) or names[0] != first
      ):
        raise UserError(
          f'vocabulary: "{key}" is {describe(names)}; expected a list of names that begins with '
          f'"{first}"'
        )
    lists = [
      values['object_idx_to_name'],
      values['pred_idx_to_name'],
      values.get('attribute_idx_to_name', ()),
    ]
    for names in lists:
      if isinstance(names, str) or not isinstance(names, Sequence):
        raise UserError(f'vocabulary: found {describe(names)}, expected a list of names')
      for index, name in enumerate(names):
        if not isinstance(name, str):
          raise UserError(f'vocabulary: name {index} is {describe(name)}, expected text')
    return cls(*map(tuple, lists))


def _look_up(name: str, ids: Mapping[str, int], complaint: str) -> int:
  if name in ids:
    return ids[name]
  nearest = ', '.join(f'"{known}"' for known in _nearest_names(name, ids))
  raise UserError(f'{complaint} {describe(name)}; the nearest known names are {nearest}')


def _nearest_names(name: str, known_names: Mapping[str, int], count: int = 3) -> list[str]:
  def likeness(known: str) -> tuple[bool, float]:
    asked, candidate = name.strip().lower(), known.lower()
    # "sky" means "sky-other" rather than "skis", which has more letters in common.
    shares_word = bool(
      set(asked.replace('-', ' ').split()) & set(candidate.replace('-', ' ').split())
    )
    return shares_word, difflib.SequenceMatcher(None, asked, candidate).ratio()

  shown = [known for known in known_names if known not in (IMAGE_OBJECT, IN_IMAGE_PREDICATE)]
  return sorted(shown, key=likeness, reverse=True)[:count]

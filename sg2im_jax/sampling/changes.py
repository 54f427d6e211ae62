"""Changes of a scene, as people write them, and what they leave to be sampled.

A file holds one change or a list of them, which are made one after the other:

  {"change": "replace", "object": 2, "by": "cow"}
  {"change": "remove", "object": 2}
  {"change": "add", "object": "boat", "relationships": [[3, "in", 1]], "box": [0.1, 0.2, 0.4, 0.6]}
  {"change": "move", "object": 2, "box": [0.5, 0.5, 0.8, 0.9]}
  {"change": "relate", "subject": 2, "predicate": "left of", "object": 1}
  {"change": "describe", "object": 2, "attributes": ["red"]}
  {"change": "describe", "scene": ["night"]}
  {"change": "appearance", "object": 2, "of": 3}
  {"change": "appearance", "object": 2, "of": {"image": "other.png", "box": [0.1, 0.2, 0.4, 0.6]}}

Objects are numbers in the list of objects before the change; an object that is added gets the next
one. What a change does not name is kept: the others' boxes and appearances, and of the object
itself its box when it is replaced or described, its appearance when it is moved or related.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.scene_graphs.graph import SceneGraph, describe
from data_pipelines.settings.section import NonNegativeInt, Section
from sg2im_jax.sampling.placed_scene import PlacedScene, checked_box, read_json

EXAMPLE = '{"change": "replace", "object": 2, "by": "cow"}'
_NOWHERE = np.full(4, np.nan, np.float32)

Box = tuple[float, float, float, float]
Names = tuple[str, ...]
Relationship = tuple[NonNegativeInt, str, NonNegativeInt]


@dataclasses.dataclass(frozen=True, eq=False)
class Edit:
  """A scene after a change, with what is not known of it yet.

  Attributes:
    graph: N objects.
    boxes: float32[N, 4]; nan where a box is to be sampled.
    origin: of each object, its number before the change; None for one that is added.
    sampled_appearances: bool[N], whose appearances are to be sampled.
    changed: bool[N], which objects may look or lie otherwise than before.
    appearance_of: whose appearance an object gets: a number before the change, or a crop.
    whole_image: whether everything changes.
  """

  graph: SceneGraph
  boxes: np.ndarray
  origin: tuple[int | None, ...]
  sampled_appearances: np.ndarray
  changed: np.ndarray
  appearance_of: Mapping[int, 'int | ImageCrop'] = dataclasses.field(default_factory=dict)
  whole_image: bool = False


class ImageCrop(Section):
  """A part of another picture.

  Attributes:
    image: path of the picture.
    box: x0, y0, x1, y1, the picture being [0, 1].
  """

  image: str
  box: Box


class Replace(Section):
  """An object becomes one of another class, in its place."""

  change: Literal['replace']
  object: NonNegativeInt
  by: str
  attributes: Names = ()

  def apply(self, scene: PlacedScene) -> Edit:
    _check_index(self.object, scene)
    graph = scene.graph
    names = _changed(graph.objects, self.object, self.by)
    attributes = _with_attributes(graph, self.object, self.attributes)
    return _edit(
      scene,
      dataclasses.replace(graph, objects=names, attributes=attributes),
      anew=[self.object],
    )

  def __str__(self) -> str:
    return f'replace {self.object} by {" ".join((*self.attributes, self.by))}'


class Remove(Section):
  """An object goes, with its relationships."""

  change: Literal['remove']
  object: NonNegativeInt

  def apply(self, scene: PlacedScene) -> Edit:
    _check_index(self.object, scene)
    count = len(scene.graph.objects)
    if count == 1:
      raise UserError('the only object of a scene cannot be removed; replace it')
    kept = [index for index in range(count) if index != self.object]
    nothing = np.zeros(count - 1, bool)
    return Edit(scene.graph.part(kept), scene.boxes[kept], tuple(kept), nothing, nothing)

  def __str__(self) -> str:
    return f'remove {self.object}'


class Add(Section):
  """An object more; its number is that of the objects before."""

  change: Literal['add']
  object: str
  attributes: Names = ()
  relationships: tuple[Relationship, ...] = ()
  box: Box | None = None

  def apply(self, scene: PlacedScene) -> Edit:
    graph, count = scene.graph, len(scene.graph.objects)
    for subject, _, other in self.relationships:
      for index in (subject, other):
        if index > count:
          raise UserError(f'object {index} of a relationship is unknown; expected 0 to {count}')
    attributes = (*(graph.attributes or ((),) * count), self.attributes)
    box = _NOWHERE if self.box is None else checked_box(self.box, 'the box')
    new = np.arange(count + 1) == count
    return Edit(
      SceneGraph(
        (*graph.objects, self.object),
        (*graph.relationships, *self.relationships),
        attributes if any(attributes) else (),
        graph.scene,
      ),
      np.concatenate([scene.boxes, box[None]]),
      (*range(count), None),
      new,
      new,
    )

  def __str__(self) -> str:
    return f'add {" ".join((*self.attributes, self.object))}'


class Move(Section):
  """An object gets another box."""

  change: Literal['move']
  object: NonNegativeInt
  box: Box

  def apply(self, scene: PlacedScene) -> Edit:
    _check_index(self.object, scene)
    boxes = scene.boxes.copy()
    boxes[self.object] = checked_box(self.box, 'the box')
    return dataclasses.replace(_edit(scene, scene.graph, moved=[self.object]), boxes=boxes)

  def __str__(self) -> str:
    return f'move {self.object}'


class Relate(Section):
  """Another relationship of two objects, in place of those between them; the subject moves."""

  change: Literal['relate']
  subject: NonNegativeInt
  predicate: str
  object: NonNegativeInt

  def apply(self, scene: PlacedScene) -> Edit:
    for index in (self.subject, self.object):
      _check_index(index, scene)
    pair = {self.subject, self.object}
    others = tuple(
      relationship
      for relationship in scene.graph.relationships
      if {relationship[0], relationship[2]} != pair
    )
    related = (*others, (self.subject, self.predicate, self.object))
    graph = dataclasses.replace(scene.graph, relationships=related)
    boxes = scene.boxes.copy()
    boxes[self.subject] = _NOWHERE
    return dataclasses.replace(_edit(scene, graph, moved=[self.subject]), boxes=boxes)

  def __str__(self) -> str:
    return f'{self.subject} {self.predicate} {self.object}'


class Describe(Section):
  """Other attributes of an object, or of the whole image."""

  change: Literal['describe']
  object: NonNegativeInt | None = None
  attributes: Names = ()
  scene: Names | None = None

  def apply(self, scene: PlacedScene) -> Edit:
    if (self.object is None) == (self.scene is None):
      raise UserError(
        'found neither or both of "object" and "scene"; expected an object with "attributes", or '
        'the "scene"'
      )
    if self.scene is not None:
      graph = dataclasses.replace(scene.graph, scene=self.scene)
      every = range(len(graph.objects))
      return dataclasses.replace(_edit(scene, graph, anew=every), whole_image=True)
    assert self.object is not None
    _check_index(self.object, scene)
    attributes = _with_attributes(scene.graph, self.object, self.attributes)
    graph = dataclasses.replace(scene.graph, attributes=attributes)
    return _edit(scene, graph, anew=[self.object])

  def __str__(self) -> str:
    if self.scene is not None:
      return ', '.join(self.scene)
    return f'{self.object} {" ".join(self.attributes)}'


class Appearance(Section):
  """An object gets the appearance of another one, or of a part of a picture."""

  change: Literal['appearance']
  object: NonNegativeInt
  of: NonNegativeInt | ImageCrop

  def apply(self, scene: PlacedScene) -> Edit:
    _check_index(self.object, scene)
    if isinstance(self.of, int):
      _check_index(self.of, scene)
    edit = _edit(scene, scene.graph, moved=[self.object])
    return dataclasses.replace(edit, appearance_of={self.object: self.of})

  def __str__(self) -> str:
    of = self.of if isinstance(self.of, int) else self.of.image
    return f'{self.object} as {of}'


Change = Replace | Remove | Add | Move | Relate | Describe | Appearance
_KINDS = {
  'replace': Replace,
  'remove': Remove,
  'add': Add,
  'move': Move,
  'relate': Relate,
  'describe': Describe,
  'appearance': Appearance,
}


def load_changes(path: str | pathlib.Path) -> list[Change]:
  """The changes in a JSON file."""
  return parse_changes(read_json(path, EXAMPLE), str(path))


def parse_changes(values: Any, source: str) -> list[Change]:
  """One change or a list of them, from what JSON has.

  Raises:
    UserError: names the change and what is wrong with it.
  """
  several = values if isinstance(values, list | tuple) else [values]
  if not several:
    raise UserError(f'{source}: an empty list; expected at least one change like {EXAMPLE}')
  return [_parse_change(value, f'{source}: change {index}') for index, value in enumerate(several)]


def _parse_change(value: Any, where: str) -> Change:
  if isinstance(value, tuple(_KINDS.values())):
    return value
  kind = value.get('change') if isinstance(value, Mapping) else None
  if kind not in _KINDS:
    raise UserError(
      f'{where}: found {describe(value)}; expected "change" to be one of {", ".join(_KINDS)}, as '
      f'in {EXAMPLE}'
    )
  try:
    return _KINDS[kind].from_values(_tuples(value))
  except SettingsError as error:
    raise UserError(f'{where}: {error}') from None


def _tuples(value: Any) -> Any:
  """JSON's lists as the tuples of settings, and whole numbers of boxes as numbers."""
  if isinstance(value, Mapping):
    return {
      key: tuple(map(_number, item)) if key == 'box' and isinstance(item, list) else _tuples(item)
      for key, item in value.items()
    }
  return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _number(value: Any) -> Any:
  return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _edit(
  scene: PlacedScene, graph: SceneGraph, *, anew: Sequence[int] = (), moved: Sequence[int] = ()
) -> Edit:
  """The scene with another graph of as many objects.

  Args:
    scene: before.
    graph: after.
    anew: objects whose appearance is sampled.
    moved: objects that keep theirs, and change otherwise.
  """
  count = len(graph.objects)
  sampled = np.isin(np.arange(count), anew)
  changed = sampled | np.isin(np.arange(count), moved)
  return Edit(graph, scene.boxes, tuple(range(count)), sampled, changed)


def _changed(values: tuple, index: int, value: Any) -> tuple:
  return (*values[:index], value, *values[index + 1 :])


def _with_attributes(graph: SceneGraph, index: int, names: Names) -> tuple[Names, ...]:
  attributes = _changed(graph.attributes or ((),) * len(graph.objects), index, names)
  return attributes if any(attributes) else ()


def _check_index(index: int, scene: PlacedScene):
  count = len(scene.graph.objects)
  if index >= count:
    raise UserError(f'object {index} is unknown; expected 0 to {count - 1}')

"""Scene graphs as people write them: names in JSON, checked strictly."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from data_pipelines.scene_graphs import text_files
from data_pipelines.scene_graphs.errors import UserError

EXAMPLE = '{"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]}'
IMAGE_OBJECT = '__image__'  # stands for the whole image; every graph gets one, with id 0
IN_IMAGE_PREDICATE = '__in_image__'  # relates every object to `__image__`; id 0


@dataclasses.dataclass(frozen=True)
class SceneGraph:
  """Objects, the relations between them and their attributes, by name.

  Attributes:
    objects: object names; several objects may share one.
    relationships: (subject, predicate, object) with subject and object as indices into `objects`.
    attributes: attribute names, a tuple for each object; () where no object has any.
    scene: attribute names of the whole image.
  """

  objects: tuple[str, ...]
  relationships: tuple[tuple[int, str, int], ...]
  attributes: tuple[tuple[str, ...], ...] = ()
  scene: tuple[str, ...] = ()

  @property
  def has_attributes(self) -> bool:
    """Whether any object or the whole image has attributes."""
    return bool(self.attributes or self.scene)

  def attributes_of(self, index: int) -> tuple[str, ...]:
    """Those of one object."""
    return self.attributes[index] if self.attributes else ()

  def label(self, index: int) -> str:
    """An object with its attributes, such as "red boat"."""
    return ' '.join((*self.attributes_of(index), self.objects[index]))

  def part(self, kept: Sequence[int]) -> 'SceneGraph':
    """The graph of the objects `kept`, in that order, and the relationships among them."""
    place = {index: position for position, index in enumerate(kept)}
    return SceneGraph(
      tuple(self.objects[index] for index in kept),
      tuple(
        (place[subject], predicate, place[object_])
        for subject, predicate, object_ in self.relationships
        if subject in place and object_ in place
      ),
      tuple(self.attributes[index] for index in kept) if self.attributes else (),
      self.scene,
    )

  def without_attributes(self) -> 'SceneGraph':
    """The objects and relations alone."""
    return SceneGraph(self.objects, self.relationships)

  def to_dict(self) -> dict[str, Any]:
    """As its JSON has it; without the keys that are optional and empty."""
    values = dataclasses.asdict(self)
    return {
      key: value for key, value in values.items() if value or key in ('objects', 'relationships')
    }


def load_scene_graphs(path: str | pathlib.Path) -> list[SceneGraph]:
  """Reads a JSON file with one graph or a list of graphs."""
  try:
    content = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise UserError(
      f'{path}: cannot be read ({error.strerror}); expected a JSON file with scene graphs'
    ) from None
  return parse_scene_graphs(
    text_files.decode(content, str(path), f'JSON like {EXAMPLE}'), str(path)
  )


def parse_scene_graphs(text: str, source: str) -> list[SceneGraph]:
  """Parses one graph or a list of graphs.

  Args:
    text: JSON, see `EXAMPLE`.
    source: where the text comes from (a path, a form field); error messages begin with it.

  Returns:
    The graphs in their order; at least one.

  Raises:
    UserError: names the graph and the entry that is wrong.
  """
  try:
    document = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(
      f'{source}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}; '
      f'expected a scene graph like {EXAMPLE}'
    ) from None
  except (RecursionError, ValueError) as error:  # too deeply nested; a number of too many digits
    raise UserError(
      f'{source}: not usable JSON ({error}); expected a scene graph like {EXAMPLE}'
    ) from None
  if isinstance(document, list):
    if not document:
      raise UserError(f'{source}: an empty list; expected at least one scene graph like {EXAMPLE}')
    return [_parse_graph(graph, f'{source}: graph {index}') for index, graph in enumerate(document)]
  return [_parse_graph(document, source)]


def to_json(graphs: Sequence[SceneGraph]) -> str:
  """The graphs as the JSON list that `parse_scene_graphs` reads, one graph a line."""
  return '[' + ',\n '.join(json.dumps(graph.to_dict()) for graph in graphs) + ']\n'


def describe(value) -> str:
  """The value for a message: JSON on one line, shortened."""
  text = json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 60 else text[:57] + '...'


def _parse_graph(graph, where: str) -> SceneGraph:
  if not isinstance(graph, dict):
    raise UserError(f'{where}: found {describe(graph)}; expected an object like {EXAMPLE}')
  for key in ('objects', 'relationships'):
    if key not in graph:
      raise UserError(f'{where}: "{key}" is missing; expected an object like {EXAMPLE}')
    if not isinstance(graph[key], list):
      raise UserError(
        f'{where}: "{key}" is {describe(graph[key])}; expected a list as in {EXAMPLE}'
      )
  unknown = sorted(set(graph) - {'objects', 'relationships', 'attributes', 'scene'})
  if unknown:
    raise UserError(
      f'{where}: unknown key {describe(unknown[0])}; a scene graph has "objects" and '
      '"relationships", and may have "attributes" and "scene"'
    )
  if not graph['objects']:
    raise UserError(f'{where}: an empty graph; name at least one object in "objects"')
  for index, name in enumerate(graph['objects']):
    _check_name(name, IMAGE_OBJECT, f'{where}: object {index}')
  relationships = tuple(
    _parse_relationship(relationship, len(graph['objects']), f'{where}: relationship {index}')
    for index, relationship in enumerate(graph['relationships'])
  )
  attributes = _parse_attributes(graph.get('attributes', []), len(graph['objects']), where)
  scene = _parse_names(graph.get('scene', []), f'{where}: "scene"')
  return SceneGraph(tuple(graph['objects']), relationships, attributes, scene)


def _parse_attributes(attributes, num_objects: int, where: str) -> tuple[tuple[str, ...], ...]:
  if not isinstance(attributes, list) or (attributes and len(attributes) != num_objects):
    raise UserError(
      f'{where}: "attributes" is {describe(attributes)}; expected {num_objects} lists of names, '
      'one for each object, such as [["red"], []]'
    )
  parsed = tuple(
    _parse_names(names, f'{where}: the attributes of object {index}')
    for index, names in enumerate(attributes)
  )
  return parsed if any(parsed) else ()


def _parse_names(names, where: str) -> tuple[str, ...]:
  if not isinstance(names, list):
    raise UserError(f'{where}: found {describe(names)}; expected a list of names such as ["red"]')
  for name in names:
    if not isinstance(name, str) or not name.strip():
      raise UserError(f'{where}: found {describe(name)}; expected a name')
  return tuple(dict.fromkeys(names))


def _parse_relationship(relationship, num_objects: int, where: str) -> tuple[int, str, int]:
  if not isinstance(relationship, list) or len(relationship) != 3:
    raise UserError(
      f'{where}: found {describe(relationship)}; expected [subject index, "predicate", object '
      'index]'
    )
  subject, predicate, object_ = relationship
  for role, index in (('subject', subject), ('object', object_)):
    if not isinstance(index, int) or isinstance(index, bool):  # JSON's true is an int to Python
      raise UserError(
        f'{where}: the {role} is {describe(index)}; expected the index of an object, a whole number'
      )
    if not 0 <= index < num_objects:
      raise UserError(
        f'{where}: {role} index {describe(index)} is out of range; expected 0 to '
        f'{num_objects - 1}, '
        f'as the graph has {num_objects} object{"s" if num_objects > 1 else ""}'
      )
  _check_name(predicate, IN_IMAGE_PREDICATE, f'{where}: the predicate')
  return subject, predicate, object_


def _check_name(name, reserved: str, where: str):
  if not isinstance(name, str) or not name.strip():
    raise UserError(f'{where} is {describe(name)}; expected a name')
  if name == reserved:
    raise UserError(f'{where} is "{reserved}", which every graph is given by itself; leave it out')

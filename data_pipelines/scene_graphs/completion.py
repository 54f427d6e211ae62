"""What the training data makes likely: objects, relations and attributes of scene graphs.

The model is the counts of classes, of pairs of classes in one scene, and of relations between
classes. A class c is as likely in a scene with the classes d of a graph as

    P(c) prod_d P(c, d) / (P(c) P(d)),

a naive Bayes model (Maron, 1961) whose parts are shares of the training scenes. Two objects of one
class are a pair, too. What a graph says of the whole scene, such as night, is evidence like a class
of it. The next object is drawn by the odds P(c) / (1 - P(c)), so that what hardly any such scene
lacks comes first. Objects are drawn one after the other, each given those before; a new object
gets a relation with one of them, drawn by how often the scenes with both classes have it.

Names that the data could have together by their numbers, but never has, exclude each other: two
attributes of one thing such as day and night, a class and an attribute of the scene such as sun and
night. A class that is excluded so may have a counterpart, such as moon: of the classes that it
excludes, the one whose relations are most alike, if that holds the other way round, too.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph

_NEVER = 0.05  # scenes that a pair counts as that is in none
_SUREST = 0.99  # probability that a scene has a class
_LEAST_SHARE = 0.1  # of the scenes with a pair of classes that must have a relation
_FEWEST = 8.0  # scenes that must be expected to have two names before their lack says something
_MOST_OF_EXPECTED = 0.03  # share of these scenes that may have both names, which exclude each other
_ALIKE = 0.9  # cosine between the relations of counterparts
_MOST_IMPLIED = 3  # objects
_USUAL = 0.7  # share of the scenes with a name that must have a class which the name implies

Triple = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Addition:
  """What was added to a graph.

  Attributes:
    name: of the object.
    relationship: its relation, with indices of objects; None where the data has no common one.
  """

  name: str
  relationship: tuple[int, str, int] | None


@dataclasses.dataclass(frozen=True)
class GraphStatistics:
  """Counts over the graphs of S scenes.

  Attributes:
    num_scenes: S.
    classes: by class, the scenes that have it.
    pairs: by two classes in alphabetical order, the scenes that have both; of a class and itself,
      those that have it twice or more.
    relations: by subject, predicate and object, how often.
    scene: by attribute of the whole scene, the scenes that have it.
    scene_pairs: by attribute of the whole scene and class, the scenes that have both.
    described: by class and attribute, the objects of the class that have it.
    attribute_pairs: by two attributes in alphabetical order, the things that have both, be they
      objects or whole scenes.
  """

  num_scenes: int
  classes: Mapping[str, int]
  pairs: Mapping[tuple[str, str], int]
  relations: Mapping[Triple, int]
  scene: Mapping[str, int]
  scene_pairs: Mapping[tuple[str, str], int]
  described: Mapping[tuple[str, str], int]
  attribute_pairs: Mapping[tuple[str, str], int]

  @classmethod
  def of_graphs(cls, graphs: Iterable[SceneGraph]) -> 'GraphStatistics':
    """Counts the graphs."""
    count, classes, pairs = 0, collections.Counter(), collections.Counter()
    relations: collections.Counter[Triple] = collections.Counter()
    scene, scene_pairs = collections.Counter(), collections.Counter()
    described, attribute_pairs = collections.Counter(), collections.Counter()
    for graph in graphs:
      count += 1
      numbers = collections.Counter(graph.objects)
      names = sorted(numbers)
      classes.update(names)
      pairs.update((one, other) for place, one in enumerate(names) for other in names[place + 1 :])
      pairs.update((name, name) for name in names if numbers[name] > 1)
      relations.update(
        (graph.objects[subject], predicate, graph.objects[other])
        for subject, predicate, other in graph.relationships
      )
      scene.update(graph.scene)
      scene_pairs.update((attribute, name) for attribute in graph.scene for name in names)
      of_objects = [graph.attributes_of(index) for index in range(len(graph.objects))]
      for name, attributes in zip(graph.objects, of_objects):
        described.update((name, attribute) for attribute in attributes)
      for attributes in (graph.scene, *of_objects):
        attribute_pairs.update(itertools.combinations(sorted(attributes), 2))
    return cls(count, classes, pairs, relations, scene, scene_pairs, described, attribute_pairs)

  def complete(
    self, graph: SceneGraph, num_objects: int, seed: int = 0
  ) -> tuple[SceneGraph, list[Addition]]:
    """The graph with more objects, each with a relation where the data has a common one.

    Args:
      graph: whose classes the data may or may not have.
      num_objects: how many to add.
      seed: of what is drawn.

    Raises:
      UserError: the statistics are of no scene.
    """
    if not self.num_scenes:
      raise UserError('the training data has no scenes to complete graphs from')
    rng, of_relations = (np.random.default_rng((seed, number)) for number in range(2))
    added = []
    for _ in range(num_objects):
      name = self._draw_class(graph, rng)
      graph, addition = self._with_object(graph, name, of_relations)
      added.append(addition)
    return graph, added

  def likelihoods(self, objects: Sequence[str], scene: Sequence[str] = ()) -> dict[str, float]:
    """The probability of each class to be the next object of a scene that has these objects, and
    these attributes as a whole.
    """
    odds = {
      name: probability / (1 - probability)
      for name, probability in self._probabilities(objects, scene).items()
    }
    total = sum(odds.values())
    return {name: one / total for name, one in odds.items()}

  def implied(self, graph: SceneGraph) -> tuple[SceneGraph, list[Addition]]:
    """The graph with what most scenes like it have besides, such as the sky above a beach."""
    added: list[Addition] = []
    while self.num_scenes and len(added) < _MOST_IMPLIED:
      found = self._probabilities(graph.objects, graph.scene)
      missing = {
        name: value
        for name, value in found.items()
        if name not in graph.objects and self._is_usual(name, graph) and value >= 0.5
      }
      if not missing:
        break
      name = max(missing, key=lambda one: missing[one])
      graph, addition = self._with_object(graph, name)
      added.append(addition)
    return graph, added

  def counterparts(self) -> dict[str, dict[str, str]]:
    """By attribute of the whole scene, the classes that it excludes, and their counterparts."""
    best = {
      attribute: {
        name: most_alike
        for name in self.classes
        if self._excludes(attribute, name) and (most_alike := self._most_alike(name)) is not None
      }
      for attribute in self.scene
    }
    return {
      attribute: {
        name: other
        for name, other in found.items()
        if self._most_alike(other) == name and self.scene_pairs.get((attribute, other), 0)
      }
      for attribute, found in best.items()
    }

  def usual_scene(self) -> tuple[str, ...]:
    """Attributes of the whole that most scenes have."""
    return tuple(name for name, count in self.scene.items() if 2 * count > self.num_scenes)

  def excluding_attributes(self) -> list[tuple[str, str]]:
    """Pairs of attributes that nothing has both of, in alphabetical order."""
    expected: collections.Counter[tuple[str, str]] = collections.Counter()
    for total, counts in [
      (self.num_scenes, self.scene),
      *((self.classes[name], counts) for name, counts in self._attributes.items()),
    ]:
      for one, other in itertools.combinations(sorted(counts), 2):
        by_chance = counts[one] * counts[other] / total
        expected[one, other] = max(expected[one, other], by_chance)
    return [
      names
      for names, count in expected.items()
      if _is_excluded(self.attribute_pairs.get(names, 0), count)
    ]

  def attributes_of(self, name: str) -> dict[str, int]:
    """How many objects of a class have each attribute; the most common first."""
    return dict(self._attributes.get(name, collections.Counter()).most_common())

  @functools.cached_property
  def _attributes(self) -> dict[str, collections.Counter[str]]:
    """By class, how many of its objects have each attribute."""
    found: dict[str, collections.Counter[str]] = {}
    for (name, attribute), count in self.described.items():
      found.setdefault(name, collections.Counter())[attribute] = count
    return found

  def _probabilities(self, objects: Sequence[str], scene: Sequence[str]) -> dict[str, float]:
    """Of each class, to be in a scene that has these objects, and these attributes as a whole."""
    present = collections.Counter(name for name in objects if name in self.classes)
    others = sorted(present)
    said = sorted(set(scene) & set(self.scene))
    found = {}
    for name, count in self.classes.items():
      share = count / self.num_scenes
      if (
        name in present
      ):  # one more is as likely after the one before as the second after the first
        share = (self._pair(name, name) / count) ** present[name]
      score = math.log(share)
      for other in others:
        if other != name:
          together = self._pair(name, other) * self.num_scenes
          score += math.log(together / (count * self.classes[other]))
      for attribute in said:
        together = max(self.scene_pairs.get((attribute, name), 0), _NEVER) * self.num_scenes
        score += math.log(together / (count * self.scene[attribute]))
      found[name] = min(math.exp(min(score, 0)), _SUREST)
    return found

  def to_dict(self) -> dict[str, Any]:
    """For JSON."""
    return {
      'num_scenes': self.num_scenes,
      'classes': dict(self.classes),
      'pairs': [[*names, count] for names, count in sorted(self.pairs.items())],
      'relations': [[*names, count] for names, count in sorted(self.relations.items())],
      'scene': dict(self.scene),
      'scene_pairs': [[*names, count] for names, count in sorted(self.scene_pairs.items())],
      'described': [[*names, count] for names, count in sorted(self.described.items())],
      'attribute_pairs': [[*names, count] for names, count in sorted(self.attribute_pairs.items())],
    }

  @classmethod
  def from_dict(cls, values: Mapping[str, Any]) -> 'GraphStatistics':
    """From what `to_dict` made; it may know nothing of whole scenes and attributes."""
    described, attribute_pairs = (
      {(one, other): count for one, other, count in values.get(key, [])}
      for key in ('described', 'attribute_pairs')
    )
    return cls(
      values['num_scenes'],
      dict(values['classes']),
      {(one, other): count for one, other, count in values['pairs']},
      {(one, predicate, other): count for one, predicate, other, count in values['relations']},
      dict(values.get('scene', {})),
      {(attribute, name): count for attribute, name, count in values.get('scene_pairs', [])},
      described,
      attribute_pairs,
    )

  def _with_object(
    self, graph: SceneGraph, name: str, rng: np.random.Generator | None = None
  ) -> tuple[SceneGraph, Addition]:
    """The graph with one more object, and with a relation of it where there is a common one."""
    relationship = self._draw_relation(graph.objects, name, rng)
    assert relationship is None or len(graph.objects) in relationship
    extended = dataclasses.replace(
      graph,
      objects=(*graph.objects, name),
      relationships=(*graph.relationships, *([relationship] if relationship else [])),
      attributes=(*graph.attributes, ()) if graph.attributes else (),
    )
    return extended, Addition(name, relationship)

  def _excludes(self, attribute: str, name: str) -> bool:
    """Whether an attribute of the scene and a class exclude each other."""
    expected = self.scene[attribute] * self.classes[name] / self.num_scenes
    return _is_excluded(self.scene_pairs.get((attribute, name), 0), expected)

  def _most_alike(self, name: str) -> str | None:
    """Of the classes that a class excludes, the one with the most similar relations."""
    alike = {}
    for other, count in self.classes.items():
      expected = self.classes[name] * count / self.num_scenes
      if other != name and _is_excluded(self._pair(name, other), expected):
        cosine = round(_cosine(self._roles[name], self._roles[other]), 2)
        if cosine >= _ALIKE:
          alike[other] = cosine
    return max(alike, key=lambda one: (alike[one], self.classes[one]), default=None)

  def _is_usual(self, name: str, graph: SceneGraph) -> bool:
    """Whether most scenes with one of the graph's names, be it one alone, have the class."""
    shares = [
      self._pair(name, one) / self.classes[one] for one in graph.objects if one in self.classes
    ]
    shares += [
      self.scene_pairs.get((attribute, name), 0) / self.scene[attribute]
      for attribute in graph.scene
      if attribute in self.scene
    ]
    return max(shares, default=0.0) >= _USUAL

  @functools.cached_property
  def _roles(self) -> dict[str, collections.Counter[tuple[str, bool]]]:
    """By class, how often it has each predicate, as subject (True) and as object."""
    roles = collections.defaultdict(collections.Counter)
    for (subject, predicate, object_), count in self.relations.items():
      roles[subject][predicate, True] += count
      roles[object_][predicate, False] += count
    return roles

  def _pair(self, one: str, other: str) -> float:
    names = (one, other) if one <= other else (other, one)
    return float(max(self.pairs.get(names, 0), _NEVER))

  def _draw_class(self, graph: SceneGraph, rng: np.random.Generator) -> str:
    likely = self.likelihoods(graph.objects, graph.scene)
    return list(likely)[rng.choice(len(likely), p=list(likely.values()))]

  def _draw_relation(
    self, objects: Sequence[str], name: str, rng: np.random.Generator | None
  ) -> tuple[int, str, int] | None:
    """Of a new object with one of these, by how often the scenes with both classes have it, or the
    most common one if nothing is to be drawn; None where no relation is common.
    """
    place, found, shares = len(objects), [], []
    for index, other in enumerate(objects):
      for (subject, predicate, object_), count in self.relations.items():
        share = count / self._pair(name, other)
        if share < _LEAST_SHARE:
          continue
        if (subject, object_) == (name, other):
          found.append((place, predicate, index))
        elif (subject, object_) == (other, name):
          found.append((index, predicate, place))
        else:
          continue
        shares.append(share)
    if not found:
      return None
    if rng is None:
      return found[int(np.argmax(shares))]
    return found[rng.choice(len(found), p=np.divide(shares, sum(shares)))]


def _is_excluded(both: int | float, expected: float) -> bool:
  """Whether two names exclude each other, which by chance so many would have together."""
  return expected >= _FEWEST and both <= _MOST_OF_EXPECTED * expected


def _cosine(one: Mapping[Any, int], other: Mapping[Any, int]) -> float:
  norm = math.hypot(*one.values()) * math.hypot(*other.values())
  return sum(count * other.get(key, 0) for key, count in one.items()) / norm if norm else 0.0

"""Completion of scene graphs: objects and relations that the training data makes likely.

The model is the counts of classes, of pairs of classes in one scene, and of relations between
classes. A class c is as likely in a scene with the classes d of a graph as

    P(c) prod_d P(c, d) / (P(c) P(d)),

a naive Bayes model (Maron, 1961) whose parts are shares of the training scenes. Two objects of one
class are a pair, too. What a graph says of the whole scene, such as night, is evidence like a class
of it. The next object is drawn by the odds P(c) / (1 - P(c)), so that what hardly any such scene
lacks comes first. Objects are drawn one after the other, each given those before; a new object
gets a relation with one of them, drawn by how often the scenes with both classes have it.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph

_NEVER = 0.05  # scenes that a pair counts as that is in none
_SUREST = 0.99  # probability that a scene has a class
_LEAST_SHARE = 0.1  # of the scenes with a pair of classes that must have a relation

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
  """

  num_scenes: int
  classes: Mapping[str, int]
  pairs: Mapping[tuple[str, str], int]
  relations: Mapping[Triple, int]
  scene: Mapping[str, int]
  scene_pairs: Mapping[tuple[str, str], int]

  @classmethod
  def of_graphs(cls, graphs: Iterable[SceneGraph]) -> 'GraphStatistics':
    """Counts the graphs."""
    count, classes, pairs = 0, collections.Counter(), collections.Counter()
    relations: collections.Counter[Triple] = collections.Counter()
    scene, scene_pairs = collections.Counter(), collections.Counter()
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
    return cls(count, classes, pairs, relations, scene, scene_pairs)

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
      place = len(graph.objects)
      relationship = self._draw_relation(graph.objects, name, of_relations)
      graph = dataclasses.replace(
        graph,
        objects=(*graph.objects, name),
        relationships=(*graph.relationships, *([relationship] if relationship else [])),
        attributes=(*graph.attributes, ()) if graph.attributes else (),
      )
      assert relationship is None or place in relationship
      added.append(Addition(name, relationship))
    return graph, added

  def likelihoods(self, objects: Sequence[str], scene: Sequence[str] = ()) -> dict[str, float]:
    """The probability of each class to be the next object of a scene that has these objects, and
    these attributes as a whole.
    """
    present = collections.Counter(name for name in objects if name in self.classes)
    others = sorted(present)
    said = sorted(set(scene) & set(self.scene))
    odds = {}
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
      probability = min(math.exp(min(score, 0)), _SUREST)
      odds[name] = probability / (1 - probability)
    total = sum(odds.values())
    return {name: one / total for name, one in odds.items()}

  def to_dict(self) -> dict[str, Any]:
    """For JSON."""
    return {
      'num_scenes': self.num_scenes,
      'classes': dict(self.classes),
      'pairs': [[*names, count] for names, count in sorted(self.pairs.items())],
      'relations': [[*names, count] for names, count in sorted(self.relations.items())],
      'scene': dict(self.scene),
      'scene_pairs': [[*names, count] for names, count in sorted(self.scene_pairs.items())],
    }

  @classmethod
  def from_dict(cls, values: Mapping[str, Any]) -> 'GraphStatistics':
    """From what `to_dict` made; it may know nothing of whole scenes."""
    return cls(
      values['num_scenes'],
      dict(values['classes']),
      {(one, other): count for one, other, count in values['pairs']},
      {(one, predicate, other): count for one, predicate, other, count in values['relations']},
      dict(values.get('scene', {})),
      {(attribute, name): count for attribute, name, count in values.get('scene_pairs', [])},
    )

  def _pair(self, one: str, other: str) -> float:
    names = (one, other) if one <= other else (other, one)
    return float(max(self.pairs.get(names, 0), _NEVER))

  def _draw_class(self, graph: SceneGraph, rng: np.random.Generator) -> str:
    likely = self.likelihoods(graph.objects, graph.scene)
    return list(likely)[rng.choice(len(likely), p=list(likely.values()))]

  def _draw_relation(
    self, objects: Sequence[str], name: str, rng: np.random.Generator
  ) -> tuple[int, str, int] | None:
    """Of a new object with one of these, by how often the scenes with both classes have it; None
    where no relation is common.
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
    return found[rng.choice(len(found), p=np.divide(shares, sum(shares)))] if found else None

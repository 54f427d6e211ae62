"""Rows of the paper's figure 6: a graph that grows, with a picture of each stage."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.graphs import GraphSamples
from sg2im_jax.sampling.trained_model import TrainedModel

_MOST_STAGES = 8  # of a scene; in larger ones several objects come at once


@dataclasses.dataclass(frozen=True, eq=False)
class Progression:
  """A row of figure 6.

  Attributes:
    source: where the graphs come from.
    stages: each graph with a picture, all of the same noise.
  """

  source: str
  stages: Sequence[GraphSamples]


def growth(scene: PreparedScene) -> list[SceneGraph]:
  """The stages of a scene's graph: two objects, then one more at a time, up to all of them.

  Objects come by the area that they cover, the largest first, so that grounds are there before what
  stands on them. A relationship is there as soon as both its objects are. Graphs of more than
  _MOST_STAGES + 1 objects grow by several at a time.
  """
  x0, y0, x1, y1 = scene.boxes.T
  areas = (x1 - x0) * (y1 - y0) * (1 if scene.masks is None else scene.masks.mean((1, 2)))
  order = np.argsort(-areas, kind='stable').tolist()
  count = len(order)
  num_stages = min(max(count - 1, 1), _MOST_STAGES)
  sizes = np.linspace(min(2, count), count, num_stages).round().astype(int)
  return [scene.graph.part(order[:size]) for size in sizes]


def sample_stages(
  model: TrainedModel, graphs: Sequence[SceneGraph], *, noise_index: int, seed: int
) -> list[GraphSamples]:
  """A picture of each graph, all with the noise of the first sample of graph `noise_index`."""
  return [
    found
    for graph in graphs
    for found in model.sample_graphs({noise_index: graph}, samples=1, seed=seed)
  ]


def changes(before: SceneGraph, after: SceneGraph) -> tuple[list[str], list[str]]:
  """What a stage has added to the one before it, and what it has removed.

  Objects and relationships are told as text, such as "sheep" and "sheep on grass".
  """
  old, new = _parts(before), _parts(after)
  return [text for _, text in (new - old).elements()], [text for _, text in (old - new).elements()]


def _parts(graph: SceneGraph) -> collections.Counter[tuple[tuple[int, ...], str]]:
  """Each object and relationship as the places of its objects and its text."""
  names = [graph.label(index) for index in range(len(graph.objects))]
  return collections.Counter(
    [
      *(((place,), name) for place, name in enumerate(names)),
      *(
        ((subject, object_), f'{names[subject]} {predicate} {names[object_]}')
        for subject, predicate, object_ in graph.relationships
      ),
    ]
  )

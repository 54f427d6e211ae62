"""What a token model takes beyond a graph: edits of scenes, attributes, and graphs to complete."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.drawing.progressions import sample_stages
from sg2im_jax.sampling import editor
from sg2im_jax.sampling.changes import Change, Describe, Move, Remove, Replace
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.sampling.scene_objects import (
  LARGEST,
  SMALLEST,
  SceneObject,
  areas,
  most_alike,
  objects_of,
)
from sg2im_jax.sampling.trained_model import TrainedModel

NUM_SCENES = 64  # of a split, whose objects lend their classes and attributes
_MOST_ROWS = 4  # of each kind
_MOST_DESCRIPTIONS = 4  # of an object, in a row
_MOST_SCENE_DESCRIPTIONS = 7  # of the whole picture, in a row
_NUM_COMPLETIONS, _NUM_ADDED = 4, 4


@dataclasses.dataclass(frozen=True, eq=False)
class Variation:
  """A picture of a row.

  Attributes:
    caption: what is special about it.
    graph: of N objects.
    boxes: float32[N, 4], where they are painted.
    picture: uint8[H, W, 3].
  """

  caption: str
  graph: SceneGraph
  boxes: Float[np.ndarray, 'N 4']
  picture: UInt8[np.ndarray, 'H W 3']


@dataclasses.dataclass(frozen=True, eq=False)
class Variations:
  """A row of pictures that are to be compared.

  Attributes:
    source: what they are of.
    pictures: the plain one first.
  """

  source: str
  pictures: Sequence[Variation]


def sample_variations(
  model: TrainedModel, scenes: Sequence[PreparedScene], seed: int
) -> dict[str, list[Variations]]:
  """Rows of pictures by what they show; only what the model can do.

  Args:
    model: a token model.
    scenes: of a data set, with graphs as the model understands them; the first ones are shown.
    seed: of the noise.
  """
  found = {
    'Edits': _edits(model, scenes, seed),
    'Attributes': _attributes(model, scenes, seed),
    'Attributes of the whole picture': _scene_attributes(model, scenes, seed),
    'Completed graphs': _completions(model, scenes, seed),
  }
  return {title: rows for title, rows in found.items() if rows}


def _edits(model: TrainedModel, scenes: Sequence[PreparedScene], seed: int) -> list[Variations]:
  """The first scenes, each with one object that is replaced, removed, moved, described anew."""
  objects, rows = objects_of(scenes), []
  for scene in scenes[:_MOST_ROWS]:
    start = editor.start(model, scene.image, PlacedScene.of_prepared(scene))
    pictures = [Variation('before', start.scene.graph, start.scene.boxes, start.picture)]
    for caption, change in _changes(scene, objects):
      after = editor.step(model, start, change, seed=seed)
      pictures.append(Variation(caption, after.scene.graph, after.scene.boxes, after.picture))
    rows.append(Variations(f'scene {scene.image_id}', pictures))
  return rows


def _changes(scene: PreparedScene, objects: Sequence[SceneObject]) -> list[tuple[str, Change]]:
  """Changes of one object of a scene, with what is said of them."""
  chosen = _middle_sized(scene)
  name, box = scene.graph.objects[chosen], scene.boxes[chosen]
  found: list[tuple[str, Change]] = []
  other = most_alike(objects, box, lambda one: one.scene is not scene and one.name != name)
  if other is not None:
    change = Replace(change='replace', object=chosen, by=other.name)
    found.append((f'{name} replaced by {other.name}', change))
  if len(scene.graph.objects) > 1:
    found.append((f'{name} removed', Remove(change='remove', object=chosen)))
  x0, y0, x1, y1 = box.astype(float).tolist()
  mirrored = Move(change='move', object=chosen, box=(1 - x1, y0, 1 - x0, y1))
  found.append((f'{name} moved to the other side', mirrored))
  described = _descriptions(scene, chosen, objects)[:1]
  found += [
    (
      f'{name} described as {", ".join(attributes)}',
      Describe(change='describe', object=chosen, attributes=attributes),
    )
    for attributes in described
  ]
  return found


def _attributes(
  model: TrainedModel, scenes: Sequence[PreparedScene], seed: int
) -> list[Variations]:
  """Graphs without attributes, with those of the data, and with others of one object."""
  objects, rows = objects_of(scenes), []
  for index, scene in enumerate(scenes):
    graph = scene.graph
    if len(rows) == _MOST_ROWS or not graph.attributes:
      continue
    options = [(place, _descriptions(scene, place, objects)) for place in _no_grounds(scene)]
    options = [(place, others) for place, others in options if len(others) > 1]
    if not options:
      continue
    chosen, others = max(options, key=lambda option: len(option[1]))
    graphs = [graph.without_attributes(), graph]
    for attributes in others[:_MOST_DESCRIPTIONS]:
      of_all = list(graph.attributes)
      of_all[chosen] = attributes
      graphs.append(dataclasses.replace(graph, attributes=tuple(of_all)))
    captions = ['no attributes', f'as in the data: {graph.label(chosen)}']
    captions += [changed.label(chosen) for changed in graphs[2:]]
    rows.append(_row(model, f'graph of scene {scene.image_id}', captions, graphs, index, seed))
  return rows


def _scene_attributes(
  model: TrainedModel, scenes: Sequence[PreparedScene], seed: int
) -> list[Variations]:
  """The first scenes with attributes of the whole picture, with those that are most frequent."""
  counts = collections.Counter(scene.graph.scene for scene in scenes if scene.graph.scene)
  frequent = [attributes for attributes, _ in counts.most_common(_MOST_SCENE_DESCRIPTIONS)]
  if len(frequent) < 2:
    return []
  described = [(index, scene) for index, scene in enumerate(scenes) if scene.graph.scene]
  rows = []
  for index, scene in described[:_MOST_ROWS]:
    graphs = [dataclasses.replace(scene.graph, scene=attributes) for attributes in frequent]
    captions = [', '.join(attributes) for attributes in frequent]
    rows.append(_row(model, f'graph of scene {scene.image_id}', captions, graphs, index, seed))
  return rows


def _completions(
  model: TrainedModel, scenes: Sequence[PreparedScene], seed: int
) -> list[Variations]:
  """Graphs of one object, alone and with others that the model adds."""
  if model.statistics is None or not model.statistics.num_scenes:
    return []
  names = dict.fromkeys(scene.graph.objects[_middle_sized(scene)] for scene in scenes)
  rows = []
  for index, name in enumerate(list(names)[:_MOST_ROWS]):
    alone = SceneGraph((name,), ())
    graphs = [alone]
    graphs += [
      model.complete(alone, _NUM_ADDED, seed=seed + number)[0] for number in range(_NUM_COMPLETIONS)
    ]
    captions = ['alone', *(f'with {", ".join(graph.objects[1:])}' for graph in graphs[1:])]
    rows.append(_row(model, name, captions, graphs, index, seed))
  return rows


def _row(
  model: TrainedModel,
  source: str,
  captions: Sequence[str],
  graphs: Sequence[SceneGraph],
  noise_index: int,
  seed: int,
) -> Variations:
  """A picture of each graph, all of the same noise."""
  stages = sample_stages(model, graphs, noise_index=noise_index, seed=seed)
  return Variations(
    source,
    [
      Variation(caption, stage.graph, stage.boxes[0], stage.pictures[0])
      for caption, stage in zip(captions, stages, strict=True)
    ],
  )


def _middle_sized(scene: PreparedScene) -> int:
  """The largest object that is no ground; the smallest of all if there is none."""
  covered, fitting = areas(scene.boxes), _no_grounds(scene)
  return max(fitting, key=lambda index: covered[index]) if fitting else int(covered.argmin())


def _no_grounds(scene: PreparedScene) -> list[int]:
  """Objects that are neither tiny nor large, and touch one edge of the picture at most."""
  covered = areas(scene.boxes)
  at_edges = (scene.boxes[:, :2] <= 0).sum(-1) + (scene.boxes[:, 2:] >= 1).sum(-1)
  return np.flatnonzero((SMALLEST <= covered) & (covered <= LARGEST) & (at_edges < 2)).tolist()


def _descriptions(
  scene: PreparedScene, index: int, objects: Sequence[SceneObject]
) -> list[tuple[str, ...]]:
  """The attributes that others of its class have, other than its own; those that differ most from
  its own first.
  """
  own = set(scene.graph.attributes_of(index))
  found = dict.fromkeys(
    one.attributes
    for one in objects
    if one.name == scene.graph.objects[index] and one.attributes and set(one.attributes) != own
  )
  return sorted(found, key=lambda attributes: len(own & set(attributes)))

"""A scene that is there: a graph with a box for each object, perhaps with masks."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.scene_graphs import graph as scene_graph
from data_pipelines.scene_graphs import text_files
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph

if TYPE_CHECKING:
  from data_pipelines.pipeline.prepared import PreparedScene  # TensorFlow takes seconds

EXAMPLE = '{"objects": ["sky"], "relationships": [], "boxes": [[0, 0, 1, 0.5]]}'


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedScene:
  """A graph with N objects, and where they are.

  Attributes:
    graph: the graph.
    boxes: float32[N, 4] x0, y0, x1, y1, the image being [0, 1].
    masks: float32[N, M, M] in [0, 1], each in the frame of its box; None where none are known.
  """

  graph: SceneGraph
  boxes: np.ndarray
  masks: np.ndarray | None = None

  def to_dict(self) -> dict[str, Any]:
    """As its JSON has it; without masks."""
    boxes = np.round(self.boxes.astype(float), 4).tolist()
    return {**self.graph.to_dict(), 'boxes': boxes}

  @classmethod
  def of_prepared(cls, scene: 'PreparedScene') -> 'PlacedScene':
    """A scene of a data set."""
    masks = None if scene.masks is None else scene.masks.astype(np.float32)
    return cls(scene.graph, scene.boxes, masks)

  @classmethod
  def from_dict(cls, values: Any, source: str) -> 'PlacedScene':
    """A graph as its JSON has it, with "boxes" and perhaps "masks".

    Args:
      values: parsed JSON.
      source: what error messages begin with.

    Raises:
      UserError: tells what is wrong.
    """
    if not isinstance(values, Mapping) or 'boxes' not in values:
      found = scene_graph.describe(values)
      raise UserError(f'{source}: found {found}; expected a scene like {EXAMPLE}')
    bare = {key: value for key, value in values.items() if key not in ('boxes', 'masks')}
    (graph,) = scene_graph.parse_scene_graphs(json.dumps(bare), source)
    boxes = checked_boxes(values['boxes'], len(graph.objects), source)
    masks = values.get('masks')
    return cls(graph, boxes, None if masks is None else _checked_masks(masks, boxes, source))

  @classmethod
  def load(cls, path: str | pathlib.Path) -> 'PlacedScene':
    """The scene in a JSON file."""
    return cls.from_dict(read_json(path, EXAMPLE), str(path))


def read_json(path: str | pathlib.Path, example: str) -> Any:
  """The value in a JSON file; UserError if there is none."""
  try:
    content = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror}); expected a JSON file') from None
  text = text_files.decode(content, str(path), f'something like {example}')
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:  # no JSON; nested too deep
    raise UserError(f'{path}: not JSON ({error}); expected something like {example}') from None


def checked_boxes(boxes: Any, count: int, source: str) -> np.ndarray:
  """float32[count, 4], clipped to the image.

  Raises:
    UserError: names the box that is none.
  """
  if not isinstance(boxes, list | tuple | np.ndarray) or len(boxes) != count:
    found = scene_graph.describe(boxes) if isinstance(boxes, list) else repr(boxes)
    raise UserError(f'{source}: "boxes" is {found}; expected {count} boxes, one for each object')
  return np.stack([checked_box(box, f'{source}: box {index}') for index, box in enumerate(boxes)])


def checked_box(box: Any, where: str) -> np.ndarray:
  """float32[4], clipped to the image; UserError if it is not a box there."""
  try:
    found = np.asarray(box, np.float32)
  except (TypeError, ValueError):
    found = np.zeros(0, np.float32)
  clipped = np.clip(found, 0, 1)
  if found.shape != (4,) or not np.isfinite(found).all() or (clipped[2:] <= clipped[:2]).any():
    raise UserError(
      f'{where} is {box}; expected x0, y0, x1, y1 with x0 < x1 and y0 < y1, the image being 0 to 1'
    )
  return clipped


def _checked_masks(masks: Any, boxes: np.ndarray, source: str) -> np.ndarray:
  try:
    found = np.asarray(masks, np.float32)
  except (TypeError, ValueError):
    found = np.zeros(0, np.float32)
  if found.ndim != 3 or len(found) != len(boxes) or len(set(found.shape[1:])) > 1:
    raise UserError(
      f'{source}: "masks" is no array [{len(boxes)}, M, M]; expected a square for each object'
    )
  if not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
    raise UserError(f'{source}: "masks" has numbers outside of 0 to 1; expected shares')
  return found

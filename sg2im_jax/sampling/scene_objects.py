"""Objects of scenes of a data set, and which of them are alike."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from sg2im_jax.metrics.layout_metrics import box_iou

if TYPE_CHECKING:
  from data_pipelines.pipeline.prepared import PreparedScene  # TensorFlow takes seconds

SMALLEST, LARGEST = 0.01, 0.35  # area of the boxes of objects that are neither tiny nor grounds


@dataclasses.dataclass(frozen=True, eq=False)
class SceneObject:
  """An object of a scene.

  Attributes:
    name: of its class.
    attributes: their names.
    box: float32[4] x0, y0, x1, y1 in [0, 1].
    scene: that it is in.
  """

  name: str
  attributes: tuple[str, ...]
  box: Float[np.ndarray, ' 4']
  scene: 'PreparedScene'


def objects_of(scenes: 'Sequence[PreparedScene]') -> list[SceneObject]:
  """All objects of the scenes."""
  return [
    SceneObject(scene.graph.objects[index], scene.graph.attributes_of(index), box, scene)
    for scene in scenes
    for index, box in enumerate(scene.boxes)
  ]


def most_alike(
  objects: Sequence[SceneObject],
  box: Float[np.ndarray, ' 4'],
  accepted: Callable[[SceneObject], bool],
) -> SceneObject | None:
  """The accepted object whose box is most like this one; None if none is accepted."""
  found = [one for one in objects if accepted(one)]
  if not found:
    return None
  boxes = np.stack([one.box for one in found])
  return found[int(np.argmax(box_iou(boxes, np.broadcast_to(box, boxes.shape))))]


def areas(boxes: Float[np.ndarray, 'N 4']) -> Float[np.ndarray, ' N']:
  """Of boxes, as shares of the picture."""
  return np.prod(boxes[:, 2:] - boxes[:, :2], -1)

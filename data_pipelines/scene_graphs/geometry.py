"""The geometric relation of two objects, in NumPy.

The rule, for a subject s and an object o (origin at the top left, so y grows downwards): if the box
of s strictly contains that of o, s is "surrounding" o; if it lies strictly inside, "inside";
otherwise the direction from the centre of o to the centre of s decides among "right of" (from -45
degrees, excluding 45), "below" (from 45, excluding 135), "left of" (from 135 to -135, both
included) and "above" (the rest). A centre is the mean position of the mask's pixels.

`pipeline/relation_ops.py` computes the same with TensorFlow.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Shaped


def mask_centres(
  boxes: Float32[np.ndarray, '*N 4'], masks: Shaped[np.ndarray, '*N M M']
) -> Float32[np.ndarray, '*N 2']:
  """Mean position of the mask's pixels in the image; the middle of the box where a mask is empty.

  Args:
    boxes: float32[..., 4] x0, y0, x1, y1.
    masks: [..., M, M], 0 or 1; its first and last pixels lie on the edges of the box.

  Returns:
    float32[..., 2] x, y.
  """
  weights = np.asarray(masks, np.float32)
  position = np.arange(weights.shape[-1], dtype=np.float32)
  extent = weights.sum((-2, -1))[..., None] * max(weights.shape[-1] - 1, 1)
  # Sums of whole numbers are exact in any order, so TensorFlow arrives at the same centres.
  moments = np.stack([weights.sum(-2) @ position, weights.sum(-1) @ position], -1)
  share = np.where(extent > 0, moments / np.maximum(extent, 1), np.float32(0.5))
  return boxes[..., :2] + share * (boxes[..., 2:] - boxes[..., :2])


def geometric_predicate(
  subject_box: Float32[np.ndarray, '*N 4'],
  object_box: Float32[np.ndarray, '*N 4'],
  subject_centre: Float32[np.ndarray, '*N 2'],
  object_centre: Float32[np.ndarray, '*N 2'],
) -> Int[np.ndarray, '*N']:
  """The geometric relation of subject to object.

  Args:
    subject_box, object_box: float32[..., 4] x0, y0, x1, y1.
    subject_centre, object_centre: float32[..., 2] x, y, see `mask_centres`.

  Returns:
    int64[...]: the index into `vocabulary.GEOMETRIC_PREDICATES`.
  """
  dx, dy = np.moveaxis(subject_centre - object_centre, -1, 0)
  # Comparisons instead of an angle: exact on the diagonals. At a zero distance the published code
  # says "right of".
  left = (dx < 0) & (np.abs(dy) <= -dx)
  above = (dy < 0) & (np.abs(dx) < -dy)
  right = (dx >= 0) & (-dx <= dy) & ((dy < dx) | (dy == 0))
  direction = np.select([left, above, right], [0, 2, 1], 3)
  is_outer = contains(subject_box, object_box, np.all)
  is_inner = contains(object_box, subject_box, np.all)
  return np.select([is_outer, is_inner], [5, 4], direction)


def contains(outer: Any, inner: Any, all_along: Callable[[Any, int], Any]) -> Any:
  """bool[...]: whether boxes [..., 4] `outer` strictly contain `inner`.

  Arrays with `np.all`, or tensors with `tf.reduce_all`.
  """
  return all_along(outer[..., :2] < inner[..., :2], -1) & all_along(
    outer[..., 2:] > inner[..., 2:], -1
  )

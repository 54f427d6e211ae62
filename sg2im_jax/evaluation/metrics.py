"""How good predicted boxes are, and means over everything that was counted in several batches."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from sg2im_jax.scene_batch import Array

# The validation metrics that config.best_metric can name, and whether more is better; see
# validation.py.
HIGHER_IS_BETTER = {
  'box_iou': True,
  'recall_at_0.3': True,
  'recall_at_0.5': True,
  'relation_accuracy': True,
  'kid': False,
  'l1_pixel': False,
  'bbox': False,
  'mask': False,
  'predicate': False,
}


def box_iou(boxes: Array, other: Array) -> jax.Array:
  """Intersection over union of each box with its counterpart.

  Args:
    boxes: float32[..., 4] x0, y0, x1, y1; a box whose corners are swapped has no area.
    other: float32[..., 4].

  Returns:
    float32[...] in [0, 1]; 0 where both boxes have no area.
  """
  sides = jnp.minimum(boxes[..., 2:], other[..., 2:]) - jnp.maximum(boxes[..., :2], other[..., :2])
  intersection = jnp.prod(jnp.maximum(sides, 0.0), axis=-1)
  union = _area(boxes) + _area(other) - intersection
  return jnp.where(union > 0, intersection / jnp.where(union > 0, union, 1.0), 0.0)


def means(batches: Iterable[Mapping[str, tuple[Array, Array]]]) -> dict[str, float]:
  """The mean of each metric over all batches, each of which maps names to (sum, count); nan where
  nothing counted.
  """
  totals = {}
  for sums in batches:
    for name, (value, count) in jax.device_get(dict(sums)).items():
      total, total_count = totals.get(name, (0.0, 0.0))
      totals[name] = (total + float(value), total_count + float(count))
  return {name: total / count if count else float('nan') for name, (total, count) in totals.items()}


def _area(boxes: Array) -> jax.Array:
  return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)

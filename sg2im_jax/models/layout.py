"""Bilinear warping between boxes and the canvas, as matrix products.

Warping into (or out of) an axis-aligned box is separable. Along one axis, bilinear sampling at texel position p gives
texel m the weight max(0, 1 - |p - m|), and zero padding is what that formula does outside. So no gathers: every
operator is a pair of small matrices, and gradients reach boxes, masks and vectors alike.

Positions follow align_corners=True, the only behaviour of the PyTorch that trained the published checkpoints: a row of
n samples has its centres at linspace(0, 1, n), the first and last on the very edges.
"""

import jax
import jax.numpy as jnp


def triangular_weights(positions: jax.Array, texels: int) -> jax.Array:
  """float32[...] positions, in texels -> float32[..., texels] bilinear weights."""
  return jnp.maximum(0, 1 - jnp.abs(positions[..., None] - jnp.arange(texels)))


def _canvas_weights(start: jax.Array, end: jax.Array, pixels: int, texels: int) -> jax.Array:
  """Weights that stretch `texels` over [start, end] of a canvas row: float32[B, O] twice -> [B, O, pixels, texels]."""
  extent = end - start
  extent = jnp.where(extent == 0, jnp.finfo(extent.dtype).tiny ** 0.5, extent)  # no width: finite, one column at most
  centres = jnp.linspace(0, 1, pixels)
  return triangular_weights((centres - start[..., None]) / extent[..., None] * (texels - 1), texels)


def object_canvases(boxes: jax.Array, masks: jax.Array, image_size: tuple[int, int]) -> jax.Array:
  """Each object's mask warped into its box.

  Args:
    boxes: float32[B, O, 4] x0, y0, x1, y1, the canvas being [0, 1].
    masks: float32[B, O, M, M].
    image_size: H, W.

  Returns:
    float32[B, O, H, W].
  """
  height, width = image_size
  rows = _canvas_weights(boxes[..., 1], boxes[..., 3], height, masks.shape[-2])
  columns = _canvas_weights(boxes[..., 0], boxes[..., 2], width, masks.shape[-1])
  return jnp.einsum('bohm,bomn,bown->bohw', rows, masks, columns)


def scene_layout(object_vectors: jax.Array, boxes: jax.Array, masks: jax.Array, object_mask: jax.Array,
                 image_size: tuple[int, int]) -> jax.Array:
  """Sum of every real object's vector, spread over its warped mask (paper section 3, "scene layout").

  Args:
    object_vectors: float32[B, O, D].
    boxes, masks, image_size: as for `object_canvases`.
    object_mask: bool[B, O].

  Returns:
    float32[B, H, W, D].
  """
  canvases = object_canvases(boxes, masks, image_size) * object_mask[..., None, None]
  return jnp.einsum('bohw,bod->bhwd', canvases, object_vectors)

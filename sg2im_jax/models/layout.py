"""Bilinear warping between boxes and the canvas, as matrix products.

Warping into (or out of) an axis-aligned box is separable. Along one axis, bilinear sampling at
texel position p gives texel m the weight max(0, 1 - |p - m|), and zero padding is what that formula
does outside. So no gathers: every operator is a pair of small matrices, and gradients reach boxes,
masks and vectors alike.

With `align_corners`, the only behaviour of the PyTorch that trained the published checkpoints, the
first and the last texel have their centres on the very edges. Without, which newer versions of
PyTorch make of the same code, a texel's centre lies in the middle of its n-th part. Canvas pixels
and crop samples are at linspace(0, 1, n) either way.

Coordinates go through [-1, 1], as PyTorch's grid_sample has them: the same rounding keeps the
operators within a few 1e-7 of the published ones, where the shortest way would be off by 1e-5 at 64
pixels.
"""

import jax
import jax.numpy as jnp
import numpy as np


def triangular_weights(positions: jax.Array, texels: int) -> jax.Array:
  """float32[...] positions, in texels -> float32[..., texels] bilinear weights."""
  return jnp.maximum(0, 1 - jnp.abs(positions[..., None] - jnp.arange(texels)))


def texel_positions(coordinates: jax.Array, texels: int, align_corners: bool) -> jax.Array:
  """float32[...] coordinates, [-1, 1] being a row of texels from edge to edge -> float32[...]
  positions, in texels.
  """
  return (
    (coordinates + 1) * ((texels - 1) / 2)
    if align_corners
    else (coordinates + 1) * (texels / 2) - 0.5
  )


def unit_steps(count: int) -> np.ndarray:
  """float32[count] from 0 to 1, counted up from 0 and down from 1 as torch.linspace does."""
  steps = np.arange(count) * float(np.float32(1 / max(count - 1, 1)))
  return np.where(np.arange(count) < max(count // 2, 1), steps, 1 - steps[::-1]).astype(np.float32)


def _canvas_weights(
  start: jax.Array, end: jax.Array, pixels: int, texels: int, align_corners: bool
) -> jax.Array:
  """Weights that stretch `texels` over [start, end] of a canvas row: float32[B, O] twice -> [B, O,
  pixels, texels].
  """
  extent = end - start
  extent = jnp.where(
    extent == 0, jnp.finfo(extent.dtype).tiny ** 0.5, extent
  )  # no width: finite, one column at most
  coordinates = (unit_steps(pixels) - start[..., None]) / extent[..., None] * 2 - 1
  return triangular_weights(texel_positions(coordinates, texels, align_corners), texels)


def object_canvases(
  boxes: jax.Array, masks: jax.Array, image_size: tuple[int, int], *, align_corners: bool
) -> jax.Array:
  """Each object's mask warped into its box.

  Args:
    boxes: float32[B, O, 4] x0, y0, x1, y1, the canvas being [0, 1].
    masks: float32[B, O, M, M].
    image_size: H, W.
    align_corners: whether the outer texels of a mask are centred on the edges of its box.

  Returns:
    float32[B, H, W, O].
  """
  height, width = image_size
  rows = _canvas_weights(boxes[..., 1], boxes[..., 3], height, masks.shape[-2], align_corners)
  columns = _canvas_weights(boxes[..., 0], boxes[..., 2], width, masks.shape[-1], align_corners)
  return jnp.einsum('bohm,bomn,bown->bhwo', rows, masks, columns)

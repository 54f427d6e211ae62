"""Cuts objects out of images: the inverse of layout.py's warp, with the same weights."""

import jax
import jax.numpy as jnp

from sg2im_jax.models.layout import texel_positions, triangular_weights, unit_steps


def crop_objects(
  image: jax.Array, boxes: jax.Array, crop_size: int, *, align_corners: bool
) -> jax.Array:
  """Bilinear crops of each box, zero outside the image (paper section 3, "object discriminator").

  Args:
    image: float32[B, H, W, C].
    boxes: float32[B, O, 4] x0, y0, x1, y1, the image being [0, 1].
    crop_size: S, side of the crops in pixels.
    align_corners: whether the outer pixels of the image are centred on its edges.

  Returns:
    float32[B, O, S, S, C].
  """
  height, width = image.shape[1:3]
  rows = _sample_weights(boxes[..., 1], boxes[..., 3], crop_size, height, align_corners)
  columns = _sample_weights(boxes[..., 0], boxes[..., 2], crop_size, width, align_corners)
  return jnp.einsum('bosh,bhwc,botw->bostc', rows, image, columns)


def _sample_weights(
  start: jax.Array, end: jax.Array, samples: int, pixels: int, align_corners: bool
) -> jax.Array:
  """float32[B, O] twice -> float32[B, O, samples, pixels]."""
  steps = unit_steps(samples)
  coordinates = (start * 2 - 1)[..., None] * steps[::-1] + (end * 2 - 1)[..., None] * steps
  return triangular_weights(texel_positions(coordinates, pixels, align_corners), pixels)

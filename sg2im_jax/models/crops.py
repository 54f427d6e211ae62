"""Cuts objects out of images: the inverse of layout.py's warp, with the same weights."""

import jax
import jax.numpy as jnp

from sg2im_jax.models.layout import triangular_weights


def crop_objects(image: jax.Array, boxes: jax.Array, crop_size: int) -> jax.Array:
  """Bilinear crops of each box, zero outside the image (paper section 3, "object discriminator").

  Args:
    image: float32[B, H, W, C].
    boxes: float32[B, O, 4] x0, y0, x1, y1, the image being [0, 1].
    crop_size: S, side of the crops in pixels.

  Returns:
    float32[B, O, S, S, C].
  """
  height, width = image.shape[1:3]
  rows = _sample_weights(boxes[..., 1], boxes[..., 3], crop_size, height)
  columns = _sample_weights(boxes[..., 0], boxes[..., 2], crop_size, width)
  return jnp.einsum('bosh,bhwc,botw->bostc', rows, image, columns)


def _sample_weights(start: jax.Array, end: jax.Array, samples: int, pixels: int) -> jax.Array:
  """float32[B, O] twice -> float32[B, O, samples, pixels]."""
  steps = jnp.linspace(0, 1, samples)
  positions = start[..., None] * (1 - steps) + end[..., None] * steps
  return triangular_weights(positions * (pixels - 1), pixels)

"""Object tokens: what a graph leaves open about each object, as numbers that can be sampled.

The token of an object is its box (4 numbers) and its latent (L numbers): pose, colours, kind. The
token of `__image__` has the box of the whole image, and a latent of light and season. Tokens are
scaled to about N(0, 1) in every number, which is where the prior starts from (`token_prior.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from sg2im_jax.scene_batch import Array

BOX_DIM = 4  # numbers of a token that say its box
SMALLEST_SIDE = 0.02  # of a box, as a share of the image's
_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
# Centres lie around the middle of the image, a quarter of it away; sides around exp(-1.2) of it, a
# factor of e away.
_CENTRE, _CENTRE_SCALE, _LOG_SIDE = 0.5, 0.25, -1.2


def boxes_to_tokens(boxes: Float[Array, '*N 4']) -> Float[jax.Array, '*N 4']:
  """Centre x, y and the logarithms of width and height, scaled.

  Args:
    boxes: x0, y0, x1, y1 with the image at [0, 1]; sides below SMALLEST_SIDE count as that.
  """
  low, high = jnp.split(boxes, 2, -1)
  sides = jnp.log(jnp.maximum(high - low, SMALLEST_SIDE)) - _LOG_SIDE
  return jnp.concatenate([((low + high) / 2 - _CENTRE) / _CENTRE_SCALE, sides], -1)


def tokens_to_boxes(tokens: Float[Array, '*N 4']) -> Float[jax.Array, '*N 4']:
  """The inverse of `boxes_to_tokens`, for any numbers: finite boxes, not clipped to the image."""
  centres, sides = jnp.split(tokens, 2, -1)
  centres = centres * _CENTRE_SCALE + _CENTRE
  halves = jnp.exp(jnp.clip(sides + _LOG_SIDE, -6, 2)) / 2
  return jnp.concatenate([centres - halves, centres + halves], -1)


def within_frame(boxes: Float[Array, '*N 4'], margin: float) -> Float[jax.Array, '*N 4']:
  """Boxes clipped to the image; an edge that ends less than `margin` short of the frame reaches it.

  Grounds and skies of the data end at the frame, and a sampled number does so only nearly.
  """
  boxes = jnp.clip(boxes, 0, 1)
  return jnp.where(boxes < margin, 0, jnp.where(boxes > 1 - margin, 1, boxes))


def with_image_box(boxes: Float[Array, 'B O 4']) -> Float[jax.Array, 'B O 4']:
  """The boxes with that of `__image__`, in slot 0, over the whole image."""
  return jnp.asarray(boxes).at[:, 0].set(jnp.array(_WHOLE_IMAGE))

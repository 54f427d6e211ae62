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
CENTRE_DIM = 2  # the first of them, which say its centre
SMALLEST_SIDE = 0.02  # of a box, as a share of the image's
OVERHANG = 0.15  # of edges at the frame, likewise
_AT_FRAME = 0.008  # half a pixel of 64
_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
# Centres lie around the middle of the image, a quarter of it away; sides around exp(-1.2) of it, a
# factor of e away.
_CENTRE, _CENTRE_SCALE, _LOG_SIDE = 0.5, 0.25, -1.2


def boxes_to_tokens(boxes: Float[Array, '*N 4']) -> Float[jax.Array, '*N 4']:
  """Centre x, y and the logarithms of width and height, scaled.

  Many boxes end exactly at the frame: grounds, skies, whatever is cut off. A number that is sampled
  hits no such value, and a ground that ends a little short of the frame leaves a seam. So tokens
  have these edges OVERHANG beyond the frame, and whatever is beyond it is clipped back (a censored
  variable, as in Tobit models).

  Args:
    boxes: x0, y0, x1, y1 with the image at [0, 1]; sides below SMALLEST_SIDE count as that.
  """
  boxes = jnp.asarray(boxes)
  boxes = jnp.where(boxes < _AT_FRAME, -OVERHANG, boxes)
  boxes = jnp.where(boxes > 1 - _AT_FRAME, 1 + OVERHANG, boxes)
  low, high = jnp.split(boxes, 2, -1)
  sides = jnp.log(jnp.maximum(high - low, SMALLEST_SIDE)) - _LOG_SIDE
  return jnp.concatenate([((low + high) / 2 - _CENTRE) / _CENTRE_SCALE, sides], -1)


def tokens_to_boxes(tokens: Float[Array, '*N 4']) -> Float[jax.Array, '*N 4']:
  """The inverse of `boxes_to_tokens`, for any numbers: boxes in the image, with sides of at least
  SMALLEST_SIDE."""
  centres, sides = jnp.split(tokens, 2, -1)
  centres = centres * _CENTRE_SCALE + _CENTRE
  halves = jnp.exp(jnp.clip(sides + _LOG_SIDE, -6, 2)) / 2
  low = jnp.clip(centres - halves, 0, 1 - SMALLEST_SIDE)
  return jnp.concatenate([low, jnp.clip(centres + halves, low + SMALLEST_SIDE, 1)], -1)


def with_image_box(boxes: Float[Array, 'B O 4']) -> Float[jax.Array, 'B O 4']:
  """The boxes with that of `__image__`, in slot 0, over the whole image."""
  return jnp.asarray(boxes).at[:, 0].set(jnp.array(_WHOLE_IMAGE))

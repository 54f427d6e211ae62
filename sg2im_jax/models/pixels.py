"""Between stored pixels (0..255) and the ImageNet-normalised numbers that the networks see."""

import jax
import jax.numpy as jnp

from sg2im_jax.scene_batch import Array

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize(image: Array) -> jax.Array:
  """Returns float32[..., H, W, 3], ImageNet-normalised.

  Args:
    image: uint8 or float[..., H, W, 3] RGB in [0, 255].
  """
  return (jnp.asarray(image) / 255 - jnp.array(MEAN)) / jnp.array(STD)


def denormalize(image: Array, stretch: bool = False) -> jax.Array:
  """Returns uint8[..., H, W, 3] RGB: rounded, and clipped to [0, 255].

  Args:
    image: float32[..., H, W, 3] ImageNet-normalised.
    stretch: do what published sampling does instead: spread each image over its own darkest to
      brightest value, and cut fractions off. Contrast and every score that is computed from the
      pixels change.
  """
  image = jnp.asarray(image, jnp.float32) * jnp.array(STD) + jnp.array(MEAN)
  if stretch:
    low = image.min(axis=(-3, -2, -1), keepdims=True)
    high = image.max(axis=(-3, -2, -1), keepdims=True)
    image = jnp.floor((image - low) / jnp.maximum(high - low, 1e-12) * 255)
  else:
    image = jnp.round(image * 255)
  return jnp.clip(image, 0, 255).astype(jnp.uint8)

"""Conversion between stored pixels (0..255) and the ImageNet-normalised values of the networks."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Real, UInt8

from sg2im_jax.scene_batch import Array

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize(image: Real[Array, '*B H W 3']) -> Float[jax.Array, '*B H W 3']:
  """ImageNet-normalised float32 images of RGB images (uint8 or float) in [0, 255]."""
  return (jnp.asarray(image) / 255 - jnp.array(MEAN)) / jnp.array(STD)


def denormalize(
  image: Float[Array, '*B H W 3'], stretch: bool = False
) -> UInt8[jax.Array, '*B H W 3']:
  """RGB images of ImageNet-normalised ones: rounded and clipped to [0, 255].

  Args:
    image: ImageNet-normalised.
    stretch: convert as the published sampling does instead: map each image's own minimum and
      maximum to 0 and 255, and truncate. This changes the contrast, and every metric of the pixels.
  """
  image = jnp.asarray(image, jnp.float32) * jnp.array(STD) + jnp.array(MEAN)
  if stretch:
    low = image.min(axis=(-3, -2, -1), keepdims=True)
    high = image.max(axis=(-3, -2, -1), keepdims=True)
    image = jnp.floor((image - low) / jnp.maximum(high - low, 1e-12) * 255)
  else:
    image = jnp.round(image * 255)
  return jnp.clip(image, 0, 255).astype(jnp.uint8)

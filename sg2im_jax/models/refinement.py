"""The cascaded refinement network: from a scene layout to an image, from coarse to fine (paper section 3)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sg2im_jax.models import layers


class RefinementModule(nn.Module):
  """Twice [3x3 conv, normalisation, activation] over the layout and the upsampled features.

  Attributes:
    features: output channels.
    norm: constructor of a normalisation, or None.
    activation: the non-linearity.
  """
  features: int
  norm: Callable[..., Callable] | None
  activation: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, layout: jax.Array, x: jax.Array) -> jax.Array:
    """layout: float32[B, h, w, D], x: float32[B, h, w, C] -> float32[B, h, w, features]."""
    x = jnp.concatenate([layout, x], -1)
    for i in range(2):
      x = layers.conv(x, self.features, 3, name=f'conv_{i}', kernel_init=layers.kaiming_normal)
      if self.norm is not None:
        x = self.norm(name=f'norm_{i}')(x)
      x = self.activation(x)
    return x


class RefinementNetwork(nn.Module):
  """Refinement modules, each at twice the resolution of the one before, and two last convolutions to RGB.

  Attributes:
    dims: output channels of each module; the cascade starts from one channel of zeros.
    norm, activation: as for RefinementModule.
  """
  dims: Sequence[int]
  norm: Callable[..., Callable] | None
  activation: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, layout: jax.Array) -> jax.Array:
    """layout: float32[B, H, W, D], H and W divisible by 2^len(dims) -> image float32[B, H, W, 3]."""
    batch, height, width, _ = layout.shape
    x = jnp.zeros((batch, height >> len(self.dims), width >> len(self.dims), 1))
    for i, features in enumerate(self.dims):
      x = layers.upsample(x)
      pooled = layers.average_pool(layout, height // x.shape[1])
      x = RefinementModule(features, self.norm, self.activation, name=f'module_{i}')(pooled, x)
    x = layers.conv(x, self.dims[-1], 3, name='output_conv', kernel_init=layers.kaiming_normal)
    return layers.conv(self.activation(x), 3, 1, name='rgb', kernel_init=layers.kaiming_normal)

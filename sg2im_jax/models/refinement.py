"""The cascaded refinement network: from a scene layout to an image, from coarse to fine (paper
section 3).

The layout is the sum of every object's vector spread over its canvas, with channels of noise behind
it. It is never built: a module gets what it is made of, and `convolutions.py` says why that is
enough.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import convolve, convolve_layout, convolve_upsampled


@flax.struct.dataclass
class Layout:
  """The layout [sum_o canvas_o vector_o, noise], in its parts.

  Attributes:
    canvases: float[B, h, w, O], each object's mask in its box (see `layout.object_canvases`); zeros
    in padded slots.
    object_vectors: float[B, O, D].
    noise: float[B, h, w, N].
  """

  canvases: jax.Array
  object_vectors: jax.Array
  noise: jax.Array

  def halved(self) -> 'Layout':
    """The layout at half the resolution: pooling is linear, so that of its parts."""
    canvases, noise = (
      nn.avg_pool(part, (2, 2), strides=(2, 2)) for part in (self.canvases, self.noise)
    )
    return self.replace(canvases=canvases, noise=noise)


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
  def __call__(self, layout: Layout, x: jax.Array | None) -> jax.Array:
    """The layout at h x w, x: float[B, h/2, w/2, C] or None for one channel of zeros -> float[B, h,
    w, features].
    """
    num_layout, num_noise = layout.object_vectors.shape[-1], layout.noise.shape[-1]
    in_features = num_layout + num_noise + (1 if x is None else x.shape[-1])

    def convolve_parts(kernel: jax.Array) -> jax.Array:
      kernel = kernel.astype(layout.noise.dtype)
      of_layout, of_noise, of_x = jnp.split(kernel, (num_layout, num_layout + num_noise), 2)
      y = convolve_layout(layout.canvases, layout.object_vectors, of_layout)
      if num_noise:
        y += convolve(layout.noise, of_noise, [(1, 1)] * 2)
      return y if x is None else y + convolve_upsampled(x, of_x)

    y = layers.Convolution(in_features, self.features, 3, layers.kaiming_normal, name='conv_0')(
      convolve_parts
    )
    y = self._normalised(y, 'norm_0')
    y = layers.conv(
      y, self.features, 3, padding=1, name='conv_1', kernel_init=layers.kaiming_normal
    )
    return self._normalised(y, 'norm_1')

  def _normalised(self, x: jax.Array, name: str) -> jax.Array:
    return self.activation(x if self.norm is None else self.norm(name=name)(x))


class RefinementNetwork(nn.Module):
  """Refinement modules, each at twice the resolution of the one before, and two last convolutions
  to RGB.

  Attributes:
    dims: output channels of each module; the cascade starts from one channel of zeros.
    norm, activation: as for RefinementModule.
    rematerialize: compute the insides of modules again for the gradient instead of keeping them.
  """

  dims: Sequence[int]
  norm: Callable[..., Callable] | None
  activation: Callable[[jax.Array], jax.Array]
  rematerialize: bool = False

  @nn.compact
  def __call__(self, layout: Layout) -> jax.Array:
    """The layout at H x W, divisible by 2^len(dims) -> image float[B, H, W, 3]."""
    layouts = [layout]  # from fine to coarse
    for _ in self.dims[1:]:
      layouts.append(layouts[-1].halved())
    module = nn.remat(RefinementModule) if self.rematerialize else RefinementModule
    x = None
    for i, (features, layout) in enumerate(zip(self.dims, reversed(layouts), strict=True)):
      x = module(features, self.norm, self.activation, name=f'module_{i}')(layout, x)
    x = layers.conv(
      x, self.dims[-1], 3, padding=1, name='output_conv', kernel_init=layers.kaiming_normal
    )
    return layers.conv(self.activation(x), 3, 1, name='rgb', kernel_init=layers.kaiming_normal)

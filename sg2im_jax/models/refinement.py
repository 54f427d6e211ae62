"""The cascaded refinement network: scene layout -> image, from coarse to fine (paper section 3).

The scene layout is the sum of every object's vector spread over its canvas, followed by channels of
noise. It is never built: the network gets its factors, and `convolutions.convolve_layout` computes
the only thing that is done to it.
"""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float

from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import convolve, convolve_layout, convolve_upsampled
from sg2im_jax.models.layers import Activation
from sg2im_jax.models.normalization import Norm


class SceneLayout(flax.struct.PyTreeNode, kw_only=True):
  """The scene layout [sum_o canvas_o vector_o, noise] of the paper, factored.

  Attributes:
    canvases: each object's mask warped into its box (see `warping.object_canvases`); zeros in
      padded slots.
    object_vectors: what each canvas is multiplied with.
    channels: those that follow the objects': noise, and what a painter composites.
  """

  canvases: Float[jax.Array, 'B h w O']
  object_vectors: Float[jax.Array, 'B O D']
  channels: Float[jax.Array, 'B h w Z']

  def halved(self) -> 'SceneLayout':
    """The layout at half the resolution. Pooling is linear, so it is done to the factors."""
    canvases, channels = (
      nn.avg_pool(part, window_shape=(2, 2), strides=(2, 2))
      for part in (self.canvases, self.channels)
    )
    return self.replace(canvases=canvases, channels=channels)


class LayoutConvolution(layers.ConvolutionParameters, kw_only=True):
  """A 3x3 convolution with padding 1 over [scene layout, upsampled features].

  Its kernel is one array over the object vectors, the layout's further channels and the features.
  """

  @nn.compact
  def __call__(
    self, layout: SceneLayout, x: Float[jax.Array, 'B h//2 w//2 C'] | None
  ) -> Float[jax.Array, 'B h w {self.features}']:
    """`x` are the features at half the resolution of the layout; None is one channel of zeros."""
    num_vector, num_channels = layout.object_vectors.shape[-1], layout.channels.shape[-1]
    num_x = 1 if x is None else x.shape[-1]
    kernel, bias = self.kernel_and_bias(width=3, channels=num_vector + num_channels + num_x)
    of_vectors, of_channels, of_x = jnp.split(
      kernel.astype(layout.channels.dtype), (num_vector, num_vector + num_channels), axis=2
    )

    y = convolve_layout(layout.canvases, layout.object_vectors, of_vectors)
    if num_channels:
      y += convolve(layout.channels, of_channels, [(1, 1)] * 2)
    if x is not None:
      y += convolve_upsampled(x, of_x)
    return layers.add_bias(y, bias)


class RefinementModule(nn.Module, kw_only=True):
  """Twice [3x3 convolution, normalisation, activation] over the layout and upsampled features.

  Attributes:
    features: output channels.
    norm: constructor of a normalisation, or None.
    activation: the non-linearity.
  """

  features: int
  norm: Norm | None
  activation: Activation

  @nn.compact
  def __call__(
    self, layout: SceneLayout, x: Float[jax.Array, 'B h//2 w//2 C'] | None
  ) -> Float[jax.Array, 'B h w {self.features}']:
    """`x` is the output of the module before; None for the first, one channel of zeros."""
    y = LayoutConvolution(features=self.features, kernel_init=layers.kaiming_normal, name='conv_0')(
      layout, x
    )
    y = self._normalise_and_activate(y, 'norm_0')
    y = layers.Convolution(
      features=self.features,
      width=3,
      padding=1,
      kernel_init=layers.kaiming_normal,
      name='conv_1',
    )(y)
    return self._normalise_and_activate(y, 'norm_1')

  def _normalise_and_activate(self, x: jax.Array, name: str) -> jax.Array:
    return self.activation(x if self.norm is None else self.norm(name=name)(x))


class RefinementNetwork(nn.Module, kw_only=True):
  """Refinement modules, each at twice the resolution of the last, then two convolutions to RGB.

  Attributes:
    dims: output channels of each module, at least one.
    norm: constructor of a normalisation, or None.
    activation: the non-linearity.
    rematerialize: recompute the intermediate values of modules for the gradient instead of keeping
      them.
  """

  dims: Sequence[int]
  norm: Norm | None
  activation: Activation
  rematerialize: bool = False

  @nn.compact
  def __call__(self, layout: SceneLayout) -> Float[jax.Array, 'B h w 3']:
    """The image of a layout whose height and width are multiples of 2^len(dims)."""
    layouts = [layout]  # from fine to coarse
    for _ in self.dims[1:]:
      layouts.append(layouts[-1].halved())

    module = nn.remat(RefinementModule) if self.rematerialize else RefinementModule
    x = None
    for i, (features, layout) in enumerate(zip(self.dims, reversed(layouts), strict=True)):
      x = module(features=features, norm=self.norm, activation=self.activation, name=f'module_{i}')(
        layout, x
      )
    assert x is not None, 'dims is empty'

    x = layers.Convolution(
      features=self.dims[-1],
      width=3,
      padding=1,
      kernel_init=layers.kaiming_normal,
      name='output_conv',
    )(x)
    return layers.Convolution(features=3, width=1, kernel_init=layers.kaiming_normal, name='rgb')(
      self.activation(x)
    )

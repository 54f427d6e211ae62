"""The small layers that every network here is built from, with the published initialisation.

Parameters and statistics are float32; a layer computes in the dtype of its input, float32 or
bfloat16 (Float in the annotations).

The helper `dense` is called inside a compact `__call__`; it needs the input to know the range of
PyTorch's default initial bias, uniform in +-1/sqrt(fan_in).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from sg2im_jax.models.arch import leaky_slope
from sg2im_jax.models.convolutions import convolve_strided, convolve_upsampled
from sg2im_jax.models.normalization import Norm, spread
from sg2im_jax.scene_batch import Array

Activation = Callable[[jax.Array], jax.Array]
Initializer = Callable[..., Any]

kaiming_normal = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
# uniform in +-1/sqrt(fan_in)
torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def torch_bias(fan_in: int, centre: float = 0.0) -> Initializer:
  """PyTorch's default initialiser of biases, uniform in centre +- 1/sqrt(fan_in)."""
  bound = 1 / math.sqrt(fan_in)
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, centre - bound, centre + bound
  )


def dense(
  x: Float[jax.Array, '*shape C'],
  features: int,
  *,
  name: str,
  kernel_init: Initializer = torch_uniform,
  bias_centre: float = 0.0,
) -> Float[jax.Array, '*shape {features}']:
  """A linear layer; its initial biases lie around `bias_centre`."""
  return nn.Dense(
    features,
    kernel_init=kernel_init,
    bias_init=torch_bias(x.shape[-1], bias_centre),
    dtype=x.dtype,
    name=name,
  )(x)


@jax.custom_vjp
def look_up(
  table: Float[jax.Array, 'V D'], ids: Int[Array, '*shape']
) -> Float[jax.Array, '*shape D']:
  """Rows of a table. The gradient is a product with a matrix of zeros and ones: the same at every
  run, which scatters of accelerators, that add in any order, are not."""
  return table[ids]


def _look_up_forward(table: jax.Array, ids: Array) -> tuple[jax.Array, tuple[Array, jax.Array]]:
  return table[ids], (ids, table[:, :0])


def _look_up_backward(kept: tuple[Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, None]:
  ids, rows = kept
  chosen = jax.nn.one_hot(jnp.ravel(ids), len(rows), dtype=gradient.dtype)
  flat = gradient.reshape(len(chosen), -1)
  summed = jnp.einsum('nv,nd->vd', chosen, flat, preferred_element_type=rows.dtype)
  return summed, None


look_up.defvjp(_look_up_forward, _look_up_backward)


class Embedding(nn.Embed):
  """A table of learned vectors, by `look_up`."""

  def __call__(self, ids: Int[Array, '*shape']) -> Float[jax.Array, '*shape {self.features}']:
    return look_up(self.embedding, ids).astype(self.dtype or self.param_dtype)


class ConvolutionParameters(nn.Module, kw_only=True):
  """What every convolution has: a square kernel and a bias, both float32.

  Attributes:
    features: channels of the output.
    kernel_init: initialiser of the kernel.
  """

  features: int
  kernel_init: Initializer = torch_uniform

  def kernel_and_bias(
    self, *, width: int, channels: int
  ) -> tuple[
    Float[jax.Array, '{width} {width} {channels} {self.features}'],
    Float[jax.Array, ' {self.features}'],
  ]:
    """Declares the parameters, for inputs of this many channels."""
    shape = width, width, channels, self.features
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = self.param('bias', torch_bias(channels * width**2), (self.features,))
    return kernel, bias


def add_bias(
  y: Float[jax.Array, 'N H W F'], bias: Float[jax.Array, ' F']
) -> Float[jax.Array, 'N H W F']:
  """y + bias in the dtype of y."""
  return y + spread(bias, y.shape).astype(y.dtype)


class Convolution(ConvolutionParameters, kw_only=True):
  """A convolution with a width x width kernel.

  Attributes:
    width: side of the kernel.
    stride: in both directions.
    padding: zeros on each of the four sides.
  """

  width: int
  stride: int = 1
  padding: int = 0

  @nn.compact
  def __call__(self, x: Float[jax.Array, 'N H W C']) -> Float[jax.Array, 'N h w {self.features}']:
    kernel, bias = self.kernel_and_bias(width=self.width, channels=x.shape[-1])
    y = convolve_strided(x, kernel.astype(x.dtype), stride=self.stride, padding=self.padding)
    return add_bias(y, bias)


class UpsampledConvolution(ConvolutionParameters, kw_only=True):
  """Nearest-neighbour upsampling by 2, then a 3x3 convolution with padding 1."""

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, 'N H W C']
  ) -> Float[jax.Array, 'N 2*H 2*W {self.features}']:
    kernel, bias = self.kernel_and_bias(width=3, channels=x.shape[-1])
    return add_bias(convolve_upsampled(x, kernel.astype(x.dtype)), bias)


def activation(name: str) -> Activation:
  """The activation of a name that `arch.leaky_slope` knows."""
  return partial(nn.leaky_relu, negative_slope=leaky_slope(name))


def upsample(
  x: Float[jax.Array, 'N H W C'], factor: int = 2
) -> Float[jax.Array, 'N {factor}*H {factor}*W C']:
  """Nearest-neighbour upsampling."""
  return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def average_pool(
  x: Float[jax.Array, 'N H W C'], factor: int
) -> Float[jax.Array, 'N H//{factor} W//{factor} C']:
  """Mean over squares of factor x factor pixels; drops a remainder at the right and bottom."""
  batch, height, width, channels = x.shape
  x = x[:, : height // factor * factor, : width // factor * factor]
  # Not nn.avg_pool: XLA:CPU takes longer for the gradient of its windowed sum than for the
  # convolutions around it.
  return x.reshape(batch, height // factor, factor, width // factor, factor, channels).mean((2, 4))


class Mlp(nn.Module, kw_only=True):
  """Linear layers, each, the last one too, followed by (optional normalisation and) ReLU.

  Attributes:
    features: output features of each linear layer.
    norm: constructor of a masked normalisation, or None.
    kernel_init: initialiser of every weight.
    last_bias_centre: centre of the range of the last layer's initial biases.
  """

  features: Sequence[int]
  norm: Norm | None = None
  kernel_init: Initializer = torch_uniform
  last_bias_centre: float = 0.0

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, '*shape C'], mask: Bool[Array, '*shape']
  ) -> Float[jax.Array, '*shape {self.features[-1]}']:
    """`mask` is True where a row of x is real."""
    for i, features in enumerate(self.features):
      is_last = i + 1 == len(self.features)
      x = dense(
        x,
        features,
        name=f'dense_{i}',
        kernel_init=self.kernel_init,
        bias_centre=self.last_bias_centre if is_last else 0.0,
      )
      if self.norm is not None:
        x = self.norm(name=f'norm_{i}')(x, mask[..., None])
      x = nn.relu(x)
    return x

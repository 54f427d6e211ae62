"""The small layers that every network here is built from, with the published initialisation.

Parameters and statistics are float32; a layer computes in the dtype of its input, float32 or
bfloat16, written "float" in the shapes below.

The helpers `dense` and `conv` are called inside a compact `__call__`; they need the input to draw
PyTorch's default bias, uniform in +-1/sqrt(fan_in).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models.convolutions import convolve_strided
from sg2im_jax.models.normalization import spread

LEAKY_SLOPES = {'leakyrelu': 0.01, 'relu': 0.01}

kaiming_normal = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
torch_uniform = nn.initializers.variance_scaling(
  1 / 3, 'fan_in', 'uniform'
)  # U(-1/sqrt(fan_in), 1/sqrt(fan_in))


def torch_bias(fan_in: int, centre: float = 0.0) -> Callable:
  bound = 1 / math.sqrt(fan_in)
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, centre - bound, centre + bound
  )


def dense(
  x: jax.Array,
  features: int,
  *,
  name: str,
  kernel_init: Callable = torch_uniform,
  bias_centre: float = 0.0,
) -> jax.Array:
  """float[..., in] -> float[..., features]."""
  return nn.Dense(
    features,
    kernel_init=kernel_init,
    bias_init=torch_bias(x.shape[-1], bias_centre),
    dtype=x.dtype,
    name=name,
  )(x)


class Convolution(nn.Module):
  """The kernel and the bias of a convolution, for whichever way of `convolutions.py` to compute it.

  Attributes:
    in_features: channels of the input.
    features: channels of the output.
    width: side of the kernel.
    kernel_init: initialiser of the kernel.
  """

  in_features: int
  features: int
  width: int
  kernel_init: Callable = torch_uniform

  @nn.compact
  def __call__(self, convolve: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """convolve: from the kernel, float32[width, width, in_features, features], to float[N, H, W,
    features].
    """
    kernel = self.param(
      'kernel', self.kernel_init, (self.width, self.width, self.in_features, self.features)
    )
    bias = self.param('bias', torch_bias(self.in_features * self.width**2), (self.features,))
    y = convolve(kernel)
    return y + spread(bias, y.shape).astype(y.dtype)


def conv(
  x: jax.Array,
  features: int,
  width: int,
  *,
  name: str,
  stride: int = 1,
  padding: int = 0,
  kernel_init: Callable = torch_uniform,
) -> jax.Array:
  """float[N, H, W, in] -> float[N, H', W', features] with a width x width kernel and `padding`
  zeros on each side.
  """
  return Convolution(x.shape[-1], features, width, kernel_init, name=name)(
    lambda kernel: convolve_strided(x, kernel.astype(x.dtype), stride, padding)
  )


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """The activation that the published code builds for a name: LeakyReLU, whatever is asked for.

  `leakyrelu-0.2` has slope 0.2; a name without a number has slope 0.01, `relu` too (a quirk that
  reached the published checkpoints trained with it).
  """
  kind, _, slope = name.partition('-')
  if kind not in LEAKY_SLOPES:
    raise UserError(f'activation {name!r}: expected relu, leakyrelu or leakyrelu-SLOPE')
  return partial(nn.leaky_relu, negative_slope=float(slope) if slope else LEAKY_SLOPES[kind])


def upsample(x: jax.Array, factor: int = 2) -> jax.Array:
  """Nearest neighbour: float[N, H, W, C] -> float[N, factor H, factor W, C]."""
  return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def average_pool(x: jax.Array, factor: int) -> jax.Array:
  """Mean over squares of factor pixels a side; a remainder at the right and bottom is dropped.

  float[N, H, W, C] -> float[N, H // factor, W // factor, C].
  """
  batch, height, width, channels = x.shape
  x = x[:, : height // factor * factor, : width // factor * factor]
  # Not nn.avg_pool: XLA:CPU takes longer for the gradient of its windowed sum than for the
  # convolutions around it.
  return x.reshape(batch, height // factor, factor, width // factor, factor, channels).mean((2, 4))


class Mlp(nn.Module):
  """Linear layers, each followed by (optional BatchNorm and) ReLU, the last one too.

  Attributes:
    features: output features of each linear layer.
    norm: constructor of a masked normalisation, or None.
    kernel_init: initialiser of every weight.
    last_bias_centre: what the initial biases of the last layer are drawn around.
  """

  features: Sequence[int]
  norm: Callable[..., Callable] | None = None
  kernel_init: Callable = torch_uniform
  last_bias_centre: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    """x: float[..., in], mask: bool[...] -> float[..., features[-1]]."""
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

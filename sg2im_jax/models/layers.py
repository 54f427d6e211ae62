"""The small layers that every network here is built from, with the published initialisation.

The helpers `dense` and `conv` are called inside a compact `__call__`; they need the input to draw PyTorch's default
bias, uniform in +-1/sqrt(fan_in).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.scene_graph import UserError

LEAKY_SLOPES = {'leakyrelu': 0.01, 'relu': 0.01}

kaiming_normal = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')  # U(-1/sqrt(fan_in), 1/sqrt(fan_in))


def torch_bias(fan_in: int, centre: float = 0.0) -> Callable:
  bound = 1 / math.sqrt(fan_in)
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, centre - bound, centre + bound)


def dense(x: jax.Array, features: int, *, name: str, kernel_init: Callable = torch_uniform,
          bias_centre: float = 0.0) -> jax.Array:
  """float32[..., in] -> float32[..., features]."""
  return nn.Dense(features, kernel_init=kernel_init, bias_init=torch_bias(x.shape[-1], bias_centre), name=name)(x)


def conv(x: jax.Array, features: int, width: int, *, name: str, stride: int = 1, padding: str | int = 'SAME',
         kernel_init: Callable = torch_uniform) -> jax.Array:
  """float32[N, H, W, in] -> float32[N, H', W', features] with a width x width kernel."""
  return nn.Conv(features, (width, width), strides=stride, padding=padding, kernel_init=kernel_init,
                 bias_init=torch_bias(x.shape[-1] * width * width), name=name)(x)


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """The activation that the published code builds for a name: LeakyReLU, whatever is asked for.

  `leakyrelu-0.2` has slope 0.2; a name without a number has slope 0.01, `relu` too (a quirk that reached the published
  checkpoints trained with it).
  """
  kind, _, slope = name.partition('-')
  if kind not in LEAKY_SLOPES:
    raise UserError(f'activation {name!r}: expected relu, leakyrelu or leakyrelu-SLOPE')
  return partial(nn.leaky_relu, negative_slope=float(slope) if slope else LEAKY_SLOPES[kind])


def upsample(x: jax.Array, factor: int = 2) -> jax.Array:
  """Nearest neighbour: float32[N, H, W, C] -> float32[N, factor H, factor W, C]."""
  return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def average_pool(x: jax.Array, factor: int) -> jax.Array:
  """Mean over squares of factor pixels a side; a remainder at the right and bottom is dropped.

  float32[N, H, W, C] -> float32[N, H // factor, W // factor, C].
  """
  batch, height, width, channels = x.shape
  x = x[:, :height // factor * factor, :width // factor * factor]
  # Not nn.avg_pool: XLA:CPU takes longer for the gradient of its windowed sum than for the convolutions around it.
  return x.reshape(batch, height // factor, factor, width // factor, factor, channels).mean((2, 4))


class BatchNorm(nn.Module):
  """Batch normalisation whose statistics count real entries only, with PyTorch's running statistics.

  The mean and the biased variance are taken over every axis but the last, of the whole (global) batch; the running
  variance is moved towards the unbiased one, which flax.linen.BatchNorm does not do.

  Attributes:
    use_running_average: normalise by the running statistics and leave them as they are.
  """
  use_running_average: bool
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """x: float32[..., C]; mask: bool, broadcastable to x[..., :1], True where an entry is real."""
    features = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (features,))
    running_var = self.variable('batch_stats', 'var', jnp.ones, (features,))
    if self.use_running_average:
      mean, var = running_mean.value, running_var.value
    else:
      mean, var, count = _moments(x, mask)
      if not self.is_initializing():
        unbiased = var * count / jnp.maximum(count - 1, 1)
        running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
    return (x - mean) * (scale / jnp.sqrt(var + self.epsilon)) + bias  # XLA:CPU rounds rsqrt coarsely


def _moments(x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Mean, biased variance (both float32[C]) and the number of entries behind them."""
  axes = tuple(range(x.ndim - 1))
  if mask is None:
    return x.mean(axes), x.var(axes), jnp.float32(math.prod(x.shape[:-1]))
  mask = jnp.broadcast_to(mask, (*x.shape[:-1], 1))
  count = mask.sum().astype(x.dtype)
  divisor = jnp.maximum(count, 1)
  mean = jnp.where(mask, x, 0).sum(axes) / divisor
  var = jnp.where(mask, jnp.square(x - mean), 0).sum(axes) / divisor
  return mean, var, count


class InstanceNorm(nn.Module):
  """Zero mean and unit variance over the pixels of each image and channel; no parameters, no statistics."""
  epsilon: float = 1e-5

  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """x: float32[N, H, W, C]; mask is taken to fit BatchNorm's place and needed for nothing."""
    del mask
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(x.var((1, 2), keepdims=True) + self.epsilon)


def normalization(name: str, *, train: bool) -> Callable[..., Callable] | None:
  """The constructor `norm(name=...)` of batch | instance normalisation; None for `none`."""
  if name == 'batch':
    return partial(BatchNorm, use_running_average=not train)
  if name == 'instance':
    return InstanceNorm
  if name == 'none':
    return None
  raise UserError(f'normalization {name!r}: expected batch, instance or none')


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
    """x: float32[..., in], mask: bool[...] -> float32[..., features[-1]]."""
    for i, features in enumerate(self.features):
      is_last = i + 1 == len(self.features)
      x = dense(x, features, name=f'dense_{i}', kernel_init=self.kernel_init,
                bias_centre=self.last_bias_centre if is_last else 0.0)
      if self.norm is not None:
        x = self.norm(name=f'norm_{i}')(x, mask[..., None])
      x = nn.relu(x)
    return x

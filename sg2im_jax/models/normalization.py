"""Batch and instance normalisation, with what reduces over pixels spelled so that it is fast.

A network of convolutions spends as long on sums over pixels as on anything else where these are
badly compiled: the moments, and the gradients of everything that has one number a channel. All of
them are `channel_sums` here.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.scene_graphs.errors import UserError


def at_least_float32(x: jax.Array) -> jax.Array:
  """bfloat16 becomes float32; float64, in which `verification` computes, stays."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def channel_sums(x: jax.Array) -> jax.Array:
  """Sums over all axes but the last: float32[..., C] -> float32[C]."""

  def as_products(images: jax.Array) -> jax.Array:
    # XLA:CPU sums columns up to ten times slower; and products image by image round less than a
    # single one would.
    return jnp.einsum('bpc,bp->bc', images, jnp.ones(images.shape[:2], images.dtype)).sum(0)

  images = x.reshape(x.shape[0], -1, x.shape[-1])
  return jax.lax.platform_dependent(
    images, cpu=as_products, default=lambda images: images.sum((0, 1))
  )


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def spread(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """float32[C] -> float32[shape], C being its last; broadcasting, whose gradient is `channel_sums`."""
  return jnp.broadcast_to(values, shape)


spread.defvjp(
  lambda values, shape: (jnp.broadcast_to(values, shape), None),
  lambda shape, _, gradient: (channel_sums(gradient),),
)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalize(
  x: jax.Array, scale: jax.Array, bias: jax.Array, mask: jax.Array | None, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Batch normalisation by the moments of the real entries.

  With n real entries, m their mask and z = (x - mean) / sqrt(var + epsilon), the output is y =
  scale z + bias. Both moments depend on every real x, which makes the gradient, with g that of y
  and sums over all entries,

      scale / sqrt(var + epsilon) (g - m (sum g + z sum g z) / n)

  in two sums, which are the gradients of bias and scale as well, and one pass over x. What is
  derived term by term takes three sums and keeps more arrays.

  Args:
    x: float[..., C].
    scale, bias: float32[C].
    mask: bool[..., 1], True where an entry is real; None where all are.
    epsilon: added to the variance.

  Returns:
    y: float[..., C]; mean and biased variance, float32[C] both, and the number n: float32[]. These
    three are for
    running statistics: no gradient goes through them.
  """
  return _normalize(x, scale, bias, mask, epsilon)[0]


def _normalize(x, scale, bias, mask, epsilon):
  values = at_least_float32(x)
  if mask is None:
    count = jnp.asarray(math.prod(x.shape[:-1]), values.dtype)
    mean = channel_sums(values) / count
    var = channel_sums(jnp.square(values - mean)) / count
  else:
    count = mask.sum().astype(values.dtype)
    divisor = jnp.maximum(count, 1)
    mean = channel_sums(jnp.where(mask, values, 0)) / divisor
    var = channel_sums(jnp.where(mask, jnp.square(values - mean), 0)) / divisor
  inverse = 1 / jnp.sqrt(var + epsilon)  # XLA:CPU rounds rsqrt coarsely
  y = ((values - mean) * (scale * inverse) + bias).astype(x.dtype)
  return (y, mean, var, count), (x, scale, mask, mean, inverse, count)


def _normalize_gradients(epsilon, residuals, gradients):
  x, scale, mask, mean, inverse, count = residuals
  gradient = at_least_float32(gradients[0])
  centred = at_least_float32(x) - mean
  of_bias, of_scale = channel_sums(gradient), channel_sums(gradient * centred) * inverse
  through_moments = (of_bias + centred * (inverse * of_scale)) / jnp.maximum(count, 1)
  if mask is not None:
    through_moments = jnp.where(mask, through_moments, 0)
  return ((gradient - through_moments) * (scale * inverse)).astype(x.dtype), of_scale, of_bias, None


normalize.defvjp(_normalize, _normalize_gradients)


class BatchNorm(nn.Module):
  """Batch normalisation whose statistics count real entries only, with PyTorch's running
  statistics.

  The mean and the biased variance are taken over every axis but the last, of the whole (global)
  batch; the running variance is moved towards the unbiased one, which flax.linen.BatchNorm does not
  do.

  Attributes:
    use_running_average: normalise by the running statistics and leave them as they are.
    repeats: how often each entry of the input stands in the array that is meant: 4 where x is
      normalised before it is upsampled instead of afterwards. Only the unbiased variance notices.
  """

  use_running_average: bool
  repeats: int = 1
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """x: float[..., C]; mask: bool, broadcastable to x[..., :1], True where an entry is real."""
    features = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (features,))
    running_var = self.variable('batch_stats', 'var', jnp.ones, (features,))
    if self.use_running_average:
      factor = scale / jnp.sqrt(running_var.value + self.epsilon)
      centred = at_least_float32(x) - running_mean.value
      return (centred * spread(factor, x.shape) + spread(bias, x.shape)).astype(x.dtype)
    if mask is not None:
      mask = jnp.broadcast_to(mask, (*x.shape[:-1], 1))
    y, mean, var, count = normalize(x, scale, bias, mask, self.epsilon)
    if not self.is_initializing():
      count = count * self.repeats
      unbiased = var * count / jnp.maximum(count - 1, 1)
      running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
      running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
    return y


class InstanceNorm(nn.Module):
  """Zero mean and unit variance over the pixels of each image and channel; no parameters, no
  statistics.
  """

  epsilon: float = 1e-5

  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """x: float[N, H, W, C]; mask is taken to fit BatchNorm's place and needed for nothing."""
    del mask
    dtype, x = x.dtype, at_least_float32(x)
    mean = x.mean((1, 2), keepdims=True)
    return ((x - mean) / jnp.sqrt(x.var((1, 2), keepdims=True) + self.epsilon)).astype(dtype)


def normalization(name: str, *, train: bool) -> Callable[..., Callable] | None:
  """The constructor `norm(name=...)` of batch | instance normalisation; None for `none`."""
  if name == 'batch':
    return partial(BatchNorm, use_running_average=not train)
  if name == 'instance':
    return InstanceNorm
  if name == 'none':
    return None
  raise UserError(f'normalization {name!r}: expected batch, instance or none')

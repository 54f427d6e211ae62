"""Batch and instance normalisation, with fast sums over pixels.

Sums over pixels (moments, and gradients of every parameter with one value per channel) take a
convolutional network as long as its convolutions where a compiler is slow at them. All of them are
`channel_sums` here.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.scene_batch import Array

# Constructor of a normalisation layer, called as norm(name=...)(x, mask).
Norm = Callable[..., Callable[..., jax.Array]]


def at_least_float32(x: Float[Array, '*shape']) -> Float[jax.Array, '*shape']:
  """bfloat16 becomes float32; float64, which the verification of checkpoints uses, stays."""
  return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))


def channel_sums(x: Float[jax.Array, '*shape C']) -> Float[jax.Array, ' C']:
  """Sums over all axes but the last."""

  def as_products(images: jax.Array) -> jax.Array:
    # XLA:CPU sums columns up to ten times slower than it multiplies matrices. One product for each
    # image rounds less than a single product would.
    return jnp.einsum('bpc,bp->bc', images, jnp.ones(images.shape[:2], images.dtype)).sum(0)

  images = x.reshape(x.shape[0], -1, x.shape[-1])
  return jax.lax.platform_dependent(
    images, cpu=as_products, default=lambda images: images.sum((0, 1))
  )


def _spread(values: Float[jax.Array, ' C'], shape: tuple[int, ...]) -> Float[jax.Array, '*shape C']:
  """Broadcasts values to a shape that ends in C; its gradient is computed by `channel_sums`."""
  return jnp.broadcast_to(values, shape)


spread = jax.custom_vjp(_spread, nondiff_argnums=(1,))
spread.defvjp(
  lambda values, shape: (jnp.broadcast_to(values, shape), None),
  lambda shape, _, gradient: (channel_sums(gradient),),
)


def _normalize(
  x: Float[jax.Array, '*shape C'],
  scale: Float[jax.Array, ' C'],
  bias: Float[jax.Array, ' C'],
  mask: Bool[Array, '*shape 1'] | None,
  epsilon: float,
) -> tuple[
  Float[jax.Array, '*shape C'],
  Float[jax.Array, ' C'],
  Float[jax.Array, ' C'],
  Float[jax.Array, ''],
]:
  """Batch normalisation by the moments of the real entries.

  With n real entries, m their mask and z = (x - mean) / sqrt(var + epsilon), the output is
  y = scale z + bias. Both moments depend on every real x. With g the gradient with respect to y and
  sums over all entries, the gradient with respect to x is

      scale / sqrt(var + epsilon) (g - m (sum g + z sum g z) / n)

  This takes one pass over x and the two sums, which are also the gradients of bias and scale.
  Automatic differentiation takes three sums and keeps more arrays.

  Args:
    x: the entries, in any dtype of floats.
    scale, bias: float32.
    mask: True where an entry is real; None if all are.
    epsilon: added to the variance.

  Returns:
    y, in the dtype of x; the mean, the biased variance and the number n of real entries, all
    float32. The last three are for running statistics: no gradient flows through them.
  """
  return _normalize_forward(x, scale, bias, mask, epsilon)[0]


def _normalize_forward(x, scale, bias, mask, epsilon):
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


def _normalize_backward(epsilon, residuals, gradients):
  x, scale, mask, mean, inverse, count = residuals
  gradient = at_least_float32(gradients[0])
  centred = at_least_float32(x) - mean
  of_bias, of_scale = channel_sums(gradient), channel_sums(gradient * centred) * inverse
  through_moments = (of_bias + centred * (inverse * of_scale)) / jnp.maximum(count, 1)
  if mask is not None:
    through_moments = jnp.where(mask, through_moments, 0)
  return ((gradient - through_moments) * (scale * inverse)).astype(x.dtype), of_scale, of_bias, None


normalize = jax.custom_vjp(_normalize, nondiff_argnums=(4,))
normalize.defvjp(_normalize_forward, _normalize_backward)


class BatchNorm(nn.Module, kw_only=True):
  """Batch normalisation by the real entries only, with PyTorch's running statistics.

  The mean and the biased variance are taken over every axis but the last, of the whole (global)
  batch. The running variance moves towards the unbiased variance, unlike flax.linen.BatchNorm's.

  Attributes:
    use_running_average: normalise by the running statistics and do not update them.
    repeats: how often each entry of the input occurs in the array that the statistics describe: 4
      if x is normalised before it is upsampled by 2 instead of afterwards. Affects the unbiased
      variance only.
    momentum: share of the old running statistics in the new ones.
    epsilon: added to the variance.
  """

  use_running_average: bool
  repeats: int = 1
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, '*shape C'], mask: Bool[Array, '...'] | None = None
  ) -> Float[jax.Array, '*shape C']:
    """`mask` is True where an entry is real, and broadcasts to x[..., :1]; None if all are."""
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


class InstanceNorm(nn.Module, kw_only=True):
  """Zero mean and unit variance over the pixels of each image and channel, without parameters.

  Attributes:
    epsilon: added to the variance.
  """

  epsilon: float = 1e-5

  def __call__(
    self, x: Float[jax.Array, 'N H W C'], mask: Bool[Array, '...'] | None = None
  ) -> Float[jax.Array, 'N H W C']:
    """`mask` is ignored; it is accepted because BatchNorm takes one."""
    del mask
    dtype, x = x.dtype, at_least_float32(x)
    mean = x.mean((1, 2), keepdims=True)
    return ((x - mean) / jnp.sqrt(x.var((1, 2), keepdims=True) + self.epsilon)).astype(dtype)


def normalization(name: str, *, train: bool) -> Norm | None:
  """The constructor of the normalisation `batch` or `instance`; None for `none`."""
  if name == 'batch':
    return partial(BatchNorm, use_running_average=not train)
  if name == 'instance':
    return InstanceNorm
  if name == 'none':
    return None
  raise UserError(f'normalization {name!r}: expected batch, instance or none')

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models import layers
from sg2im_jax.models.normalization import (
  BatchNorm,
  InstanceNorm,
  channel_sums,
  normalization,
  normalize,
  spread,
)

EPSILON = 1e-5


def run_batch_norm(x, mask, train=True):
  module = BatchNorm(use_running_average=not train)
  variables = {
    'params': {'scale': jnp.array([2.0]), 'bias': jnp.array([1.0])},
    'batch_stats': {'mean': jnp.array([0.5]), 'var': jnp.array([4.0])},
  }
  return module.apply(variables, x, mask, mutable=['batch_stats'])


def test_batch_norm_counts_real_entries_only():
  x = jnp.array([1.0, 3.0, 1e6, 5.0])[:, None]
  mask = jnp.array([True, True, False, True])[:, None]
  y, updates = run_batch_norm(x, mask)
  deviation = np.sqrt(8 / 3 + 1e-5)  # of 1, 3, 5
  np.testing.assert_allclose(y[mask[:, 0], 0], 2 * np.array([-2, 0, 2]) / deviation + 1, rtol=1e-6)
  # 0.9 of the old, 0.1 of the mean 3 and of the unbiased variance 4
  np.testing.assert_allclose(updates['batch_stats']['mean'], [0.9 * 0.5 + 0.1 * 3], rtol=1e-6)
  np.testing.assert_allclose(updates['batch_stats']['var'], [0.9 * 4 + 0.1 * 4], rtol=1e-6)


def test_batch_norm_by_running_statistics():
  y, updates = run_batch_norm(jnp.array([[2.5]]), jnp.array([[True]]), train=False)
  np.testing.assert_allclose(y, [[2 * 2 / 2 + 1]], rtol=1e-5)
  np.testing.assert_array_equal(updates['batch_stats']['mean'], [0.5])


def test_batch_norm_of_nothing_is_finite():
  y, updates = run_batch_norm(jnp.ones((3, 1)), jnp.zeros((3, 1), bool))
  assert np.isfinite(y).all() and np.isfinite(updates['batch_stats']['var']).all()


def test_instance_norm_is_of_each_image_alone():
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3)) * 5 + 2
  y = InstanceNorm().apply({}, x)
  np.testing.assert_allclose(y.mean((1, 2)), np.zeros((2, 3)), atol=1e-6)
  np.testing.assert_allclose(y.var((1, 2)), np.ones((2, 3)), rtol=1e-4)


def plainly_normalized(x, scale, bias, mask):
  """Batch normalisation as the formula says, with the gradient that is derived term by term."""
  count = mask.sum()
  mean = jnp.where(mask, x, 0).sum((0, 1, 2)) / count
  var = jnp.where(mask, jnp.square(x - mean), 0).sum((0, 1, 2)) / count
  return (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias


@pytest.mark.parametrize('masked', [True, False])
def test_gradients_of_batch_norm(masked):
  keys = jax.random.split(jax.random.key(0), 4)
  x = 3 * jax.random.normal(keys[0], (4, 5, 6, 3)) + 2
  scale, bias = jax.random.normal(keys[1], (2, 3))
  weights = jax.random.normal(keys[2], x.shape)
  mask = (
    jax.random.bernoulli(keys[3], 0.6, (4, 5, 6, 1)) if masked else jnp.ones((4, 5, 6, 1), bool)
  )

  def found(x, scale, bias):
    return (normalize(x, scale, bias, mask if masked else None, EPSILON)[0] * weights).sum()

  def expected(x, scale, bias):
    return (plainly_normalized(x, scale, bias, mask) * weights).sum()

  arguments = x, scale, bias
  for one, other in zip(
    jax.grad(found, (0, 1, 2))(*arguments), jax.grad(expected, (0, 1, 2))(*arguments)
  ):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * float(jnp.abs(other).max()))


def test_normalizing_before_upsampling_is_normalizing_afterwards():
  x = jax.random.normal(jax.random.key(0), (2, 3, 3, 4))
  early = BatchNorm(use_running_average=False, repeats=4)
  late = BatchNorm(use_running_average=False)
  variables = late.init(jax.random.key(1), x)
  y, updates = early.apply(variables, x, mutable=['batch_stats'])
  expected, expected_updates = late.apply(variables, layers.upsample(x), mutable=['batch_stats'])
  np.testing.assert_allclose(layers.upsample(y), expected, atol=1e-5)
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), updates, expected_updates
  )


def test_moments_of_bfloat16_are_float32():
  x = (jax.random.normal(jax.random.key(0), (8, 16, 16, 2)) + 100).astype(jnp.bfloat16)
  y, mean, var, _ = normalize(x, jnp.ones(2), jnp.zeros(2), None, EPSILON)
  assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
  values = np.asarray(x, np.float64)
  np.testing.assert_allclose(mean, values.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(var, values.var((0, 1, 2)), rtol=1e-4)


def test_sums_and_spreading_are_each_other_s_transpose():
  x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
  np.testing.assert_allclose(channel_sums(x), np.asarray(x, np.float64).sum((0, 1, 2)), rtol=1e-5)
  values, transpose = jax.vjp(lambda values: spread(values, x.shape), jnp.arange(6.0))
  np.testing.assert_array_equal(values, jnp.broadcast_to(jnp.arange(6.0), x.shape))
  np.testing.assert_allclose(transpose(x)[0], channel_sums(x), rtol=1e-6)


def test_an_unknown_normalization():
  with pytest.raises(UserError, match="normalization 'layer': expected batch"):
    normalization('layer', train=True)

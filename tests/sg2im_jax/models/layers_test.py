import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.scene_graph import UserError
from sg2im_jax.models import layers


def run_batch_norm(x, mask, train=True):
  module = layers.BatchNorm(use_running_average=not train)
  variables = {'params': {'scale': jnp.array([2.0]), 'bias': jnp.array([1.0])},
               'batch_stats': {'mean': jnp.array([0.5]), 'var': jnp.array([4.0])}}
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
  y = layers.InstanceNorm().apply({}, x)
  np.testing.assert_allclose(y.mean((1, 2)), np.zeros((2, 3)), atol=1e-6)
  np.testing.assert_allclose(y.var((1, 2)), np.ones((2, 3)), rtol=1e-4)


@pytest.mark.parametrize('name, slope', [('leakyrelu-0.2', 0.2), ('relu', 0.01), ('leakyrelu', 0.01)])
def test_every_activation_is_a_leaky_relu(name, slope):
  np.testing.assert_allclose(layers.activation(name)(jnp.array([-1.0, 2.0])), [-slope, 2.0], rtol=1e-6)


def test_unknown_names():
  with pytest.raises(UserError, match="activation 'gelu': expected relu"):
    layers.activation('gelu')
  with pytest.raises(UserError, match="normalization 'layer': expected batch"):
    layers.normalization('layer', train=True)


def test_upsample_and_average_pool():
  x = jnp.arange(4.0).reshape(1, 2, 2, 1)
  np.testing.assert_array_equal(layers.upsample(x)[0, :, :, 0],
                                [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])
  np.testing.assert_array_equal(layers.average_pool(layers.upsample(x, 3), 3), x)
  np.testing.assert_array_equal(layers.average_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2), [[[[2.0]]]])

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models import layers


@pytest.mark.parametrize(
  'name, slope', [('leakyrelu-0.2', 0.2), ('relu', 0.01), ('leakyrelu', 0.01)]
)
def test_every_activation_is_a_leaky_relu(name, slope):
  np.testing.assert_allclose(
    layers.activation(name)(jnp.array([-1.0, 2.0])), [-slope, 2.0], rtol=1e-6
  )


def test_an_unknown_activation():
  with pytest.raises(UserError, match="activation 'gelu': expected relu"):
    layers.activation('gelu')


def test_upsample_and_average_pool():
  x = jnp.arange(4.0).reshape(1, 2, 2, 1)
  np.testing.assert_array_equal(
    layers.upsample(x)[0, :, :, 0], [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
  )
  np.testing.assert_array_equal(layers.average_pool(layers.upsample(x, 3), 3), x)
  np.testing.assert_array_equal(
    layers.average_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2), [[[[2.0]]]]
  )


def test_an_embedding_has_the_gradient_of_indexing():
  table = jax.random.normal(jax.random.key(0), (5, 3))
  ids = jnp.array([[0, 2, 2], [4, 2, 0]])
  weights = jax.random.normal(jax.random.key(1), (2, 3, 3))

  def loss(look_up):
    return lambda table: (weights * look_up(table, ids) ** 2).sum()

  values, gradient = jax.value_and_grad(loss(layers.look_up))(table)
  expected_values, expected = jax.value_and_grad(loss(lambda table, ids: table[ids]))(table)
  np.testing.assert_array_equal(values, expected_values)
  np.testing.assert_allclose(gradient, expected, rtol=1e-6)
  assert 'scatter' not in str(jax.make_jaxpr(jax.grad(loss(layers.look_up)))(table))

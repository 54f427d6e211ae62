import jax
import jax.numpy as jnp
import numpy as np

from sg2im_jax.models.graph_convolution import GraphConvolution, Incidence

TRIPLES = jnp.array([[[0, 5, 1], [0, 5, 2], [7, 7, 7]]])  # the last one is padding
TRIPLE_MASK = jnp.array([[True, True, False]])


def test_incidence_gathers_and_pools_by_hand():
  incidence = Incidence.from_triples(TRIPLES, TRIPLE_MASK, object_slots=4)
  np.testing.assert_array_equal(incidence.subject[0], [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
  np.testing.assert_array_equal(incidence.object[0], [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
  subjects, objects = incidence.gather(jnp.array([[[1.0], [2.0], [4.0], [8.0]]]))
  np.testing.assert_array_equal(subjects[0, :, 0], [1, 1, 0])
  np.testing.assert_array_equal(objects[0, :, 0], [2, 4, 0])
  as_subject, as_object = jnp.array([[[10.0], [20.0], [1e6]]]), jnp.array([[[3.0], [5.0], [1e6]]])
  np.testing.assert_array_equal(
    incidence.pool(as_subject, as_object, 'sum')[0, :, 0], [30, 3, 5, 0]
  )
  np.testing.assert_array_equal(
    incidence.pool(as_subject, as_object, 'avg')[0, :, 0], [15, 3, 5, 0]
  )


def test_a_layer_passes_messages_along_edges_only():
  layer = GraphConvolution(features=4, hidden_features=6, pooling='avg', norm=None)
  vectors = jax.random.normal(jax.random.key(0), (1, 4, 3))
  predicates = jax.random.normal(jax.random.key(1), (1, 3, 3))
  args = (
    predicates,
    Incidence.from_triples(TRIPLES, TRIPLE_MASK, object_slots=4),
    jnp.ones((1, 4), bool),
    TRIPLE_MASK,
  )
  params = layer.init(jax.random.key(2), vectors, *args)
  jacobian = jax.jacobian(lambda vectors: layer.apply(params, vectors, *args)[0])(vectors)[
    0, :, :, 0
  ]
  reached = np.abs(jacobian).max((1, 3)) > 0  # [new object, old object]
  np.testing.assert_array_equal(reached, [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])

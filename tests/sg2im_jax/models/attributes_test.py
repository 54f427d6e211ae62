import jax
import numpy as np

from sg2im_jax.models.attributes import AttributeEmbedding, has_attributes, some_attributes
from tests.small_scenes import random_batch


def test_an_object_has_the_sum_of_its_attributes_vectors():
  network = AttributeEmbedding(num_attributes=3, features=5)
  slots = np.array([[[1, 3], [0, 2], [0, 0]]])
  variables = network.init(jax.random.key(0), slots)
  table = variables['params']['table']['embedding']
  found = network.apply(variables, slots)
  np.testing.assert_allclose(found[0], [table[0] + table[2], table[1], 0 * table[0]], rtol=1e-6)


def test_which_objects_have_attributes():
  batch = random_batch().replace(attributes=None)
  assert not has_attributes(batch).any()
  slots = np.zeros((*batch.object_mask.shape, 2), int)
  slots[1, 2, 1] = 3
  found = has_attributes(batch.replace(attributes=slots))
  assert found[1, 2] and found.sum() == 1


def test_attributes_are_dropped_by_image_and_by_slot():
  batch = random_batch(batch_size=2000)
  slots = np.ones((2000, 6, 2), int)
  kept = some_attributes(batch.replace(attributes=slots), jax.random.key(0), 0.25).attributes
  shares = np.asarray(kept).mean((1, 2))
  # A quarter is dropped, and half of the rest kept; of 12 slots, at shares uniform in [0, 1], none
  # or all are kept by chance once in 13.
  by_chance = 0.375 / 13
  assert abs((shares == 0).mean() - 0.25 - by_chance) < 0.04
  assert abs((shares == 1).mean() - 0.375 - by_chance) < 0.03
  assert abs(shares.mean() - 0.375 - 0.375 / 2) < 0.03
  without = batch.replace(attributes=None)
  assert some_attributes(without, jax.random.key(0), 0.25) is without

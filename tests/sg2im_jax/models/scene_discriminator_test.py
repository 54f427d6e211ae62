import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import models
from sg2im_jax.models import pixels
from sg2im_jax.models.scene_discriminator import SpectralConvolution
from tests.small_scenes import (
  VOCABULARY,
  random_batch,
  tiny_token_settings,
  with_rubbish_in_padding,
)


def test_power_iterations_find_the_largest_singular_value():
  layer = SpectralConvolution(features=5, width=3, padding=1)
  image = jax.random.normal(jax.random.key(0), (1, 6, 6, 4))
  variables = layer.init(jax.random.key(1), image, train=True)
  for _ in range(200):
    _, updates = layer.apply(variables, image, train=True, mutable=['batch_stats'])
    variables = {**variables, **updates}
  kernel = variables['params']['kernel']
  largest = np.linalg.svd(np.asarray(kernel).reshape(-1, 5), compute_uv=False)[0]
  expected = jax.lax.conv_general_dilated(
    image, kernel / largest, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  found = layer.apply(variables, image, train=False)
  np.testing.assert_allclose(found, expected + variables['params']['bias'], atol=1e-5)


def test_evaluation_moves_no_vector():
  layer = SpectralConvolution(features=5, width=3)
  image = jnp.ones((1, 6, 6, 4))
  variables = layer.init(jax.random.key(1), image, train=True)
  _, updates = layer.apply(variables, image, train=False, mutable=['batch_stats'])
  jax.tree.map(np.testing.assert_array_equal, updates['batch_stats'], variables['batch_stats'])


@pytest.fixture(scope='module')
def judge():
  network = models.build_token_networks(tiny_token_settings(), VOCABULARY).discriminator

  def arguments(batch):
    image = pixels.normalize(batch.image)
    return image, batch.object_class, batch.boxes, batch.object_mask

  variables = network.init(jax.random.key(0), *arguments(random_batch()), train=True)
  return jax.jit(lambda batch: network.apply(variables, *arguments(batch), train=False))


def test_shapes(judge):
  judgement = judge(random_batch())
  assert judgement.image_scores.ndim == 3 and judgement.object_scores.shape == (4, 6)
  assert all(features.shape[0] == 4 for features in judgement.image_features)
  assert judgement.object_features.shape[:2] == (4, 6)


def test_what_padding_holds_changes_no_score_of_an_object(judge):
  batch = random_batch()
  clean, spoiled = judge(batch), judge(with_rubbish_in_padding(batch).zero_padding())
  np.testing.assert_array_equal(clean.image_scores, spoiled.image_scores)
  real = batch.object_mask
  np.testing.assert_array_equal(clean.object_scores[real], spoiled.object_scores[real])


def test_the_class_of_an_object_matters_to_its_score_alone(judge):
  batch = random_batch()
  classes = np.array(batch.object_class)
  classes[0, 1] = classes[0, 1] % (VOCABULARY.num_objects - 1) + 1
  original, other = judge(batch), judge(batch.replace(object_class=classes))
  changed = np.asarray(original.object_scores != other.object_scores)
  assert changed[0, 1] and changed.sum() == 1
  np.testing.assert_array_equal(original.image_scores, other.image_scores)

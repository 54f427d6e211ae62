import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models.discriminators import ConvolutionalNetwork, ImageDiscriminator

pytestmark = pytest.mark.slow

IMAGES = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
REAL = jnp.array([True, True, False])


def build(arch, padding='same', normalization='batch'):
  return ConvolutionalNetwork(
    arch=arch, normalization=normalization, activation='leakyrelu-0.2', padding=padding
  )


def image_discriminator(arch, classifier):
  return ImageDiscriminator(
    arch=arch,
    normalization='batch',
    activation='relu',
    padding='same',
    classifier=classifier,
    dtype='float32',
  )


def output_shape(arch, padding='same', images=IMAGES):
  outputs, _ = build(arch, padding).init_with_output(jax.random.key(0), images, REAL, train=True)
  return outputs.shape


@pytest.mark.parametrize(
  'arch, padding, shape',
  [
    ('C4-8-2,C4-16-2', 'valid', (3, 2, 2, 16)),
    ('C3-8,R,P2', 'same', (3, 8, 8, 8)),
    ('R,U2', 'same', (3, 32, 32, 3)),
    ('C3-4-2,FC-256-10,FC-10-2', 'same', (3, 2)),
  ],
)
def test_shapes(arch, padding, shape):
  assert output_shape(arch, padding) == shape


def test_input_channels():
  assert output_shape('I5,C3-4', images=jnp.zeros((3, 8, 8, 5))) == (3, 8, 8, 4)
  with pytest.raises(UserError, match='takes 3 input channels, the images have 5'):
    output_shape('C3-4', images=jnp.zeros((3, 8, 8, 5)))


@pytest.mark.parametrize(
  'arch, padding, message',
  [
    ('C4-8', 'same', 'needs an odd kernel, found a width of 4'),
    ('C3-8', 'full', "padding 'full'"),
    ('R', 'valid', "a residual block needs padding 'same'"),
    ('FC-5-2', 'same', 'takes 5 features, it gets 768'),
  ],
)
def test_what_cannot_be_built(arch, padding, message):
  with pytest.raises(UserError, match=message):
    output_shape(arch, padding)


def test_flattening_is_channels_first():
  network = build('FC-768-2')
  variables = network.init(jax.random.key(0), IMAGES, REAL, train=False)
  linear = variables['params']['linear_0']
  expected = IMAGES.transpose(0, 3, 1, 2).reshape(3, -1) @ linear['kernel'] + linear['bias']
  np.testing.assert_allclose(
    network.apply(variables, IMAGES, REAL, train=False), expected, rtol=1e-5
  )


def test_residual_block_moves_running_statistics_twice():
  network = build('C3-4,R')
  variables = network.init(jax.random.key(0), IMAGES, REAL, train=True)
  _, updates = network.apply(variables, IMAGES, REAL, train=True, mutable=['batch_stats'])
  x = build('C3-4').apply(
    {'params': {'conv_0': variables['params']['conv_0']}}, IMAGES[:2], REAL[:2], train=True
  )
  mean = x.mean((0, 1, 2))
  np.testing.assert_allclose(
    updates['batch_stats']['residual_1']['norm_0']['mean'],
    0.1 * mean + 0.9 * 0.1 * mean,
    rtol=1e-4,
    atol=1e-6,
  )


def test_padded_images_reach_no_statistic():
  network = image_discriminator('C3-4,C3-4', classifier=False)
  variables = network.init(jax.random.key(0), IMAGES, REAL, train=True)
  run = lambda images: network.apply(variables, images, REAL, train=True, mutable=['batch_stats'])
  (scores, stats), (other_scores, other_stats) = run(IMAGES), run(IMAGES.at[2].set(1e6))
  np.testing.assert_array_equal(scores[:2], other_scores[:2])
  jax.tree.map(np.testing.assert_array_equal, stats, other_stats)


def test_the_classifier_makes_one_score_of_a_patch():
  network = image_discriminator('C3-4-2', classifier=True)
  scores, variables = network.init_with_output(jax.random.key(0), IMAGES, REAL, train=False)
  without = image_discriminator('C3-4-2', classifier=False)
  cnn = {'params': {'cnn': variables['params']['cnn']}}
  features = without.apply(cnn, IMAGES, REAL, train=False)
  classifier = variables['params']['classifier']
  assert scores.shape == (3, 8, 8, 1)
  np.testing.assert_allclose(
    scores, features @ classifier['kernel'][0, 0] + classifier['bias'], atol=1e-5
  )

import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import losses

MASK = jnp.array([True, True, False])
SCORES = jnp.array([0.0, 2.0, 1e6])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_masked_mean():
  assert losses.masked_mean(jnp.array([1.0, 2.0, jnp.nan]), MASK) == 1.5
  assert losses.masked_mean(jnp.ones((3, 4)), jnp.zeros(3, bool)) == 0
  assert losses.masked_mean(jnp.array([[1.0, 3.0], [5.0, 7.0], [9.0, 9.0]]), MASK) == 4


def test_reconstruction_losses():
  image, target = (
    jnp.broadcast_to(jnp.array(values)[:, None, None, None], (2, 1, 1, 3))
    for values in ((1.0, 4.0), (3.0, 0.0))
  )
  assert losses.l1_pixel(image, target, jnp.array([True, False])) == 2
  boxes = jnp.array([[[0.0, 0.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]]])
  assert (
    losses.bbox(boxes, jnp.array([[[0.0, 0.0, 1.0, 0.0], [0.0] * 4]]), jnp.array([[True, False]]))
    == 0.25
  )
  assert losses.mask(
    jnp.zeros((1, 1, 2, 2)), jnp.ones((1, 1, 2, 2), jnp.uint8), jnp.array([[True]])
  ) == pytest.approx(np.log(2), rel=1e-6)


def test_classification_losses():
  logits = jnp.array([[[2.0, 0.0], [1e6, 0.0]]])
  mask = jnp.array([[True, False]])
  expected = np.log(1 + np.exp(-2))
  assert losses.object_class(logits, jnp.array([[0, 1]]), mask) == pytest.approx(expected, rel=1e-5)
  assert losses.predicate(logits, jnp.array([[[4, 0, 5], [0, 1, 0]]]), mask) == pytest.approx(
    expected, rel=1e-5
  )


@pytest.mark.parametrize(
  'gan_type, generator, discriminator',
  [
    (
      'gan',
      np.mean([np.log(2), np.log(1 + np.exp(-2))]),
      np.mean([np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))])
      + np.mean([np.log(2), np.log(1 + np.exp(2))]),
    ),
    (
      'lsgan',
      np.mean([(sigmoid(0) - 1) ** 2, (sigmoid(2) - 1) ** 2]),
      np.mean([(sigmoid(1) - 1) ** 2, (sigmoid(-1) - 1) ** 2])
      + np.mean([sigmoid(0) ** 2, sigmoid(2) ** 2]),
    ),
    ('wgan', -1.0, 1.0 - 0.0),
  ],
)
def test_gan_losses(gan_type, generator, discriminator):
  real = jnp.array([1.0, -1.0, 1e6])
  assert losses.generator_gan(gan_type, SCORES, MASK) == pytest.approx(generator, rel=1e-5)
  assert losses.discriminator_gan(gan_type, real, SCORES, MASK) == pytest.approx(
    discriminator, rel=1e-5
  )

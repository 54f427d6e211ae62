"""The losses of token models, on numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import token_losses
from sg2im_jax.models import LatentDistribution


def test_the_divergence_of_a_standard_normal_is_zero_and_others_are_as_in_the_textbook():
  mean = jnp.array([[[0.0, 0.0], [1.0, 2.0], [9.0, 9.0]]])
  log_deviation = jnp.array([[[0.0, 0.0], [0.0, jnp.log(2.0)], [1.0, 1.0]]])
  latents = LatentDistribution(mean=mean, log_deviation=log_deviation)
  np.testing.assert_allclose(
    latents.divergence()[0, :2], [0, 0.5 + (0.5 * (4 + 4 - 1) - np.log(2))], rtol=1e-6
  )
  mask = np.array([[True, True, False]])
  assert float(token_losses.divergence(latents, mask)) == pytest.approx(
    float(latents.divergence()[0, 1]) / 2
  )


def test_a_constant_error_has_no_gradient_loss_and_a_step_has_one():
  target = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
  rows = np.ones(2, bool)
  assert float(token_losses.l1_gradient(target + 0.7, target, rows)) == pytest.approx(0, abs=1e-6)
  step = target.at[:, :, 2:].add(0.6)  # one of the three differences across
  assert float(token_losses.l1_gradient(step, target, rows)) == pytest.approx(0.2, rel=1e-5)
  spoiled = step.at[1].set(1e6)
  only_first = np.array([True, False])
  assert float(token_losses.l1_gradient(spoiled, target, only_first)) == pytest.approx(
    0.2, rel=1e-5
  )


def test_hinge_losses():
  real, fake = jnp.array([[2.0, 0.5, 9.0]]), jnp.array([[-2.0, 0.5, 9.0]])
  mask = np.array([[True, True, False]])
  assert float(token_losses.hinge_discriminator(real, fake, mask)) == pytest.approx(0.25 + 0.75)
  assert float(token_losses.hinge_generator(fake, mask)) == pytest.approx(0.75)


def test_flow_matching_counts_each_object_that_has_something_to_learn_once():
  velocity, target = jnp.ones((1, 3, 4)), jnp.zeros((1, 3, 4))
  weights = jnp.array([[[2.0, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]])
  assert float(token_losses.flow_matching(velocity, target, weights)) == pytest.approx(8 / 2 / 4)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax.models.token_prior import TokenPrior, expand_times, guided, integrate
from tests.small_scenes import VOCABULARY, random_batch, with_rubbish_in_padding

LATENT_DIM = 3
SHAPE = (4, 6, 4 + LATENT_DIM)


def normal(seed, shape=SHAPE):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope='module')
def prior():
  """The velocity of a small prior whose last layer is not zero, as a function of a batch."""
  network = TokenPrior(
    num_objects=VOCABULARY.num_objects,
    num_predicates=VOCABULARY.num_predicates,
    num_attributes=VOCABULARY.num_attributes,
    latent_dim=LATENT_DIM,
    features=16,
    num_blocks=2,
    dtype='float32',
  )
  variables = network.init(jax.random.key(0), random_batch(), normal(1), jnp.zeros((4, 6, 2)))
  kernel = variables['params']['velocity']['kernel']
  assert not kernel.any()  # the velocity begins at 0
  variables['params']['velocity']['kernel'] = normal(2, kernel.shape)
  return jax.jit(lambda batch, tokens, times: network.apply(variables, batch, tokens, times))


NOTHING_GIVEN = np.zeros((4, 6, 2), bool)


def test_a_constant_velocity_is_followed_exactly():
  end = integrate(lambda tokens, times: normal(3), normal(4), normal(5), NOTHING_GIVEN, num_steps=3)
  np.testing.assert_allclose(end, normal(4) + normal(3), rtol=1e-5, atol=1e-6)


def test_the_error_falls_with_the_square_of_the_step():
  """dx/dt = x has x(1) = e x(0)."""
  errors = [
    float(
      jnp.abs(
        integrate(lambda tokens, times: tokens, normal(4), normal(5), NOTHING_GIVEN, num_steps=n)
        - jnp.e * normal(4)
      ).max()
    )
    for n in (4, 8, 16)
  ]
  assert 3 < errors[0] / errors[1] < 4.4 and 3.3 < errors[1] / errors[2] < 4.4


def test_the_optimal_velocity_carries_noise_to_the_data():
  """Of data N(3, 0.5^2) the mean velocity is known in closed form."""
  mean, deviation = 3.0, 0.5

  def velocity(x, times):
    t = expand_times(times, LATENT_DIM)
    variance = (1 - t) ** 2 + (t * deviation) ** 2
    slope = (t * deviation**2 - (1 - t)) / variance
    return mean + slope * (x - t * mean)

  noise = normal(6, (400, 6, 7))
  given = np.zeros((400, 6, 2), bool)
  end = integrate(velocity, noise, jnp.zeros_like(noise), given, num_steps=25)
  np.testing.assert_allclose(end, mean + deviation * noise, atol=0.02)


def test_what_is_given_stays_and_has_time_one():
  given = np.zeros((4, 6, 2), bool)
  given[0, 1] = True
  given[1, 2, 0] = True
  seen = []

  def velocity(tokens, times):
    jax.debug.callback(lambda times: seen.append(times), times)
    return jnp.ones_like(tokens)

  end = integrate(velocity, normal(4), normal(5), given, num_steps=2)
  jax.effects_barrier()
  np.testing.assert_array_equal(end[0, 1], normal(5)[0, 1])
  np.testing.assert_array_equal(end[1, 2, :4], normal(5)[1, 2, :4])
  np.testing.assert_allclose(end[1, 2, 4:], normal(4)[1, 2, 4:] + 1, rtol=1e-6)
  assert seen and all((times[given] == 1).all() for times in seen)
  assert {float(times[2, 0, 0]) for times in seen} == {0.0, 0.5}


def test_guidance_goes_beyond_what_the_graph_changes():
  def one(tokens, times):
    return 2 * tokens

  def other(tokens, times):
    return tokens

  weights = jnp.ones(SHAPE).at[..., :2].set(2.5)
  found = guided(one, other, weights)(normal(1), jnp.zeros((4, 6, 2)))
  np.testing.assert_allclose(found[..., :2], 3.5 * normal(1)[..., :2], rtol=1e-6)
  np.testing.assert_array_equal(found[..., 2:], 2 * normal(1)[..., 2:])


def test_what_padding_holds_changes_nothing(prior):
  batch, times = random_batch(), jax.random.uniform(jax.random.key(3), (4, 6, 2))
  spoiled = np.array(normal(1))
  spoiled[~batch.object_mask] = 1e6
  clean = prior(batch, jnp.where(batch.object_mask[..., None], normal(1), 0), times)
  # The batch's own padding is zeroed by the generator; tokens of padding are not.
  dirty = prior(with_rubbish_in_padding(batch).zero_padding(), spoiled, times)
  np.testing.assert_allclose(
    clean[batch.object_mask], dirty[batch.object_mask], rtol=1e-5, atol=1e-5
  )


def test_the_number_of_slots_changes_nothing(prior):
  few, many = random_batch(), random_batch(object_slots=16, triple_slots=24)
  tokens = np.zeros((4, 16, 7), np.float32)
  tokens[:, :6] = normal(1)
  expected = prior(few, normal(1), jnp.full((4, 6, 2), 0.3))
  found = prior(many, tokens, jnp.full((4, 16, 2), 0.3))[:, :6]
  np.testing.assert_allclose(found[few.object_mask], expected[few.object_mask], atol=2e-5)


def test_relations_and_times_matter(prior):
  batch, times = random_batch(), jnp.full((4, 6, 2), 0.3)
  original = prior(batch, normal(1), times)
  bare = batch.replace(triple_mask=np.zeros_like(batch.triple_mask))
  later = times.at[:, 1, 1].set(0.6)
  for other in (prior(bare, normal(1), times), prior(batch, normal(1), later)):
    assert np.abs(original - other).max() > 1e-3

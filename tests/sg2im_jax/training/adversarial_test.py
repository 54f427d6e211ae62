"""The step: padding, phases, skipped steps, ablations.

That its numbers are the published ones is tested in published/conversion_test.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax.settings import Settings
from sg2im_jax.training.adversarial import AdversarialTraining
from tests.small_scenes import (
  VOCABULARY,
  largest_difference,
  random_batch,
  random_noise,
  tiny_config,
  with_rubbish_in_padding,
)

pytestmark = pytest.mark.slow


def make_training(**changes):
  """The tiny model with other settings, by dotted name."""
  config = tiny_config()
  # Fast enough for the test of learning, which then shares the compiled step with the others.
  config.optimizer.learning_rate = 3e-3
  config.update_from_flattened_dict(changes)
  return AdversarialTraining.build(Settings.from_config(config), VOCABULARY)


@pytest.fixture(scope='module')
def training():
  return make_training()


@pytest.fixture(scope='module')
def state(training):
  return jax.jit(training.init)()


@pytest.fixture(scope='module')
def step(training):
  return jax.jit(training.train_step)


@pytest.fixture(scope='module')
def gradients_of(training, state):
  return gradients_by(training, state)


def gradients_by(training, state):
  noise = random_noise(random_batch(), training.settings.model.layout_noise_dim)
  return jax.jit(lambda batch: training.gradients(state, batch, noise))


def test_what_padding_holds_changes_no_loss_gradient_or_statistic(gradients_of):
  batch = random_batch()
  assert not batch.object_mask.all() and not batch.triple_mask.all()
  clean, spoiled = gradients_of(batch), gradients_of(with_rubbish_in_padding(batch))
  jax.tree.map(np.testing.assert_array_equal, clean, spoiled)


@pytest.mark.exhaustive
def test_the_number_of_slots_changes_nothing(gradients_of):
  few = gradients_of(random_batch())
  many = gradients_of(random_batch(object_slots=16, triple_slots=24))
  assert largest_difference(few, many) < 1e-5


@pytest.mark.exhaustive
def test_rematerializing_changes_nothing(state, gradients_of):
  rematerialized = gradients_by(make_training(rematerialize=True), state)(random_batch())
  assert largest_difference(rematerialized, gradients_of(random_batch())) < 1e-5


@pytest.mark.exhaustive
def test_bfloat16_is_close_and_leaves_float32(state, gradients_of):
  gradients, statistics, losses = gradients_by(make_training(dtype='bfloat16'), state)(
    random_batch()
  )
  _, _, expected = gradients_of(random_batch())
  assert {leaf.dtype for leaf in jax.tree.leaves((gradients, statistics, losses))} == {
    jnp.dtype('float32')
  }
  assert all(
    float(losses[name]) == pytest.approx(float(expected[name]), rel=0.05, abs=0.01)
    for name in expected
  )
  assert any(losses[name] != expected[name] for name in expected)  # something was bfloat16


def test_every_parameter_has_a_gradient(gradients_of):
  gradients, _, _ = gradients_of(random_batch())
  missing = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree_util.tree_flatten_with_path(gradients)[0]
    if not np.any(leaf)
  ]
  assert missing == []


def test_eval_step_ignores_padded_slots_and_examples(training, state):
  eval_step = jax.jit(training.eval_step)
  batch = random_batch(batch_size=4)
  empty = jax.tree.map(np.zeros_like, batch)
  filled_up = jax.tree.map(lambda a, b: np.concatenate([a, b]), batch, empty)
  expected, boxes = eval_step(state.sampling_variables(), batch, jax.random.key(0))
  # The pictures differ with the noise, whose shape is that of the batch; boxes, masks and relations
  # do not.
  for found, found_boxes in (
    eval_step(state.sampling_variables(), with_rubbish_in_padding(batch), jax.random.key(0)),
    eval_step(state.sampling_variables(), filled_up, jax.random.key(0)),
  ):
    for name in ('bbox', 'mask', 'predicate'):
      np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(
      found_boxes[:4][batch.object_mask], boxes[batch.object_mask], rtol=1e-5, atol=1e-6
    )
    assert found['l1_pixel'][1] == 4


def test_a_step_moves_everything_and_counts(state, step):
  new, metrics = step(state, random_batch(), jax.random.key(0))
  assert int(new.step) == 1 and metrics['skipped'] == 0
  for name in ('generator', 'image_discriminator', 'object_discriminator'):
    old_network, new_network = getattr(state, name), getattr(new, name)
    for part in ('params', 'batch_stats', 'opt_state'):
      changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), getattr(old_network, part), getattr(new_network, part)
      )
      assert all(jax.tree.leaves(changed)), (name, part, changed)


def test_a_step_with_a_non_finite_loss_changes_nothing_but_the_count(state, step):
  batch = random_batch()
  boxes = np.array(batch.boxes)
  boxes[0, 1, 0] = np.nan
  new, metrics = step(state, batch.replace(boxes=boxes), jax.random.key(0))
  assert int(new.step) == 1 and metrics['skipped'] == 1
  for name in ('generator', 'image_discriminator', 'object_discriminator'):
    jax.tree.map(np.testing.assert_array_equal, getattr(new, name), getattr(state, name))


def test_frozen_batch_norm_stands_still_and_is_used(training, state):
  frozen_step = jax.jit(functools.partial(training.train_step, batch_norm_frozen=True))
  new, metrics = frozen_step(state, random_batch(), jax.random.key(0))
  jax.tree.map(
    np.testing.assert_array_equal, new.generator.batch_stats, state.generator.batch_stats
  )
  assert not np.array_equal(
    new.generator.params['refinement']['rgb']['kernel'],
    state.generator.params['refinement']['rgb']['kernel'],
  )
  changed = state.replace(
    generator=state.generator.replace(
      batch_stats=jax.tree.map(lambda leaf: leaf + 1, state.generator.batch_stats)
    )
  )
  _, other_metrics = frozen_step(changed, random_batch(), jax.random.key(0))
  assert not np.isclose(metrics['generator/l1_pixel'], other_metrics['generator/l1_pixel'])


def test_restarting_the_optimizer_leaves_the_rest(training, state, step):
  stepped, _ = step(state, random_batch(), jax.random.key(0))
  restarted = training.restart_generator_optimizer(stepped)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(restarted.generator.opt_state))
  jax.tree.map(
    np.testing.assert_array_equal, restarted.generator.variables, stepped.generator.variables
  )
  jax.tree.map(
    np.testing.assert_array_equal, restarted.object_discriminator, stepped.object_discriminator
  )


def test_learning_reduces_the_losses(state, step):
  """A few dozen steps on one batch of plain colours: the generator learns it by heart."""
  batch, history = random_batch(), []
  batch = batch.replace(image=np.broadcast_to(batch.image[:, :1, :1], batch.image.shape))
  for i in range(60):
    state, metrics = step(state, batch, jax.random.key(i))
    history.append(metrics)
  for name in (
    'generator/l1_pixel',
    'generator/bbox',
    'generator/mask',
    'object_discriminator/class_real',
  ):
    assert history[-1][name] < 0.8 * history[0][name], name


@pytest.mark.parametrize(
  'ablated',
  [
    ('image_discriminator',),
    ('object_discriminator',),
    ('image_discriminator', 'object_discriminator'),
  ],
)
def test_ablated_discriminators_are_absent(ablated, state):
  training = make_training(**{f'{name}.enabled': False for name in ablated})
  initial = jax.eval_shape(training.init)
  new, metrics = jax.jit(training.train_step)(
    state.replace(**dict.fromkeys(ablated)), random_batch(), jax.random.key(0)
  )
  for name in ('image_discriminator', 'object_discriminator'):
    assert (getattr(initial, name) is None) == (getattr(new, name) is None) == (name in ablated)
    assert any(key.startswith(name) for key in metrics) == (name not in ablated)
  assert np.isfinite(metrics['generator/total'])


def test_cosine_schedule_ends_at_zero():
  training = make_training(**{'optimizer.schedule': 'cosine', 'num_steps': 2})
  params, gradients = {'bias': jnp.zeros(3)}, {'bias': jnp.float32([0.5, -1.0, 2.0])}
  state, sizes = training.optimizer.init(params), []
  for _ in range(3):
    updates, state = training.optimizer.update(gradients, state, params)
    sizes.append(float(jnp.abs(updates['bias']).max()))
  assert sizes[0] == pytest.approx(training.settings.optimizer.learning_rate, rel=1e-3)
  assert 0 < sizes[1] < 0.8 * sizes[0] and sizes[2] == 0

"""The step of token models: padding, the single pass of the discriminator, skipped steps, items."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import losses
from sg2im_jax.models import pixels
from sg2im_jax.models.attributes import some_attributes
from sg2im_jax.token_losses import ADVERSARIAL_TERMS, DISCRIMINATOR_TERMS, PAINTER_TERMS, Judgements
from sg2im_jax.training.token_training import TokenTraining, TokenTrainState
from tests.small_scenes import (
  VOCABULARY,
  largest_difference,
  random_batch,
  tiny_token_settings,
  with_rubbish_in_padding,
)

pytestmark = pytest.mark.slow

NETWORKS = ('painter', 'prior', 'discriminator')


def scenes(**sizes):
  return random_batch(mask_size=8, **sizes)


def make_training(**changes):
  """The tiny model with other settings, by dotted name."""
  fast = {'optimizer.learning_rate': 3e-3, 'tokens.prior.learning_rate': 1e-2}
  return TokenTraining.build(tiny_token_settings({**fast, **changes}), VOCABULARY)


@pytest.fixture(scope='module')
def training():
  return make_training()


@pytest.fixture(scope='module')
def state(training):
  return jax.jit(training.init)()


@pytest.fixture(scope='module')
def step(training):
  return jax.jit(training.train_step)


def test_what_padding_holds_changes_nothing(state, step):
  batch = scenes()
  assert not batch.object_mask.all() and not batch.triple_mask.all()
  clean, spoiled = (
    step(state, one, jax.random.key(0)) for one in (batch, with_rubbish_in_padding(batch))
  )
  jax.tree.map(np.testing.assert_array_equal, clean, spoiled)


def test_rows_of_padding_move_nothing_but_the_random_numbers(training, state):
  """What is painted depends on the numbers of rows, through the noise; what counts does not."""
  batch = scenes()
  empty = jax.tree.map(np.zeros_like, batch)
  filled_up = jax.tree.map(lambda a, b: np.concatenate([a, b]), batch, empty)
  eval_step = jax.jit(training.eval_step)
  sums, boxes = eval_step(state.sampling_variables(), batch, jax.random.key(0))
  more, more_boxes = eval_step(state.sampling_variables(), filled_up, jax.random.key(0))
  for name in ('mask', 'divergence'):
    np.testing.assert_allclose(more[name], sums[name], rtol=1e-5, err_msg=name)
  assert more['l1_pixel'][1] == 4 and boxes.shape == (4, 6, 4) and more_boxes.shape == (8, 6, 4)


def without_cancelling(holds):
  """Whether it holds for all leaves but those of scores that cannot move at first: gradients of
  the bias cancel while all scores are within the margin of the hinge, and one channel has but one
  singular vector."""
  return all(
    leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(holds)
    if not jax.tree_util.keystr(path).endswith(("_score']['bias']", "_score']['singular_vector']"))
  )


@pytest.mark.exhaustive
def test_the_gradients_of_one_pass_are_those_of_two(training, state, step):
  """The discriminator judges once; differentiating each loss alone, by itself, gives the same."""
  batch = scenes().zero_padding()
  target = pixels.normalize(batch.image)
  keys = jax.random.split(jax.random.key(0), 3)

  def judge(params, image):
    return training._judge(params, state.discriminator.batch_stats, batch, target, image)[0]

  def judged(real, fake):
    return Judgements(settings=training.settings.losses, batch=batch, real=real, fake=fake)

  dropped = training.settings.tokens.dropped_attributes
  attributed = some_attributes(batch, keys[2], dropped)

  def painter_loss(params):
    painted, _, _ = training._paint(
      params, state.painter.batch_stats, attributed, target, keys[0], train=True
    )
    real, fake = judge(state.discriminator.params, painted.painting.image)
    return (
      losses.evaluate_terms(PAINTER_TERMS, painted)['total']
      + losses.evaluate_terms(ADVERSARIAL_TERMS, judged(real, fake))['total']
    ), painted.painting.image

  def discriminator_loss(params, image):
    return losses.evaluate_terms(DISCRIMINATOR_TERMS, judged(*judge(params, image)))['total']

  (_, image), of_painter = jax.jit(jax.value_and_grad(painter_loss, has_aux=True))(
    state.painter.params
  )
  of_discriminator = jax.jit(jax.grad(discriminator_loss))(state.discriminator.params, image)
  new, _ = step(state, batch, jax.random.key(0))
  # Adam's first moment after one step is (1 - b1) times the gradient.
  b1 = training.settings.optimizer.b1
  for network, gradient in (('painter', of_painter), ('discriminator', of_discriminator)):
    moments = getattr(new, network).opt_state[0].mu
    found = jax.tree.map(lambda moment: moment / (1 - b1), moments)
    assert largest_difference(found, gradient) < 1e-5, network
    assert without_cancelling(jax.tree_util.tree_map(np.any, gradient)), network


def test_a_step_moves_everything_and_counts(state, step):
  new, metrics = step(state, scenes(), jax.random.key(0))
  new, _ = step(new, scenes(), jax.random.key(1))  # the velocity's last layer begins at 0
  assert int(new.step) == 2 and metrics['skipped'] == 0
  for name in NETWORKS:
    old_network, new_network = getattr(state, name), getattr(new, name)
    for part in ('params', 'batch_stats', 'opt_state'):
      changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), getattr(old_network, part), getattr(new_network, part)
      )
      assert without_cancelling(changed), (name, part, changed)
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.average, new.average)
  assert all(jax.tree.leaves(moved))


def test_the_average_is_exponential(training, state, step):
  new, _ = step(state, scenes(), jax.random.key(0))
  tokens = training.settings.tokens
  for name, params, decay in (
    ('painter', new.painter.params['painter'], tokens.ema_decay),
    ('prior', new.prior.params['prior'], tokens.prior.ema_decay),
  ):
    expected = jax.tree.map(
      lambda old, now, decay=decay: decay * old + (1 - decay) * now, state.average[name], params
    )
    assert largest_difference(new.average[name], expected) < 1e-6


@pytest.mark.parametrize('spoiled', ['boxes', 'image'])
def test_a_step_with_a_non_finite_loss_changes_nothing_but_the_count(state, step, spoiled):
  batch = scenes()
  batch = batch.replace(image=batch.image.astype(np.float32))
  values = np.array(getattr(batch, spoiled))
  values[0, 1, 0] = np.nan
  new, metrics = step(state, batch.replace(**{spoiled: values}), jax.random.key(0))
  assert int(new.step) == 1 and metrics['skipped'] == 1
  for name in (*NETWORKS, 'average'):
    jax.tree.map(np.testing.assert_array_equal, getattr(new, name), getattr(state, name))


@pytest.mark.exhaustive
def test_frozen_batch_norm_stands_still(training, state):
  frozen_step = jax.jit(functools.partial(training.train_step, batch_norm_frozen=True))
  new, _ = frozen_step(state, scenes(), jax.random.key(0))
  jax.tree.map(
    np.testing.assert_array_equal,
    new.painter.batch_stats['painter'],
    state.painter.batch_stats['painter'],
  )


@pytest.mark.exhaustive
def test_bfloat16_is_close_and_leaves_float32(state, step):
  half = jax.jit(make_training(dtype='bfloat16').train_step)
  new, found = half(state, scenes(), jax.random.key(0))
  _, expected = step(state, scenes(), jax.random.key(0))
  floats = [leaf.dtype for leaf in jax.tree.leaves(new) if jnp.issubdtype(leaf.dtype, jnp.floating)]
  assert set(floats) == {jnp.dtype('float32')}
  assert any(found[name] != expected[name] for name in expected)
  for name in expected:
    assert float(found[name]) == pytest.approx(float(expected[name]), rel=0.05, abs=0.03), name


@pytest.mark.exhaustive
def test_rematerializing_changes_nothing(state, step):
  one = jax.jit(make_training(rematerialize=True).train_step)(state, scenes(), jax.random.key(0))
  assert largest_difference(one[1], step(state, scenes(), jax.random.key(0))[1]) < 1e-5


def test_what_is_sampled_with_holds_no_arrays_of_training(state):
  items = state.to_items()
  assert set(items) == {'generator', 'training'}
  assert set(items['generator']) == {'params', 'batch_stats'}
  assert set(items['generator']['params']) == {'encoder', 'painter', 'prior'}
  again = TokenTrainState.from_items(items)
  jax.tree.map(np.testing.assert_array_equal, again, state)


@pytest.mark.exhaustive
def test_without_masks_in_the_data(state):
  training = make_training(**{'data.mask_size': None, 'losses.mask_weight': 0.0})
  new, metrics = jax.jit(training.train_step)(
    state, scenes().replace(masks=None), jax.random.key(0)
  )
  assert metrics['skipped'] == 0 and 'generator/mask' not in metrics and int(new.step) == 1


def test_learning_reduces_the_losses(state, step):
  batch, history = scenes(), []
  batch = batch.replace(image=np.broadcast_to(batch.image[:, :1, :1], batch.image.shape))
  for i in range(60):
    state, metrics = step(state, batch, jax.random.key(i))
    history.append(metrics)
  for name in ('generator/l1_pixel', 'generator/composite', 'generator/mask'):
    assert history[-1][name] < 0.8 * history[0][name], name
  flow = [float(metrics['prior/flow_matching']) for metrics in history]
  assert np.mean(flow[-10:]) < 0.9 * np.mean(flow[:10])

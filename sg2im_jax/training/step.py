"""One training step, and one validation step, as pure functions (paper section 3, "Training";
section 4.2).

The order is the published one: one generator forward; the generator is updated against the
discriminators as they were, then each discriminator on the same fakes, detached. A discriminator's
BatchNorm sees the fakes in the generator's update, then fakes and reals in separate calls in its
own, and its running statistics move at each.

Written as if for one device: under jit with a sharded batch, every mean and BatchNorm statistic is
over the global batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models import pixels
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.training import losses
from sg2im_jax.training.state import (
  Networks,
  NetworkState,
  TrainState,
  build_networks,
  make_optimizer,
)

Metrics = dict[str, jax.Array]


def _apply(module, params: Any, batch_stats: Any, *args, **kwargs) -> tuple[Any, Any]:
  """Outputs and new running statistics of a module."""
  outputs, updates = module.apply(
    {'params': params, 'batch_stats': batch_stats}, *args, mutable=['batch_stats'], **kwargs
  )
  return outputs, updates.get('batch_stats', {})


def losses_and_gradients(
  networks: Networks,
  state: TrainState,
  batch: SceneBatch,
  noise: jax.Array,
  settings: ConfigDict,
  *,
  batch_norm_frozen: bool,
) -> tuple[dict, dict, Metrics]:
  """Everything of a step but the updates.

  Args:
    noise: float32[B, H, W, layout_noise_dim] of N(0, 1).
    settings: config.losses.
    batch_norm_frozen: the generator normalises by its running statistics and leaves them alone.

  Returns:
    Gradients and new running statistics, both keyed by network, and the loss terms, unweighted but
    for `*/total`.
  """
  batch = batch.zero_padding()
  target = pixels.normalize(batch.image)
  gan_type, object_mask, example_mask = settings.gan_type, batch.object_mask, batch.example_mask

  def judge_image(params, batch_stats, image):
    return _apply(
      networks.image_discriminator, params, batch_stats, image, example_mask, train=True
    )

  def judge_objects(params, batch_stats, image):
    return _apply(
      networks.object_discriminator,
      params,
      batch_stats,
      image,
      batch.boxes,
      object_mask,
      train=True,
    )

  def generator_loss(params):
    outputs, batch_stats = _apply(
      networks.generator,
      params,
      state.generator.batch_stats,
      batch,
      noise,
      use_boxes=True,
      use_masks=batch.masks is not None,
      train=not batch_norm_frozen,
    )
    new_stats = {'generator': batch_stats}
    terms = {
      'l1_pixel': losses.l1_pixel(outputs.image, target, example_mask),
      'bbox': losses.bbox(outputs.boxes, batch.boxes, object_mask),
      'predicate': losses.predicate(outputs.predicate_logits, batch.triples, batch.triple_mask),
    }
    weights = {
      'l1_pixel': settings.l1_pixel_weight,
      'bbox': settings.bbox_weight,
      'predicate': settings.predicate_weight,
    }
    if outputs.mask_logits is not None and batch.masks is not None:
      terms['mask'] = losses.mask(outputs.mask_logits, batch.masks, object_mask)
      weights['mask'] = settings.mask_weight
    if state.object_discriminator is not None:
      (scores, class_logits), new_stats['object_discriminator'] = judge_objects(
        state.object_discriminator.params, state.object_discriminator.batch_stats, outputs.image
      )
      terms['object_gan'] = losses.generator_gan(gan_type, scores, object_mask)
      weights['object_gan'] = settings.gan_weight * settings.object_gan_weight
      terms['auxiliary_class'] = losses.object_class(class_logits, batch.object_class, object_mask)
      weights['auxiliary_class'] = settings.auxiliary_class_weight
    if state.image_discriminator is not None:
      scores, new_stats['image_discriminator'] = judge_image(
        state.image_discriminator.params, state.image_discriminator.batch_stats, outputs.image
      )
      terms['image_gan'] = losses.generator_gan(gan_type, scores, example_mask)
      weights['image_gan'] = settings.gan_weight * settings.image_gan_weight
    terms['total'] = sum(weights[name] * term for name, term in terms.items())
    return terms['total'], (terms, outputs.image, new_stats)

  def object_loss(params, batch_stats):
    (fake_scores, fake_logits), batch_stats = judge_objects(params, batch_stats, fake)
    (real_scores, real_logits), batch_stats = judge_objects(params, batch_stats, target)
    terms = {
      'gan': losses.discriminator_gan(gan_type, real_scores, fake_scores, object_mask),
      'class_real': losses.object_class(real_logits, batch.object_class, object_mask),
      'class_fake': losses.object_class(fake_logits, batch.object_class, object_mask),
    }
    terms['total'] = sum(terms.values())
    return terms['total'], (terms, batch_stats)

  def image_loss(params, batch_stats):
    fake_scores, batch_stats = judge_image(params, batch_stats, fake)
    real_scores, batch_stats = judge_image(params, batch_stats, target)
    gan = losses.discriminator_gan(gan_type, real_scores, fake_scores, example_mask)
    return gan, ({'gan': gan}, batch_stats)

  gradients, terms = {}, {}
  gradients['generator'], (terms['generator'], fake, new_stats) = jax.grad(
    generator_loss, has_aux=True
  )(state.generator.params)
  for name, loss in (('object_discriminator', object_loss), ('image_discriminator', image_loss)):
    if getattr(state, name) is not None:
      gradients[name], (terms[name], new_stats[name]) = jax.grad(loss, has_aux=True)(
        getattr(state, name).params, new_stats[name]
      )
  named = {
    f'{network}/{term}': value for network, group in terms.items() for term, value in group.items()
  }
  return gradients, new_stats, named


def make_train_step(
  config: ConfigDict, vocabulary: Vocabulary, *, batch_norm_frozen: bool = False
) -> Callable[..., tuple[TrainState, Metrics]]:
  """The function `train_step(state, batch, key) -> (state, metrics)`, to be jitted with its state
  donated.

  A non-finite generator loss leaves everything but the step count as it was and counts in
  `skipped`.

  Args:
    batch_norm_frozen: the second phase, after config.freeze_batch_norm_after steps; it starts from
      `train_state.restart_generator_optimizer`.
  """
  networks = build_networks(config, vocabulary)
  optimizer = make_optimizer(config)
  if config.losses.gan_type not in losses.GAN_TYPES:
    raise UserError(
      f'config.losses.gan_type is {config.losses.gan_type!r}, expected one of '
      f'{", ".join(losses.GAN_TYPES)}'
    )

  def train_step(
    state: TrainState, batch: SceneBatch, key: jax.Array
  ) -> tuple[TrainState, Metrics]:
    noise = jax.random.normal(key, (*batch.image.shape[:3], config.model.layout_noise_dim))
    gradients, new_stats, terms = losses_and_gradients(
      networks, state, batch, noise, config.losses, batch_norm_frozen=batch_norm_frozen
    )
    finite = jnp.isfinite(terms['generator/total'])

    def updated(name: str) -> NetworkState:
      old = getattr(state, name)
      updates, opt_state = optimizer.update(gradients[name], old.opt_state, old.params)
      new = NetworkState(optax.apply_updates(old.params, updates), new_stats[name], opt_state)
      return jax.tree.map(
        lambda new_leaf, old_leaf: jnp.where(finite, new_leaf, old_leaf), new, old
      )

    state = state.replace(step=state.step + 1, **{name: updated(name) for name in gradients})
    return state, {**terms, 'skipped': 1 - finite.astype(jnp.float32)}

  return train_step


def make_eval_step(
  config: ConfigDict, vocabulary: Vocabulary
) -> Callable[..., tuple[dict[str, tuple[jax.Array, jax.Array]], jax.Array]]:
  """The function `eval_step(generator, batch, key) -> (sums, boxes)` of validation.

  `sums` has {name: (sum, count)} of the losses, for which pictures are painted from ground-truth
  boxes and masks; `boxes`, float32[B, O, 4], are predicted. Padded examples count nowhere.
  """
  module = build_networks(config, vocabulary).generator

  def eval_step(generator: NetworkState, batch: SceneBatch, key: jax.Array):
    batch = batch.zero_padding()
    noise = jax.random.normal(key, (*batch.image.shape[:3], config.model.layout_noise_dim))
    outputs = module.apply(
      generator.variables,
      batch,
      noise,
      use_boxes=True,
      use_masks=batch.masks is not None,
      train=False,
    )
    counted = {
      'l1_pixel': (
        losses.l1_pixel(outputs.image, pixels.normalize(batch.image), batch.example_mask),
        batch.example_mask,
      ),
      'bbox': (losses.bbox(outputs.boxes, batch.boxes, batch.object_mask), batch.object_mask),
      'predicate': (
        losses.predicate(outputs.predicate_logits, batch.triples, batch.triple_mask),
        batch.triple_mask,
      ),
    }
    if outputs.mask_logits is not None and batch.masks is not None:
      counted['mask'] = (
        losses.mask(outputs.mask_logits, batch.masks, batch.object_mask),
        batch.object_mask,
      )
    return {
      name: (mean * mask.sum(), mask.sum()) for name, (mean, mask) in counted.items()
    }, outputs.boxes

  return eval_step

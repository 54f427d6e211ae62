"""Adversarial training of the generator, as pure functions (paper section 3, "Training").

The order of a step is the published one: one forward pass of the generator; the generator is
updated against the discriminators as they are, then each discriminator on the same generated
images, detached. A discriminator's BatchNorm sees generated images in the generator's update, then
generated and real ones in separate calls in its own update; each call moves its running statistics.

All functions are written for one device. Under jit with a batch that is sharded over a mesh, every
mean and every BatchNorm statistic is over the global batch.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import losses, models
from sg2im_jax.losses import (
  GENERATOR_TERMS,
  IMAGE_DISCRIMINATOR_TERMS,
  OBJECT_DISCRIMINATOR_TERMS,
  DiscriminatorPass,
  GeneratorPass,
  ObjectJudgement,
)
from sg2im_jax.models import pixels
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.training import zero_boxes
from sg2im_jax.training.optimizers import adam
from sg2im_jax.training.state import Metrics, NetworkState, TrainState


class StepGradients(NamedTuple):
  """Everything of a step but the updates.

  Attributes:
    gradients: of the parameters, by network.
    batch_stats: the new running statistics, by network.
    metrics: the loss terms, unweighted, by NETWORK/TERM; NETWORK/total is the weighted sum. And
      `zero_boxes`, see `zero_boxes.coordinates`.
  """

  gradients: dict[str, Any]
  batch_stats: dict[str, Any]
  metrics: Metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialTraining:
  """The networks, the optimizer and the losses of a config, built once.

  Attributes:
    settings: of the run.
    networks: an ablated discriminator is None.
    optimizer: Adam, the same for the three networks, each of which has a state of its own.
  """

  settings: Settings
  networks: models.Networks
  optimizer: optax.GradientTransformation

  @classmethod
  def build(cls, settings: Settings, vocabulary: Vocabulary) -> 'AdversarialTraining':
    """What the settings describe, for a vocabulary of this size."""
    return cls(
      settings=settings,
      networks=models.build_networks(settings, vocabulary),
      optimizer=adam(settings.optimizer, settings.num_steps),
    )

  def init(self) -> TrainState:
    """A freshly initialised state: a function of settings.seed and the networks alone."""
    height, width = self.settings.data.image_size
    mask_size = self.settings.model.mask_size or 1
    # Shapes do not reach the parameters; one object, one triple, two examples for BatchNorm.
    batch = SceneBatch(
      object_class=jnp.zeros((2, 1), jnp.int32),
      object_mask=jnp.ones((2, 1), bool),
      triples=jnp.zeros((2, 1, 3), jnp.int32),
      triple_mask=jnp.ones((2, 1), bool),
      boxes=jnp.zeros((2, 1, 4)),
      masks=jnp.ones((2, 1, mask_size, mask_size), jnp.uint8),
    )
    noise = jnp.zeros((2, height, width, self.settings.model.layout_noise_dim))
    image = jnp.zeros((2, height, width, 3))
    keys = jax.random.split(jax.random.key(self.settings.seed), 3)

    def initialise(module: nn.Module | None, key: jax.Array, *args, **kwargs) -> Any:
      return None if module is None else self.network_state(module.init(key, *args, **kwargs))

    generator, image_discriminator, object_discriminator = self.networks
    return TrainState(
      step=jnp.int32(0),
      generator=initialise(
        generator, keys[0], batch, noise, use_boxes=True, use_masks=True, train=True
      ),
      image_discriminator=initialise(
        image_discriminator, keys[1], image, batch.example_mask, train=True
      ),
      object_discriminator=initialise(
        object_discriminator, keys[2], image, batch.boxes, batch.object_mask, train=True
      ),
    )

  @property
  def generator(self) -> models.Generator:
    """What is sampled from."""
    return self.networks.generator

  def network_state(self, variables: Mapping[str, Any]) -> NetworkState:
    """The state of a network with these variables and a fresh optimizer."""
    params = variables['params']
    return NetworkState(params, variables.get('batch_stats', {}), self.optimizer.init(params))

  def restart_generator_optimizer(self, state: TrainState) -> TrainState:
    """The state with a fresh Adam for the generator, as published when BatchNorm is frozen."""
    fresh = self.optimizer.init(state.generator.params)
    return state.replace(generator=state.generator.replace(opt_state=fresh))

  def random_noise(self, batch: SceneBatch, key: jax.Array) -> jax.Array:
    """Layout noise of N(0, 1) for a batch: float32[B, H, W, layout_noise_dim]."""
    shape = (len(batch.object_mask), *self.settings.data.image_size)
    return jax.random.normal(key, (*shape, self.settings.model.layout_noise_dim))

  def gradients(
    self,
    state: TrainState,
    batch: SceneBatch,
    noise: jax.Array,
    *,
    batch_norm_frozen: bool = False,
  ) -> StepGradients:
    """The losses, gradients and running statistics of one step.

    Args:
      state: before the step.
      batch: scenes with boxes and images.
      noise: see `random_noise`.
      batch_norm_frozen: the generator normalises by its running statistics and keeps them.
    """
    batch = batch.zero_padding()
    settings = self.settings.losses
    assert batch.image is not None
    target = pixels.normalize(batch.image)

    def judge_image(params, batch_stats, image):
      return _apply(
        self.networks.image_discriminator,
        params,
        batch_stats,
        image,
        batch.example_mask,
        train=True,
      )

    def judge_objects(params, batch_stats, image):
      outputs, batch_stats = _apply(
        self.networks.object_discriminator,
        params,
        batch_stats,
        image,
        batch.boxes,
        batch.object_mask,
        train=True,
      )
      return ObjectJudgement(*outputs), batch_stats

    def generator_loss(params):
      new_stats = {}
      outputs, new_stats['generator'] = _apply(
        self.networks.generator,
        params,
        state.generator.batch_stats,
        batch,
        noise,
        use_boxes=True,
        use_masks=batch.masks is not None,
        train=not batch_norm_frozen,
      )
      judgements = {}
      for name, judge in judges.items():
        network = getattr(state, name)
        if network is not None:
          judgements[name], new_stats[name] = judge(
            network.params, network.batch_stats, outputs.image
          )
      forward = GeneratorPass(
        settings=settings,
        batch=batch,
        target=target,
        outputs=outputs,
        objects=judgements.get('object_discriminator'),
        image_scores=judgements.get('image_discriminator'),
      )
      values = losses.evaluate_terms(GENERATOR_TERMS, forward)
      return values['total'], (values, outputs, new_stats)

    def discriminator_loss(params, batch_stats, judge, terms, fake_image):
      fake, batch_stats = judge(params, batch_stats, fake_image)
      real, batch_stats = judge(params, batch_stats, target)
      forward = DiscriminatorPass(settings=settings, batch=batch, real=real, fake=fake)
      values = losses.evaluate_terms(terms, forward)
      return values['total'], (values, batch_stats)

    judges = {'object_discriminator': judge_objects, 'image_discriminator': judge_image}
    terms_of = {
      'object_discriminator': OBJECT_DISCRIMINATOR_TERMS,
      'image_discriminator': IMAGE_DISCRIMINATOR_TERMS,
    }
    gradients, values = {}, {}
    gradients['generator'], (values['generator'], outputs, new_stats) = jax.grad(
      generator_loss, has_aux=True
    )(state.generator.params)
    for name, judge in judges.items():
      network = getattr(state, name)
      if network is not None:
        gradients[name], (values[name], new_stats[name]) = jax.grad(
          discriminator_loss, has_aux=True
        )(network.params, new_stats[name], judge, terms_of[name], outputs.image)
    if 'image_discriminator' in values:
      del values['image_discriminator']['total']  # its one term says the same
    metrics = {
      f'{network}/{term}': value
      for network, terms in values.items()
      for term, value in terms.items()
    }
    metrics['zero_boxes'] = zero_boxes.coordinates(outputs.boxes, batch.object_mask)
    return StepGradients(gradients, new_stats, metrics)

  def train_step(
    self, state: TrainState, batch: SceneBatch, key: jax.Array, *, batch_norm_frozen: bool = False
  ) -> tuple[TrainState, Metrics]:
    """One step of all networks; to be compiled with the state donated.

    If the generator's loss is not finite, everything but the step count stays as it is, running
    statistics too.

    Args:
      state: before the step.
      batch: scenes with boxes and images.
      key: of the layout noise.
      batch_norm_frozen: see `gradients`. This second phase of training starts from
        `restart_generator_optimizer`.

    Returns:
      The state after the step; the metrics of `gradients` and `skipped`, 1 if nothing was updated.
    """
    noise = self.random_noise(batch, key)
    step = self.gradients(state, batch, noise, batch_norm_frozen=batch_norm_frozen)
    finite = jnp.isfinite(step.metrics['generator/total'])

    def updated(name: str) -> NetworkState:
      old = getattr(state, name)
      updates, opt_state = self.optimizer.update(step.gradients[name], old.opt_state, old.params)
      new = NetworkState(
        optax.apply_updates(old.params, updates), step.batch_stats[name], opt_state
      )
      return jax.tree.map(
        lambda new_leaf, old_leaf: jnp.where(finite, new_leaf, old_leaf), new, old
      )

    state = state.replace(step=state.step + 1, **{name: updated(name) for name in step.gradients})
    return state, {**step.metrics, 'skipped': 1 - finite.astype(jnp.float32)}

  def eval_step(
    self, variables: Any, batch: SceneBatch, key: jax.Array
  ) -> tuple[dict[str, tuple[jax.Array, jax.Array]], jax.Array]:
    """Losses and predicted boxes in validation; padding counts nowhere.

    Args:
      variables: see `TrainState.sampling_variables`.
      batch: scenes with boxes and images.
      key: of the layout noise.

    Returns:
      {name: (sum, count)} of the validated loss terms, whose images are generated from ground-truth
      boxes and masks; the predicted boxes, float32[B, O, 4].
    """
    batch = batch.zero_padding()
    assert batch.image is not None
    outputs: Any = self.networks.generator.apply(
      variables,
      batch,
      self.random_noise(batch, key),
      use_boxes=True,
      use_masks=batch.masks is not None,
      train=False,
    )
    forward = GeneratorPass(
      settings=self.settings.losses,
      batch=batch,
      target=pixels.normalize(batch.image),
      outputs=outputs,
    )
    sums = {}
    for term in GENERATOR_TERMS:
      if term.validated and term.applies(forward):
        count = term.entries(batch).sum()
        sums[term.name] = term.value(forward) * count, count
    return sums, outputs.boxes


def _apply(module, params: Any, batch_stats: Any, *args, **kwargs) -> tuple[Any, Any]:
  """Outputs and new running statistics of a module."""
  outputs, updates = module.apply(
    {'params': params, 'batch_stats': batch_stats}, *args, mutable=['batch_stats'], **kwargs
  )
  return outputs, updates.get('batch_stats', {})

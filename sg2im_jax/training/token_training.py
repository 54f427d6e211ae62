"""The training of token models, as pure functions: painter, discriminator and prior in one step.

Encoder and painter paint the scenes of a batch from their own boxes and encoded latents; a share of
the objects from the masks that they grow, as all are in sampling. The discriminator judges real and
painted images in one forward pass, through which two gradients go back: that of the painter's loss
to the image, and that of its own loss to its parameters. The prior learns the tokens of the same
scenes, with several times each.

As for `AdversarialTraining`, all functions are written for one device, and every mean is over the
global batch.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float

from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import losses, models, token_losses
from sg2im_jax.models import SceneJudgement, TokenNoise, pixels
from sg2im_jax.models.attributes import some_attributes
from sg2im_jax.models.object_tokens import boxes_to_tokens, with_image_box
from sg2im_jax.models.token_generator import objects_alone
from sg2im_jax.models.token_prior import expand_times
from sg2im_jax.scene_batch import Array, SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.token_losses import (
  ADVERSARIAL_TERMS,
  DISCRIMINATOR_TERMS,
  PAINTER_TERMS,
  Judgements,
  PainterPass,
)
from sg2im_jax.training.optimizers import adam
from sg2im_jax.training.state import Metrics, NetworkState


class TokenTrainState(flax.struct.PyTreeNode, kw_only=True):
  """The state of the training of a token model.

  Attributes:
    step: int32[], steps done.
    painter: encoder and painter; its statistics are those of the painter and of the latents.
    prior: of tokens.
    discriminator: of images and objects.
    average: exponential moving averages of the parameters of encoder, painter and prior, from
      which is sampled.
  """

  step: jax.Array
  painter: NetworkState
  prior: NetworkState
  discriminator: NetworkState
  average: Any

  @property
  def networks(self) -> dict[str, NetworkState | None]:
    """The networks by their names."""
    names = ('painter', 'prior', 'discriminator')
    return {name: getattr(self, name) for name in names}

  def sampling_variables(self) -> dict[str, Any]:
    """What is sampled with."""
    return {'params': self.average, 'batch_stats': self.painter.batch_stats}

  def to_items(self) -> dict[str, Any]:
    """The items of a checkpoint: `generator`, all that sampling needs, and `training`, the rest."""
    training = {
      'step': self.step,
      'painter': {'params': self.painter.params, 'opt_state': self.painter.opt_state},
      'prior': {'params': self.prior.params, 'opt_state': self.prior.opt_state},
      'discriminator': self.discriminator,
    }
    return {'generator': self.sampling_variables(), 'training': training}

  @classmethod
  def from_items(cls, items: Mapping[str, Any]) -> 'TokenTrainState':
    """The state of which these are the items."""
    generator, training = items['generator'], items['training']
    return cls(
      step=training['step'],
      painter=NetworkState(batch_stats=generator['batch_stats'], **training['painter']),
      prior=NetworkState(batch_stats={}, **training['prior']),
      discriminator=training['discriminator'],
      average=generator['params'],
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorExamples:
  """What the prior learns in a step: `R` times as many rows as the batch has.

  Attributes:
    batch: the graphs; of some, relations and attributes are dropped.
    tokens: x_t.
    times: t; 1 where something is given.
    target: the velocity, x1 - x0.
    weights: of each number's squared error; 0 where it is given, and in padding.
  """

  batch: SceneBatch
  tokens: Float[jax.Array, 'B O K']
  times: Float[jax.Array, 'B O 2']
  target: Float[jax.Array, 'B O K']
  weights: Float[jax.Array, 'B O K']


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenTraining:
  """The networks, the optimizers and the losses of a config, built once.

  Attributes:
    settings: of the run.
    has_attributes: whether the vocabulary has any.
    networks: generator and discriminator.
    painter_optimizer, prior_optimizer, discriminator_optimizer: Adam.
  """

  settings: Settings
  has_attributes: bool
  networks: models.TokenNetworks
  painter_optimizer: optax.GradientTransformation
  prior_optimizer: optax.GradientTransformation
  discriminator_optimizer: optax.GradientTransformation

  @classmethod
  def build(cls, settings: Settings, vocabulary: Vocabulary) -> 'TokenTraining':
    """What the settings describe, for a vocabulary of this size."""
    tokens, optimizer, num_steps = settings.tokens, settings.optimizer, settings.num_steps
    assert tokens is not None
    of_discriminator = optimizer.replace(learning_rate=tokens.discriminator_learning_rate)
    of_prior = optimizer.replace(learning_rate=tokens.prior.learning_rate, b1=0.9, b2=0.999)
    return cls(
      settings=settings,
      has_attributes=vocabulary.num_attributes > 0,
      networks=models.build_token_networks(settings, vocabulary),
      painter_optimizer=adam(optimizer, num_steps),
      prior_optimizer=adam(of_prior, num_steps),
      discriminator_optimizer=adam(of_discriminator, num_steps),
    )

  def init(self) -> TokenTrainState:
    """A freshly initialised state: a function of settings.seed and the networks alone."""
    height, width = self.settings.data.image_size
    num_texels = self.settings.model.mask_size
    # Shapes do not reach the parameters; one object, one triple, two examples for BatchNorm.
    batch = SceneBatch(
      object_class=jnp.zeros((2, 1), jnp.int32),
      object_mask=jnp.ones((2, 1), bool),
      triples=jnp.zeros((2, 1, 3), jnp.int32),
      triple_mask=jnp.ones((2, 1), bool),
      boxes=jnp.zeros((2, 1, 4)),
      masks=jnp.ones((2, 1, num_texels, num_texels), jnp.uint8),
      image=jnp.zeros((2, height, width, 3)),
      attributes=jnp.zeros((2, 1, 1), jnp.int32) if self.has_attributes else None,
    )
    key = jax.random.key(self.settings.seed)
    of_generator, of_discriminator = jax.random.split(key)
    generator, discriminator = self.networks
    noise = self.random_noise(batch, key)
    variables = generator.init(of_generator, batch, noise, method='everything')
    params = variables['params']
    painter = {name: params[name] for name in ('encoder', 'painter')}
    prior = {'prior': params['prior']}
    judging = discriminator.init(
      of_discriminator,
      batch.image,
      batch.object_class,
      batch.boxes,
      batch.object_mask,
      train=True,
    )
    return TokenTrainState(
      step=jnp.int32(0),
      painter=NetworkState(
        painter, variables.get('batch_stats', {}), self.painter_optimizer.init(painter)
      ),
      prior=NetworkState(prior, {}, self.prior_optimizer.init(prior)),
      discriminator=NetworkState(
        judging['params'],
        judging['batch_stats'],
        self.discriminator_optimizer.init(judging['params']),
      ),
      average=jax.tree.map(jnp.copy, {**painter, **prior}),
    )

  @property
  def generator(self) -> models.TokenGenerator:
    """What is sampled from."""
    return self.networks.generator

  def restart_generator_optimizer(self, state: TokenTrainState) -> TokenTrainState:
    """The state with a fresh Adam for the painter."""
    fresh = self.painter_optimizer.init(state.painter.params)
    return state.replace(painter=state.painter.replace(opt_state=fresh))

  def random_noise(self, batch: SceneBatch, key: jax.Array) -> TokenNoise:
    """The noise of a batch of samples."""
    num_rows, num_slots = batch.object_mask.shape
    keys = jax.random.split(key, num_rows)
    return jax.vmap(lambda key: self.generator.random_noise(key, num_slots))(keys)

  def train_step(
    self,
    state: TokenTrainState,
    batch: SceneBatch,
    key: jax.Array,
    *,
    batch_norm_frozen: bool = False,
  ) -> tuple[TokenTrainState, Metrics]:
    """One step of all networks; to be compiled with the state donated.

    If a loss is not finite, everything but the step count stays as it is, running statistics too.

    Args:
      state: before the step.
      batch: scenes with boxes and images.
      key: of everything random.
      batch_norm_frozen: the painter normalises by its running statistics and keeps them.

    Returns:
      The state after the step; the loss terms, unweighted, by NETWORK/TERM, NETWORK/total being
      their weighted sum; `skipped`, 1 if nothing was updated.
    """
    batch = batch.zero_padding()
    assert batch.image is not None
    target = pixels.normalize(batch.image)
    keys = jax.random.split(key, 3)
    weights = self.settings.losses
    tokens = self.settings.tokens
    assert tokens is not None
    attributed = some_attributes(batch, keys[2], tokens.dropped_attributes)

    def paint(params):
      painted, statistics, latents = self._paint(
        params, state.painter.batch_stats, attributed, target, keys[0], train=not batch_norm_frozen
      )
      values = losses.evaluate_terms(PAINTER_TERMS, painted)
      return (values['total'], painted.painting.image), (values, statistics, latents)

    (_, image), to_painter, (values, statistics, latents) = jax.vjp(
      paint, state.painter.params, has_aux=True
    )
    (real, fake), to_judged, judging_statistics = jax.vjp(
      lambda params, image: self._judge(
        params, state.discriminator.batch_stats, batch, target, image
      ),
      state.discriminator.params,
      image,
      has_aux=True,
    )

    def loss_of(terms):
      def loss(real, fake):
        forward = Judgements(settings=weights, batch=batch, real=real, fake=fake)
        found = losses.evaluate_terms(terms, forward)
        return found['total'], found

      gradients, found = jax.grad(loss, argnums=(0, 1), has_aux=True)(real, fake)
      return gradients, found

    of_image, adversarial = loss_of(ADVERSARIAL_TERMS)
    of_judging, judged = loss_of(DISCRIMINATOR_TERMS)
    _, image_gradient = to_judged(of_image)
    judging_gradient, _ = to_judged(of_judging)
    (painter_gradient,) = to_painter((jnp.ones(()), image_gradient))

    examples = self._prior_examples(batch, latents, statistics, keys[1])

    def prior_loss(params):
      velocity: Any = self.generator.apply(
        {'params': params, 'batch_stats': statistics},
        examples.batch,
        examples.tokens,
        examples.times,
        method='velocity',
      )
      return token_losses.flow_matching(velocity, examples.target, examples.weights)

    flow, prior_gradient = jax.value_and_grad(prior_loss)(state.prior.params)

    total = values['total'] + adversarial['total']
    finite = jnp.isfinite(total) & jnp.isfinite(flow) & jnp.isfinite(judged['total'])
    new = {
      'painter': _updated(state.painter, painter_gradient, statistics, self.painter_optimizer),
      'prior': _updated(state.prior, prior_gradient, {}, self.prior_optimizer),
      'discriminator': _updated(
        state.discriminator, judging_gradient, judging_statistics, self.discriminator_optimizer
      ),
    }
    new['average'] = self._moved_average(state.average, new['painter'].params, new['prior'].params)
    old = {name: getattr(state, name) for name in new}
    kept = jax.tree.map(lambda ours, before: jnp.where(finite, ours, before), new, old)
    metrics = {
      **{f'generator/{name}': value for name, value in {**values, **adversarial}.items()},
      'generator/total': total,
      **{f'discriminator/{name}': value for name, value in judged.items()},
      'prior/flow_matching': flow,
      'skipped': 1 - finite.astype(jnp.float32),
    }
    return state.replace(step=state.step + 1, **kept), metrics

  def eval_step(
    self, variables: Any, batch: SceneBatch, key: jax.Array
  ) -> tuple[dict[str, tuple[jax.Array, jax.Array]], jax.Array]:
    """Losses and sampled boxes in validation; padding counts nowhere.

    Args:
      variables: see `TokenTrainState.sampling_variables`.
      batch: scenes with boxes and images.
      key: of everything random.

    Returns:
      {name: (sum, count)} of the validated loss terms, of images that are painted from ground-truth
      boxes and masks and encoded latents; the boxes of a sample, float32[B, O, 4]. No attributes
      are asked for, as in evaluation.
    """
    batch = batch.zero_padding().replace(attributes=None)
    assert batch.image is not None
    target = pixels.normalize(batch.image)
    painted, _, _ = self._paint(
      variables['params'], variables['batch_stats'], batch, target, key, train=False
    )
    sums = {}
    for term in PAINTER_TERMS:
      if term.applies(painted):
        count = term.entries(batch).sum()
        sums[term.name] = term.value(painted) * count, count
    noise = self.random_noise(batch, key)
    boxes, _ = self.generator.apply(
      variables,
      batch,
      noise.tokens,
      use_boxes=False,
      use_latents=False,
      method='sample_tokens',
    )
    return sums, boxes

  def _paint(
    self,
    params: Any,
    batch_stats: Any,
    batch: SceneBatch,
    target: jax.Array,
    key: jax.Array,
    *,
    train: bool,
  ) -> tuple[PainterPass, Any, models.LatentDistribution]:
    """Encodes and paints; also returns the new statistics and the distribution of latents.

    Outside of training, latents are the means and masks those of the data.
    """
    tokens = self.settings.tokens
    assert tokens is not None
    keys = jax.random.split(key, 4)
    variables = {'params': params, 'batch_stats': batch_stats}
    generator: Any = self.generator
    distribution = generator.apply(variables, target, batch, method='encode')
    latents = distribution.sample(keys[0]) if train else distribution.mean
    use_masks: bool | Bool[jax.Array, 'B 1'] = batch.masks is not None
    if train and batch.masks is not None:
      shape = (len(batch.object_mask), 1)
      use_masks = jax.random.bernoulli(keys[1], 1 - tokens.painted_from_own_masks, shape)
    assert batch.boxes is not None
    boxes = jnp.asarray(batch.boxes)
    if train:
      boxes = _jittered(boxes, keys[3], tokens.box_jitter)
    painting, updates = generator.apply(
      variables,
      batch,
      boxes,
      latents,
      self.random_noise(batch, keys[2]).pixels,
      use_masks=use_masks,
      train=train,
      mutable=['batch_stats'],
      method='paint',
    )
    _, moments = generator.apply(
      variables,
      jax.lax.stop_gradient(latents),
      batch.object_mask,
      update=train,
      mutable=['batch_stats'],
      method='scaled_latents',
    )
    statistics = {**batch_stats, **updates['batch_stats']}
    statistics['latent_moments'] = moments['batch_stats']['latent_moments']
    painted = PainterPass(
      settings=self.settings.losses,
      batch=batch,
      target=target,
      latents=distribution,
      painting=painting,
    )
    return painted, statistics, distribution

  def _judge(
    self,
    params: Any,
    batch_stats: Any,
    batch: SceneBatch,
    target: jax.Array,
    image: jax.Array,
  ) -> tuple[tuple[SceneJudgement, SceneJudgement], Any]:
    """The discriminator's judgements of real and of painted images, and its new statistics."""

    def twice(one: jax.Array, other: jax.Array) -> jax.Array:
      # Row by row, so that each device keeps its own rows.
      return jnp.stack([one, other], 1).reshape(-1, *one.shape[1:])

    judgement, updates = self.networks.discriminator.apply(
      {'params': params, 'batch_stats': batch_stats},
      twice(target, image),
      *(
        twice(jnp.asarray(part), jnp.asarray(part))
        for part in (batch.object_class, batch.boxes, batch.object_mask)
      ),
      train=True,
      mutable=['batch_stats'],
    )
    pairs = jax.tree.map(lambda part: part.reshape(-1, 2, *part.shape[1:]), judgement)
    real = jax.tree.map(lambda part: part[:, 0], pairs)
    fake = jax.tree.map(lambda part: part[:, 1], pairs)
    return (real, fake), updates['batch_stats']

  def _prior_examples(
    self, batch: SceneBatch, latents: models.LatentDistribution, statistics: Any, key: jax.Array
  ) -> PriorExamples:
    """Tokens of the batch's scenes at random times, with random parts of them given."""
    tokens = self.settings.tokens
    assert tokens is not None and batch.boxes is not None
    prior, repeats = tokens.prior, tokens.prior.scenes_per_image
    keys = jax.random.split(key, 6)

    def repeated(part: Any) -> jax.Array:
      return jnp.repeat(jnp.asarray(part), repeats, axis=0)  # keeps rows on their device

    graphs = SceneBatch(
      object_class=repeated(batch.object_class),
      object_mask=repeated(batch.object_mask),
      triples=repeated(batch.triples),
      triple_mask=repeated(batch.triple_mask),
      attributes=None if batch.attributes is None else repeated(batch.attributes),
    )
    latents = jax.lax.stop_gradient(jax.tree.map(repeated, latents))
    sampled = self._scaled(statistics, latents.sample(keys[0]), graphs.object_mask)
    boxes = boxes_to_tokens(with_image_box(repeated(batch.boxes)))
    target = jnp.concatenate([boxes, sampled], -1)
    rows, slots = graphs.object_mask.shape

    # Of some scenes a random share of boxes and of latents is given; of all the box of __image__.
    shares = jax.random.uniform(keys[1], (rows, 1, 2))
    shares *= jax.random.bernoulli(keys[2], prior.pinned_scenes, (rows, 1, 1))
    given = jax.random.uniform(keys[3], (rows, slots, 2)) < shares
    given = given.at[:, 0, 0].set(True)
    keys_of_noise = jax.random.split(keys[4], 3)
    # Logit-normal: most is to be learned between the ends (Esser et al., ICML 2024).
    times = nn.sigmoid(jax.random.normal(keys_of_noise[0], (rows, 1, 1)))
    times = jnp.where(given, 1.0, times)
    noise = jax.random.normal(keys_of_noise[1], target.shape)
    at = expand_times(times, tokens.latent_dim)

    dropped = jax.random.bernoulli(keys[5], prior.dropped_relations, (rows, 1))
    bare = objects_alone(graphs)
    graphs = some_attributes(graphs, keys_of_noise[2], prior.dropped_attributes)
    graphs = graphs.replace(triple_mask=jnp.where(dropped, bare.triple_mask, graphs.triple_mask))
    if graphs.attributes is not None:
      graphs = graphs.replace(attributes=jnp.where(dropped[..., None], 0, graphs.attributes))
    real = jnp.asarray(graphs.object_mask)[..., None] & ~given
    of_parts = real * jnp.array([prior.box_weight, prior.latent_weight])
    return PriorExamples(
      batch=graphs,
      tokens=(1 - at) * noise + at * target,
      times=times,
      target=target - noise,
      weights=expand_times(of_parts, tokens.latent_dim),
    )

  def _scaled(self, statistics: Any, latents: jax.Array, object_mask: Array) -> jax.Array:
    """Latents as the prior has them."""
    generator: Any = self.generator
    return generator.apply(
      {'batch_stats': statistics}, latents, object_mask, update=False, method='scaled_latents'
    )

  def _moved_average(self, average: Any, painter: Any, prior: Any) -> Any:
    tokens = self.settings.tokens
    assert tokens is not None

    def moved(old: Any, new: Any, decay: float) -> Any:
      return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, old, new)

    return {
      **{name: moved(average[name], params, tokens.ema_decay) for name, params in painter.items()},
      'prior': moved(average['prior'], prior['prior'], tokens.prior.ema_decay),
    }


def _jittered(
  boxes: Float[jax.Array, 'B O 4'], key: jax.Array, deviation: float
) -> Float[jax.Array, 'B O 4']:
  """Boxes to train the painter with: in half of the images, those of grounds are moved.

  Sampled grounds and skies do not meet exactly, so a painter has to see such seams in training. A
  ground is what has two edges or more at the frame; these stay, as sampled ones do.
  """
  of_noise, of_rows = jax.random.split(key)
  moved = boxes + deviation * jax.random.normal(of_noise, boxes.shape)
  at_frame = (boxes <= 0) | (boxes >= 1)
  is_moved = (at_frame.sum(-1, keepdims=True) >= 2) & ~at_frame
  is_moved &= jax.random.bernoulli(of_rows, 0.5, (len(boxes), 1, 1))
  return jnp.where(is_moved, jnp.clip(moved, 0, 1), boxes)


def _updated(
  network: NetworkState, gradient: Any, batch_stats: Any, optimizer: optax.GradientTransformation
) -> NetworkState:
  updates, opt_state = optimizer.update(gradient, network.opt_state, network.params)
  return NetworkState(optax.apply_updates(network.params, updates), batch_stats, opt_state)

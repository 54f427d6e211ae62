"""The losses of token models: functions, then a record a term, as in `losses`.

The adversarial losses are hinge losses (Lim and Ye, "Geometric GAN", 2017).
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.losses import LossSettings, LossTerm, l1_pixel, mask, masked_mean
from sg2im_jax.models import LatentDistribution, Painting, SceneJudgement
from sg2im_jax.scene_batch import Array, SceneBatch


def divergence(
  latents: LatentDistribution, object_mask: Bool[Array, 'B O']
) -> Float[jax.Array, '']:
  """Mean KL divergence of an object's latent from N(0, 1), in nats."""
  return masked_mean(latents.divergence(), object_mask)


def l1_gradient(
  image: Float[Array, 'B H W 3'], target: Float[Array, 'B H W 3'], example_mask: Bool[Array, ' B']
) -> Float[jax.Array, '']:
  """Mean absolute error of the differences between neighbouring pixels, down plus across.

  Mathieu et al., "Deep multi-scale video prediction beyond mean square error", ICLR 2016. It keeps
  edges sharp and flat surfaces flat.
  """
  error = jnp.asarray(image) - target
  down, across = jnp.abs(jnp.diff(error, axis=1)), jnp.abs(jnp.diff(error, axis=2))
  return masked_mean(down, example_mask) + masked_mean(across, example_mask)


def hinge_generator(
  fake_scores: Float[Array, '...'], mask: Bool[Array, '...']
) -> Float[jax.Array, '']:
  """The generator's hinge loss; `mask` is True where a score is not of padding."""
  return -masked_mean(fake_scores, mask)


def hinge_discriminator(
  real_scores: Float[Array, '...'], fake_scores: Float[Array, '...'], mask: Bool[Array, '...']
) -> Float[jax.Array, '']:
  """The discriminator's hinge loss."""
  real, fake = nn.relu(1 - real_scores), nn.relu(1 + fake_scores)
  return masked_mean(real, mask) + masked_mean(fake, mask)


def feature_matching(
  real: SceneJudgement, fake: SceneJudgement, batch: SceneBatch
) -> Float[jax.Array, '']:
  """Mean absolute difference of the discriminator's features: over images, plus over objects."""

  def distance(one: Array, other: Array, mask: Array) -> jax.Array:
    return masked_mean(jnp.abs(one - jax.lax.stop_gradient(other)), jnp.asarray(mask))

  layers = [
    distance(one, other, batch.example_mask)
    for one, other in zip(fake.image_features, real.image_features, strict=True)
  ]
  objects = distance(fake.object_features, real.object_features, batch.object_mask)
  return sum(layers, jnp.zeros(())) / len(layers) + objects


def flow_matching(
  velocity: Float[Array, 'B O K'],
  target: Float[Array, 'B O K'],
  weights: Float[Array, 'B O K'],
) -> Float[jax.Array, '']:
  """Weighted squared error of the velocity, per object that has any weight."""
  count = (jnp.asarray(weights).max(-1) > 0).sum()
  return (weights * jnp.square(velocity - target)).sum() / jnp.maximum(count, 1) / target.shape[-1]


class PainterPass(flax.struct.PyTreeNode, kw_only=True):
  """One pass of encoder and painter, and what its loss is computed from.

  Attributes:
    settings: config.losses.
    batch: the scenes, with zeros in the padding.
    target: their images, normalised.
    latents: of the encoder.
    painting: of the painter.
  """

  settings: LossSettings = flax.struct.field(pytree_node=False)
  batch: SceneBatch
  target: Float[Array, 'B H W 3']
  latents: LatentDistribution
  painting: Painting


class Judgements(flax.struct.PyTreeNode, kw_only=True):
  """What the discriminator says of the same scenes, real and painted.

  Attributes:
    settings: config.losses.
    batch: the scenes, with zeros in the padding.
    real, fake: its judgements.
  """

  settings: LossSettings = flax.struct.field(pytree_node=False)
  batch: SceneBatch
  real: SceneJudgement
  fake: SceneJudgement


def _examples(batch: SceneBatch) -> jax.Array:
  return jnp.asarray(batch.example_mask)


def _objects(batch: SceneBatch) -> jax.Array:
  return jnp.asarray(batch.object_mask)


# Of the generator, from a `PainterPass`.
PAINTER_TERMS = (
  LossTerm(
    name='l1_pixel',
    value=lambda f: l1_pixel(f.painting.image, f.target, f.batch.example_mask),
    weight=lambda settings: settings.l1_pixel_weight,
    entries=_examples,
    validated=True,
    label='pixel',
  ),
  LossTerm(
    name='composite',
    value=lambda f: l1_pixel(f.painting.composite, f.target, f.batch.example_mask),
    weight=lambda settings: settings.composite_weight,
    entries=_examples,
    validated=True,
  ),
  LossTerm(
    name='l1_gradient',
    value=lambda f: l1_gradient(f.painting.image, f.target, f.batch.example_mask),
    weight=lambda settings: settings.l1_gradient_weight,
    entries=_examples,
    validated=True,
  ),
  LossTerm(
    name='mask',
    value=lambda f: mask(f.painting.mask_logits, f.batch.masks, f.batch.object_mask),
    weight=lambda settings: settings.mask_weight,
    entries=_objects,
    applies=lambda f: f.batch.masks is not None,
    validated=True,
  ),
  LossTerm(
    name='divergence',
    value=lambda f: divergence(f.latents, f.batch.object_mask),
    weight=lambda settings: settings.divergence_weight,
    entries=_objects,
    validated=True,
  ),
)

# Of the generator, from `Judgements`.
ADVERSARIAL_TERMS = (
  LossTerm(
    name='object_gan',
    value=lambda f: hinge_generator(f.fake.object_scores, f.batch.object_mask),
    weight=lambda settings: settings.gan_weight * settings.object_gan_weight,
    entries=_objects,
  ),
  LossTerm(
    name='image_gan',
    value=lambda f: hinge_generator(f.fake.image_scores, f.batch.example_mask),
    weight=lambda settings: settings.gan_weight * settings.image_gan_weight,
    entries=_examples,
  ),
  LossTerm(
    name='feature_matching',
    value=lambda f: feature_matching(f.real, f.fake, f.batch),
    weight=lambda settings: settings.feature_matching_weight,
    entries=_examples,
  ),
)

# Of the discriminator, from `Judgements`.
DISCRIMINATOR_TERMS = (
  LossTerm(
    name='object_gan',
    value=lambda f: hinge_discriminator(
      f.real.object_scores, f.fake.object_scores, f.batch.object_mask
    ),
    entries=_objects,
  ),
  LossTerm(
    name='image_gan',
    value=lambda f: hinge_discriminator(
      f.real.image_scores, f.fake.image_scores, f.batch.example_mask
    ),
    entries=_examples,
  ),
)

# What the line of progress shows besides `losses.PROGRESS_LABELS`, by name in the log.
PROGRESS_LABELS = {
  'generator/feature_matching': 'features',
  'discriminator/total': 'D',
  'prior/flow_matching': 'prior',
}

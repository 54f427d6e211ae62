"""The losses of training: one pure function a term, then a record a term (paper section 3).

To add a term to the generator's loss, write its function, its weight in `LossSettings` and in
configs/coco64.py, and its record in `GENERATOR_TERMS`. Everything else (training, validation, the
log) goes by the records.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int, Real

from data_pipelines.settings.section import Section
from sg2im_jax.models import GeneratorOutputs
from sg2im_jax.scene_batch import Array, SceneBatch

GanType = Literal['gan', 'lsgan', 'wgan']


class LossSettings(Section):
  """config.losses: the kind of the adversarial losses, and the weights of the generator's terms.

  Attributes:
    gan_type: gan (cross-entropy on logits), lsgan (squared error of the sigmoid), wgan (difference
      of means; weights are never clipped: the published code has a flag for it and ignores it).
    gan_weight: multiplies both adversarial weights that follow it.
    composite_weight, l1_gradient_weight, divergence_weight, feature_matching_weight: of token
      models alone (see `token_losses`).
  """

  gan_type: GanType
  l1_pixel_weight: float
  bbox_weight: float
  mask_weight: float
  predicate_weight: float
  gan_weight: float
  image_gan_weight: float
  object_gan_weight: float
  auxiliary_class_weight: float
  composite_weight: float
  l1_gradient_weight: float
  divergence_weight: float
  feature_matching_weight: float


def masked_mean(values: Float[Array, '...'], mask: Bool[Array, '...']) -> Float[jax.Array, '']:
  """Mean of values[mask.shape + ...] over the entries whose mask is True; 0 if there is none."""
  mask = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
  count = jnp.broadcast_to(mask, values.shape).sum()
  return jnp.where(mask, values, 0).sum() / jnp.maximum(count, 1)


def l1_pixel(
  image: Float[Array, 'B H W 3'], target: Float[Array, 'B H W 3'], example_mask: Bool[Array, ' B']
) -> Float[jax.Array, '']:
  """Mean absolute error of the pixels."""
  return masked_mean(jnp.abs(image - target), example_mask)


def bbox(
  boxes: Float[Array, 'B O 4'], target: Float[Array, 'B O 4'], object_mask: Bool[Array, 'B O']
) -> Float[jax.Array, '']:
  """Mean squared error of the four coordinates; `__image__` counts, too."""
  return masked_mean(jnp.square(boxes - target), object_mask)


def mask(
  mask_logits: Float[Array, 'B O M M'],
  target: Real[Array, 'B O M M'],
  object_mask: Bool[Array, 'B O'],
) -> Float[jax.Array, '']:
  """Binary cross-entropy of the texels."""
  target = jnp.asarray(target, mask_logits.dtype)
  return masked_mean(optax.sigmoid_binary_cross_entropy(mask_logits, target), object_mask)


def predicate(
  predicate_logits: Float[Array, 'B T P'],
  triples: Int[Array, 'B T 3'],
  triple_mask: Bool[Array, 'B T'],
) -> Float[jax.Array, '']:
  """Cross-entropy of the auxiliary relation head."""
  return masked_mean(
    optax.softmax_cross_entropy_with_integer_labels(predicate_logits, triples[..., 1]), triple_mask
  )


def object_class(
  class_logits: Float[Array, 'B O V'], classes: Int[Array, 'B O'], object_mask: Bool[Array, 'B O']
) -> Float[jax.Array, '']:
  """Cross-entropy of the classes of objects."""
  return masked_mean(
    optax.softmax_cross_entropy_with_integer_labels(class_logits, classes), object_mask
  )


def generator_gan(
  gan_type: GanType, fake_scores: Float[Array, '...'], mask: Bool[Array, '...']
) -> Float[jax.Array, '']:
  """The generator's adversarial loss.

  Args:
    gan_type: see `LossSettings`.
    fake_scores: [B, ...], the discriminator's scores of generated images or objects.
    mask: [B] or [B, O], True where a score is not of padding.
  """
  return masked_mean(_gan_distance(gan_type, fake_scores, 1.0), mask)


def discriminator_gan(
  gan_type: GanType,
  real_scores: Float[Array, '...'],
  fake_scores: Float[Array, '...'],
  mask: Bool[Array, '...'],
) -> Float[jax.Array, '']:
  """The discriminator's adversarial loss; arguments as for `generator_gan`."""
  return masked_mean(_gan_distance(gan_type, real_scores, 1.0), mask) + masked_mean(
    _gan_distance(gan_type, fake_scores, 0.0), mask
  )


def _gan_distance(gan_type: GanType, scores: Array, target: float) -> jax.Array:
  """How far each score is from `target`, 1 for real and 0 for fake."""
  if gan_type == 'gan':
    return optax.sigmoid_binary_cross_entropy(scores, jnp.full_like(scores, target))
  if gan_type == 'lsgan':
    return jnp.square(jax.nn.sigmoid(scores) - target)
  return jnp.asarray(scores) * (1 - 2 * target)


class ObjectJudgement(flax.struct.PyTreeNode):
  """The object discriminator's output."""

  scores: Float[Array, 'B O']
  class_logits: Float[Array, 'B O V']


class GeneratorPass(flax.struct.PyTreeNode):
  """One forward pass of the generator, and what its loss is computed from.

  Attributes:
    settings: config.losses.
    batch: the scenes, with zeros in the padding.
    target: their images, normalised.
    outputs: of the generator.
    objects: the object discriminator's judgement of the generated images; None without one, and in
      validation.
    image_scores: likewise of the image discriminator.
  """

  settings: LossSettings = flax.struct.field(pytree_node=False)
  batch: SceneBatch
  target: Float[Array, 'B H W 3']
  outputs: GeneratorOutputs
  objects: ObjectJudgement | None = None
  image_scores: Float[Array, 'B ...'] | None = None


class DiscriminatorPass(flax.struct.PyTreeNode):
  """One discriminator's output for real images and for generated ones.

  Attributes:
    settings: config.losses.
    batch: the scenes, with zeros in the padding.
    real, fake: the scores of an image discriminator, or an `ObjectJudgement`.
  """

  settings: LossSettings = flax.struct.field(pytree_node=False)
  batch: SceneBatch
  real: Any
  fake: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossTerm:
  """One term of a network's loss.

  Attributes:
    name: in the log, after the network's name and a slash.
    value: from a `GeneratorPass` or a `DiscriminatorPass` to a scalar, a mean over real entries.
    weight: its factor in the network's loss.
    entries: what the mean is taken over: bool[B], bool[B, O] or bool[B, T] of the batch.
    applies: whether the pass has what the term needs; the shapes alone decide.
    validated: computed in validation, too, on images generated from ground-truth boxes and masks.
    label: what the line of progress calls it; None leaves it out.
  """

  name: str
  value: Callable[[Any], jax.Array]
  weight: Callable[[LossSettings], float] = lambda settings: 1.0
  entries: Callable[[SceneBatch], jax.Array]
  applies: Callable[[Any], bool] = lambda forward: True
  validated: bool = False
  label: str | None = None


def _examples(batch: SceneBatch) -> jax.Array:
  return jnp.asarray(batch.example_mask)


def _objects(batch: SceneBatch) -> jax.Array:
  return jnp.asarray(batch.object_mask)


def _triples(batch: SceneBatch) -> jax.Array:
  return jnp.asarray(batch.triple_mask)


GENERATOR_TERMS = (
  LossTerm(
    name='l1_pixel',
    value=lambda f: l1_pixel(f.outputs.image, f.target, f.batch.example_mask),
    weight=lambda settings: settings.l1_pixel_weight,
    entries=_examples,
    validated=True,
    label='pixel',
  ),
  LossTerm(
    name='bbox',
    value=lambda f: bbox(f.outputs.boxes, f.batch.boxes, f.batch.object_mask),
    weight=lambda settings: settings.bbox_weight,
    entries=_objects,
    validated=True,
    label='box',
  ),
  LossTerm(
    name='predicate',
    value=lambda f: predicate(f.outputs.predicate_logits, f.batch.triples, f.batch.triple_mask),
    weight=lambda settings: settings.predicate_weight,
    entries=_triples,
    validated=True,
  ),
  LossTerm(
    name='mask',
    value=lambda f: mask(f.outputs.mask_logits, f.batch.masks, f.batch.object_mask),
    weight=lambda settings: settings.mask_weight,
    entries=_objects,
    applies=lambda f: f.outputs.mask_logits is not None and f.batch.masks is not None,
    validated=True,
  ),
  LossTerm(
    name='object_gan',
    value=lambda f: generator_gan(f.settings.gan_type, f.objects.scores, f.batch.object_mask),
    weight=lambda settings: settings.gan_weight * settings.object_gan_weight,
    entries=_objects,
    applies=lambda f: f.objects is not None,
  ),
  LossTerm(
    name='auxiliary_class',
    value=lambda f: object_class(f.objects.class_logits, f.batch.object_class, f.batch.object_mask),
    weight=lambda settings: settings.auxiliary_class_weight,
    entries=_objects,
    applies=lambda f: f.objects is not None,
  ),
  LossTerm(
    name='image_gan',
    value=lambda f: generator_gan(f.settings.gan_type, f.image_scores, f.batch.example_mask),
    weight=lambda settings: settings.gan_weight * settings.image_gan_weight,
    entries=_examples,
    applies=lambda f: f.image_scores is not None,
  ),
)

OBJECT_DISCRIMINATOR_TERMS = (
  LossTerm(
    name='gan',
    value=lambda f: discriminator_gan(
      f.settings.gan_type, f.real.scores, f.fake.scores, f.batch.object_mask
    ),
    entries=_objects,
  ),
  LossTerm(
    name='class_real',
    value=lambda f: object_class(f.real.class_logits, f.batch.object_class, f.batch.object_mask),
    entries=_objects,
  ),
  LossTerm(
    name='class_fake',
    value=lambda f: object_class(f.fake.class_logits, f.batch.object_class, f.batch.object_mask),
    entries=_objects,
  ),
)

IMAGE_DISCRIMINATOR_TERMS = (
  LossTerm(
    name='gan',
    value=lambda f: discriminator_gan(f.settings.gan_type, f.real, f.fake, f.batch.example_mask),
    entries=_examples,
    label='image D',
  ),
)


def evaluate_terms(terms: Sequence[LossTerm], forward: Any) -> dict[str, jax.Array]:
  """The value of each term that applies, by name, and their weighted sum as `total`."""
  values = {term.name: term.value(forward) for term in terms if term.applies(forward)}
  weights = {term.name: term.weight(forward.settings) for term in terms}
  total = sum((weights[name] * value for name, value in values.items()), jnp.zeros(()))
  return {**values, 'total': total}


# What the line of progress shows, by name in the log.
PROGRESS_LABELS = {
  'generator/total': 'loss',
  **{f'generator/{term.name}': term.label for term in GENERATOR_TERMS if term.label},
  **{
    f'image_discriminator/{term.name}': term.label
    for term in IMAGE_DISCRIMINATOR_TERMS
    if term.label
  },
  'object_discriminator/total': 'object D',
}

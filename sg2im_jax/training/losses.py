"""One pure function a loss term, each a mean over real entries only (paper section 3, "Training")."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean of float32[mask.shape + ...] over the entries whose mask is True; 0 where there is none."""
  mask = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
  count = jnp.broadcast_to(mask, values.shape).sum()
  return jnp.where(mask, values, 0).sum() / jnp.maximum(count, 1)


def l1_pixel(image: jax.Array, target: jax.Array, example_mask: jax.Array) -> jax.Array:
  """Mean |image - target|: float32[B, H, W, 3] twice, bool[B]."""
  return masked_mean(jnp.abs(image - target), example_mask)


def bbox(boxes: jax.Array, target: jax.Array, object_mask: jax.Array) -> jax.Array:
  """Mean squared error of the four coordinates: float32[B, O, 4] twice, bool[B, O]. `__image__`
  counts too.
  """
  return masked_mean(jnp.square(boxes - target), object_mask)


def mask(mask_logits: jax.Array, target: jax.Array, object_mask: jax.Array) -> jax.Array:
  """Binary cross-entropy a texel: float32[B, O, M, M], uint8[B, O, M, M], bool[B, O]."""
  return masked_mean(
    optax.sigmoid_binary_cross_entropy(mask_logits, target.astype(mask_logits.dtype)), object_mask
  )


def predicate(predicate_logits: jax.Array, triples: jax.Array, triple_mask: jax.Array) -> jax.Array:
  """Cross-entropy of the auxiliary relation head: float32[B, T, P], int32[B, T, 3], bool[B, T]."""
  return masked_mean(
    optax.softmax_cross_entropy_with_integer_labels(predicate_logits, triples[..., 1]), triple_mask
  )


def object_class(class_logits: jax.Array, classes: jax.Array, object_mask: jax.Array) -> jax.Array:
  """Cross-entropy of the object discriminator's class: float32[B, O, V], int32[B, O], bool[B, O]."""
  return masked_mean(
    optax.softmax_cross_entropy_with_integer_labels(class_logits, classes), object_mask
  )


def generator_gan(gan_type: str, fake_scores: jax.Array, mask: jax.Array) -> jax.Array:
  """What a generator loses to a discriminator.

  Args:
    gan_type: gan (cross-entropy on logits) | lsgan (squared error of the sigmoid) | wgan
      (difference of means; weights are never clipped: the published code has a flag for that and
      does nothing with it).
    fake_scores: float32[B, ...].
    mask: bool[B] or bool[B, O], True where a score is of something real.
  """
  return masked_mean(_distance_to(gan_type, fake_scores, real=True), mask)


def discriminator_gan(
  gan_type: str, real_scores: jax.Array, fake_scores: jax.Array, mask: jax.Array
) -> jax.Array:
  """What a discriminator loses by its scores of real and of fake; arguments as for `generator_gan`."""
  return masked_mean(_distance_to(gan_type, real_scores, real=True), mask) + masked_mean(
    _distance_to(gan_type, fake_scores, real=False), mask
  )


_DISTANCES: dict[str, Callable[[jax.Array, float], jax.Array]] = {
  'gan': lambda scores, target: optax.sigmoid_binary_cross_entropy(
    scores, jnp.full_like(scores, target)
  ),
  'lsgan': lambda scores, target: jnp.square(jax.nn.sigmoid(scores) - target),
  'wgan': lambda scores, target: scores * (1 - 2 * target),
}
GAN_TYPES = tuple(_DISTANCES)


def _distance_to(gan_type: str, scores: jax.Array, *, real: bool) -> jax.Array:
  return _DISTANCES[gan_type](scores, float(real))

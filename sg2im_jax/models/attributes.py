"""Attributes of objects as vectors: what a graph says of an object beside its class."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from sg2im_jax.models import layers
from sg2im_jax.scene_batch import Array, SceneBatch


class AttributeEmbedding(nn.Module, kw_only=True):
  """The sum of the vectors of each object's attributes; zeros for an object without any.

  Attributes:
    num_attributes: of the vocabulary.
    features: D, of a vector.
  """

  num_attributes: int
  features: int

  @nn.compact
  def __call__(self, attributes: Int[Array, 'B O A']) -> Float[jax.Array, 'B O {self.features}']:
    """Sums the vectors of `SceneBatch.attributes`."""
    slots = jnp.asarray(attributes)
    vectors = layers.Embedding(self.num_attributes, self.features, name='table')(
      jnp.maximum(slots - 1, 0)
    )
    return jnp.where(slots[..., None] > 0, vectors, 0).sum(-2)


def has_attributes(batch: SceneBatch) -> Bool[jax.Array, 'B O']:
  """Of which objects the graph says attributes; in slot 0, whether it says any of the image."""
  if batch.attributes is None:
    return jnp.zeros(batch.object_mask.shape, bool)
  return (jnp.asarray(batch.attributes) > 0).any(-1)


def some_attributes(batch: SceneBatch, key: jax.Array, dropped: float) -> SceneBatch:
  """The batch with attributes left out at random, so that a model needs none of them.

  Args:
    batch: with or without attributes.
    key: of what is left out.
    dropped: share of the images that keep none. Half of the others keep all, and each image of the
      other half has a share of its own, uniform in [0, 1], by which every attribute is kept.
  """
  if batch.attributes is None:
    return batch
  of_images, of_shares, of_slots = jax.random.split(key, 3)
  slots = jnp.asarray(batch.attributes)
  one_per_image = (len(slots), 1, 1)
  kept = jax.random.uniform(of_shares, one_per_image, maxval=2)  # all are kept from 1 on
  kept *= jax.random.bernoulli(of_images, 1 - dropped, one_per_image)
  return batch.replace(
    attributes=jnp.where(jax.random.uniform(of_slots, slots.shape) < kept, slots, 0)
  )

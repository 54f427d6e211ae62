"""Graph convolution over padded scene graphs (paper section 3, figure 3)."""

from collections.abc import Callable

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from sg2im_jax.models import layers


@flax.struct.dataclass
class Incidence:
  """Which object is subject and which is object of each triple, as matrices of zeros and ones.

  Gathering and pooling over edges become small matrix products, which are deterministic and fast on
  every accelerator. Rows of padded triples are zero, so nothing they hold reaches an object.

  Attributes:
    subject: float32[B, T, O].
    object: float32[B, T, O].
  """

  subject: jax.Array
  object: jax.Array

  @classmethod
  def from_triples(cls, triples: jax.Array, triple_mask: jax.Array, num_slots: int) -> 'Incidence':
    """triples: int32[B, T, 3], triple_mask: bool[B, T]; num_slots: O."""

    def one_hot(slots):
      return jax.nn.one_hot(slots, num_slots) * triple_mask[..., None]

    return cls(subject=one_hot(triples[..., 0]), object=one_hot(triples[..., 2]))

  def gather(self, object_vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """float[B, O, D] -> the vectors of each triple's subject and object, float[B, T, D] both."""
    dtype = object_vectors.dtype
    return (
      jnp.einsum('bto,bod->btd', self.subject.astype(dtype), object_vectors),
      jnp.einsum('bto,bod->btd', self.object.astype(dtype), object_vectors),
    )

  def pool(self, subject_vectors: jax.Array, object_vectors: jax.Array, pooling: str) -> jax.Array:
    """Sum (or mean, for `avg`) over the triples of each object: float[B, T, D] twice -> float[B, O,
    D].
    """
    dtype = subject_vectors.dtype
    pooled = jnp.einsum('bto,btd->bod', self.subject.astype(dtype), subject_vectors) + jnp.einsum(
      'bto,btd->bod', self.object.astype(dtype), object_vectors
    )
    if pooling == 'sum':
      return pooled
    count = self.subject.sum(1) + self.object.sum(1)
    return pooled / jnp.maximum(count, 1)[..., None].astype(
      dtype
    )  # an object in no triple pools to 0


class GraphConvolution(nn.Module):
  """One layer: an MLP over each triple proposes new vectors, objects pool their proposals and pass
  them on.

  Attributes:
    features: output features of objects and predicates.
    hidden_features: width of both MLPs and of the pooled proposals.
    pooling: avg | sum.
    norm: constructor of a masked normalisation for the MLPs, or None.
  """

  features: int
  hidden_features: int
  pooling: str
  norm: Callable[..., Callable] | None

  @nn.compact
  def __call__(
    self,
    object_vectors: jax.Array,
    predicate_vectors: jax.Array,
    incidence: Incidence,
    object_mask: jax.Array,
    triple_mask: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """object_vectors: float[B, O, D], predicate_vectors: float[B, T, D] -> the same with
    `features`.
    """
    subjects, objects = incidence.gather(object_vectors)
    hidden, features = self.hidden_features, self.features
    proposals = layers.Mlp(
      (hidden, 2 * hidden + features), self.norm, layers.kaiming_normal, name='triple_mlp'
    )(jnp.concatenate([subjects, predicate_vectors, objects], -1), triple_mask)
    new_subjects, new_predicates, new_objects = jnp.split(
      proposals, (hidden, hidden + features), -1
    )
    pooled = incidence.pool(new_subjects, new_objects, self.pooling)
    new_vectors = layers.Mlp(
      (hidden, features), self.norm, layers.kaiming_normal, name='object_mlp'
    )(pooled, object_mask)
    return new_vectors, new_predicates

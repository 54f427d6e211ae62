"""Graph convolution over padded scene graphs (paper section 3, figure 3)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from sg2im_jax.models import layers
from sg2im_jax.models.normalization import Norm
from sg2im_jax.scene_batch import Array, SceneBatch


class Incidence(flax.struct.PyTreeNode, kw_only=True):
  """Which object is the subject and which the object of each triple, as one-hot matrices.

  Gathering and pooling over edges become small matrix products, which are deterministic and fast on
  every accelerator. Rows of padded triples are zero, so their contents reach no object.
  """

  subject: Float[jax.Array, 'B T O']
  object: Float[jax.Array, 'B T O']

  @classmethod
  def from_triples(
    cls, triples: Int[Array, 'B T 3'], triple_mask: Bool[Array, 'B T'], *, object_slots: Any
  ) -> 'Incidence':
    """The matrices of triples (subject slot, predicate, object slot); object_slots is O, a number,
    or a symbol in an export."""

    def one_hot(slots: Array) -> jax.Array:
      return jax.nn.one_hot(slots, object_slots) * triple_mask[..., None]

    return cls(subject=one_hot(triples[..., 0]), object=one_hot(triples[..., 2]))

  def gather(
    self, object_vectors: Float[jax.Array, 'B O D']
  ) -> tuple[Float[jax.Array, 'B T D'], Float[jax.Array, 'B T D']]:
    """The vectors of each triple's subject and of its object."""
    dtype = object_vectors.dtype
    return (
      jnp.einsum('bto,bod->btd', self.subject.astype(dtype), object_vectors),
      jnp.einsum('bto,bod->btd', self.object.astype(dtype), object_vectors),
    )

  def pool(
    self,
    subject_vectors: Float[jax.Array, 'B T D'],
    object_vectors: Float[jax.Array, 'B T D'],
    pooling: str,
  ) -> Float[jax.Array, 'B O D']:
    """The sum (`sum`) or mean (`avg`) of each object's vectors over its triples.

    An object that is in no triple gets zeros.
    """
    dtype = subject_vectors.dtype
    pooled = jnp.einsum('bto,btd->bod', self.subject.astype(dtype), subject_vectors) + jnp.einsum(
      'bto,btd->bod', self.object.astype(dtype), object_vectors
    )
    return pooled if pooling == 'sum' else pooled / self._degree().astype(dtype)

  def mean_by_role(self, vectors: Float[jax.Array, 'B T D']) -> Float[jax.Array, 'B O E']:
    """The sums of each object's vectors over the triples that it is the subject of, and over those
    that it is the object of, both divided by the number of all; E is 2 D."""
    dtype = vectors.dtype
    sums = [
      jnp.einsum('bto,btd->bod', which.astype(dtype), vectors)
      for which in (self.subject, self.object)
    ]
    return jnp.concatenate(sums, -1) / self._degree().astype(dtype)

  def _degree(self) -> Float[jax.Array, 'B O 1']:
    """In how many triples an object is, and 1 for one that is in none."""
    return jnp.maximum(self.subject.sum(1) + self.object.sum(1), 1)[..., None]


class GraphConvolution(nn.Module, kw_only=True):
  """One layer of graph convolution.

  An MLP turns the three vectors of each triple into a new predicate vector and candidates for its
  subject and its object. Each object pools its candidates, and a second MLP makes its new vector.

  Attributes:
    features: output features of objects and predicates.
    hidden_features: width of both MLPs and of the candidates.
    pooling: avg | sum.
    norm: constructor of a masked normalisation for the MLPs, or None.
  """

  features: int
  hidden_features: int
  pooling: str
  norm: Norm | None

  @nn.compact
  def __call__(
    self,
    object_vectors: Float[jax.Array, 'B O D'],
    predicate_vectors: Float[jax.Array, 'B T D'],
    incidence: Incidence,
    object_mask: Bool[Array, 'B O'],
    triple_mask: Bool[Array, 'B T'],
  ) -> tuple[Float[jax.Array, 'B O {self.features}'], Float[jax.Array, 'B T {self.features}']]:
    """The new vectors of objects and of predicates."""
    hidden, features = self.hidden_features, self.features

    subjects, objects = incidence.gather(object_vectors)
    candidates = layers.Mlp(
      features=(hidden, 2 * hidden + features),
      norm=self.norm,
      kernel_init=layers.kaiming_normal,
      name='triple_mlp',
    )(jnp.concatenate([subjects, predicate_vectors, objects], -1), triple_mask)
    for_subjects, new_predicates, for_objects = jnp.split(
      candidates, (hidden, hidden + features), -1
    )

    pooled = incidence.pool(for_subjects, for_objects, self.pooling)
    new_objects = layers.Mlp(
      features=(hidden, features),
      norm=self.norm,
      kernel_init=layers.kaiming_normal,
      name='object_mlp',
    )(pooled, object_mask)
    return new_objects, new_predicates


def graph_vectors(
  batch: SceneBatch,
  incidence: Incidence,
  *,
  num_objects: int,
  num_predicates: int,
  embedding_dim: int,
  features: int,
  hidden_features: int,
  num_layers: int,
  pooling: str,
  norm: Callable[[], Norm | None],
  dtype: str,
) -> tuple[Float[jax.Array, 'B O {embedding_dim}'], Float[jax.Array, 'B O {features}']]:
  """Object vectors before and after graph convolution; called inside a compact `__call__`.

  Args:
    batch: the graphs, with zeros in the padding.
    incidence: of its triples.
    num_objects, num_predicates: V, P.
    embedding_dim: of objects and predicates.
    features: D, of the vectors that result.
    hidden_features, pooling: see `GraphConvolution`.
    num_layers: of graph convolution; 0 is a linear layer, which sees no graph.
    norm: makes the constructor of the MLPs' normalisation, or None.
    dtype: of the computation.
  """
  unit_normal = nn.initializers.normal(1.0)
  embeddings = layers.Embedding(
    num_objects + 1,  # the published table has a row for a class that does not exist
    embedding_dim,
    embedding_init=unit_normal,
    dtype=dtype,
    name='object_embedding',
  )(batch.object_class)
  predicate_vectors = layers.Embedding(
    num_predicates,
    embedding_dim,
    embedding_init=unit_normal,
    dtype=dtype,
    name='predicate_embedding',
  )(batch.triples[..., 1])
  if num_layers == 0:
    return embeddings, layers.dense(embeddings, features, name='linear')

  vectors = embeddings
  for i in range(num_layers):
    vectors, predicate_vectors = GraphConvolution(
      features=features,
      hidden_features=hidden_features,
      pooling=pooling,
      norm=norm(),
      name=f'graph_convolution_{i}',
    )(vectors, predicate_vectors, incidence, batch.object_mask, batch.triple_mask)
  return embeddings, vectors

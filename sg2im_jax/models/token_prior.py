"""The prior of object tokens: which boxes and appearances the objects of a graph have together.

Flow matching (Lipman et al., "Flow matching for generative modeling", ICLR 2023; for sets of boxes
LayoutFlow, Guerreiro et al., ECCV 2024). Between noise x0 of N(0, 1) at time 0 and a token x1 of
the data at time 1 lies x_t = (1 - t) x0 + t x1. The network is trained to tell x1 - x0 from x_t;
its least squared error is reached by the mean velocity of all pairs that pass x_t, and the ordinary
differential equation dx/dt = velocity carries N(0, 1) to the distribution of the data.

Every object has two times, of its box and of its latent (times per element: Chen et al., "Diffusion
forcing", NeurIPS 2024). What is given has time 1 and stays; so any part of a scene can be pinned
and the rest sampled around it.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.models import layers
from sg2im_jax.models.attributes import AttributeEmbedding
from sg2im_jax.models.graph_convolution import Incidence
from sg2im_jax.models.object_tokens import BOX_DIM
from sg2im_jax.scene_batch import Array, SceneBatch

Velocity = Callable[[jax.Array, jax.Array], jax.Array]  # of tokens [B, O, K] at times [B, O, 2]

_FREQUENCIES = 16  # of the encoding of a time
_HIGHEST_FREQUENCY = 100.0  # radians a unit of time
HEADS = 4  # of attention; divides the features


class TokenPrior(nn.Module, kw_only=True):
  """The velocity of a scene's tokens, given its graph.

  Blocks of [messages along the triples, attention between all objects of the scene, MLP], each
  residual and normalised before. A message also sees where its two objects are by now: what a
  relation asks for is a difference of boxes.

  Attributes:
    num_objects: V.
    num_predicates: P.
    num_attributes: of the vocabulary.
    latent_dim: L; a token has K = 4 + L numbers.
    features: width of the blocks.
    num_blocks: of them.
    dtype: of the blocks; the velocity is float32.
  """

  num_objects: int
  num_predicates: int
  num_attributes: int
  latent_dim: int
  features: int
  num_blocks: int
  dtype: str

  @nn.compact
  def __call__(
    self,
    batch: SceneBatch,
    tokens: Float[Array, 'B O K'],
    times: Float[Array, 'B O 2'],
  ) -> Float[jax.Array, 'B O K']:
    """The velocity of each token.

    Args:
      batch: the graphs, with zeros in the padding.
      tokens: x_t; the numbers of a box, then those of a latent.
      times: of each object's box and of its latent, in [0, 1].
    """
    width, dtype = self.features, self.dtype
    incidence = Incidence.from_triples(
      batch.triples, batch.triple_mask, object_slots=batch.object_mask.shape[1]
    )

    def dense(x: jax.Array, features: int, name: str) -> jax.Array:
      return nn.Dense(features, dtype=dtype, name=name)(x)

    def norm(x: jax.Array, name: str) -> jax.Array:
      return nn.LayerNorm(dtype=dtype, name=name)(x)

    classes = layers.Embedding(self.num_objects, width // 2, name='object_embedding')(
      batch.object_class
    )
    if batch.attributes is not None:
      classes += AttributeEmbedding(
        num_attributes=self.num_attributes, features=width // 2, name='attribute_embedding'
      )(batch.attributes)
    predicates = layers.Embedding(self.num_predicates, width // 2, name='predicate_embedding')(
      batch.triples[..., 1]
    )
    moments = _encode_times(times)
    places = jnp.concatenate([tokens[..., :BOX_DIM], times], -1)
    subject_places, object_places = incidence.gather(places)
    pairs = jnp.concatenate(
      [predicates, subject_places, object_places, subject_places - object_places], -1
    ).astype(dtype)

    h = dense(jnp.concatenate([classes, tokens, moments], -1), width, 'input')
    h = h + dense(nn.gelu(dense(h, width, 'input_mlp_0')), width, 'input_mlp_1')
    attended = batch.object_mask[:, None, None, :] & batch.object_mask[:, None, :, None]
    for i in range(self.num_blocks):
      # What is linear in an object is computed once an object, not once a triple.
      of_objects = dense(norm(h, f'message_norm_{i}'), 2 * width, f'message_objects_{i}')
      subjects, objects = incidence.gather(of_objects)
      message = subjects[..., :width] + objects[..., width:]
      message = nn.gelu(message + dense(pairs, width, f'message_pairs_{i}'))
      received = dense(incidence.mean_by_role(message), width, f'received_0_{i}')
      h = h + dense(nn.gelu(received), width, f'received_1_{i}')
      x = norm(h, f'attention_norm_{i}')
      h = h + nn.MultiHeadDotProductAttention(HEADS, dtype=dtype, name=f'attention_{i}')(
        x, x, mask=attended
      )
      x = jnp.concatenate([norm(h, f'mlp_norm_{i}'), moments.astype(dtype)], -1)
      h = h + dense(nn.gelu(dense(x, 2 * width, f'mlp_0_{i}')), width, f'mlp_1_{i}')
    return nn.Dense(BOX_DIM + self.latent_dim, kernel_init=nn.initializers.zeros, name='velocity')(
      norm(h, 'output_norm').astype(jnp.float32)
    )


def expand_times(times: Float[Array, 'B O 2'], latent_dim: int) -> Float[jax.Array, 'B O K']:
  """The time of every number of a token."""
  shape = (*times.shape[:2], latent_dim)
  of_latents = jnp.broadcast_to(times[..., 1:], shape)
  return jnp.concatenate([jnp.repeat(times[..., :1], BOX_DIM, -1), of_latents], -1)


def guided(
  conditional: Velocity, unconditional: Velocity, weights: Float[Array, 'B O K']
) -> Velocity:
  """Classifier-free guidance (Ho and Salimans, 2022): u + weight (v - u); v itself at weight 1.

  Args:
    conditional: v, of the graphs.
    unconditional: u, of the same objects without what guides.
    weights: of each number of a token.
  """

  def velocity(tokens: jax.Array, times: jax.Array) -> jax.Array:
    found, base = conditional(tokens, times), unconditional(tokens, times)
    return jnp.where(weights == 1, found, base + weights * (found - base))

  return velocity


def integrate(
  velocity: Velocity,
  noise: Float[Array, 'B O K'],
  tokens: Float[Array, 'B O K'],
  given: Bool[Array, 'B O 2'],
  *,
  num_steps: int,
) -> Float[jax.Array, 'B O K']:
  """Tokens at time 1, from noise at time 0, by the Adams-Bashforth method of second order: one
  velocity a step, and that of the step before (the first step is Euler's).

  Args:
    velocity: of tokens at times.
    noise: of N(0, 1).
    tokens: those that are given; the others are ignored.
    given: of each object, whether its box and its latent are given.
    num_steps: of equal length.
  """
  latent_dim = noise.shape[-1] - BOX_DIM
  fixed = expand_times(jnp.asarray(given, jnp.float32), latent_dim) == 1
  length = 1 / num_steps
  start = jnp.where(fixed, tokens, noise)

  def velocity_at(tokens: jax.Array, time: jax.Array | float) -> jax.Array:
    return jnp.where(fixed, 0, velocity(tokens, jnp.where(given, 1.0, time)))

  def step(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    tokens, before = state
    now = velocity_at(tokens, i * length)
    before = jnp.where(i == 0, now, before)
    return tokens + length * (1.5 * now - 0.5 * before), now

  return jax.lax.fori_loop(0, num_steps, step, (start, jnp.zeros_like(start)))[0]


def _encode_times(times: Float[Array, 'B O 2']) -> Float[jax.Array, 'B O _']:
  frequencies = jnp.exp(jnp.linspace(0, jnp.log(_HIGHEST_FREQUENCY), _FREQUENCIES))
  angles = (times[..., None] * frequencies).reshape(*times.shape[:2], -1)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)

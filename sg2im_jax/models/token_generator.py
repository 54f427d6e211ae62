"""The generator of token models: graph -> object tokens, sampled from the prior -> image.

Where the published generator regresses one layout of a graph, this one samples layouts and
appearances; `Generator` and `TokenGenerator` are called alike.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.models.attributes import has_attributes
from sg2im_jax.models.crop_encoder import CropEncoder, LatentDistribution
from sg2im_jax.models.generator import GeneratorOutputs
from sg2im_jax.models.object_tokens import (
  BOX_DIM,
  CENTRE_DIM,
  boxes_to_tokens,
  tokens_to_boxes,
  with_image_box,
)
from sg2im_jax.models.painter import Painter, Painting
from sg2im_jax.models.token_prior import TokenPrior, Velocity, guided, integrate
from sg2im_jax.scene_batch import Array, SceneBatch, given_or

_IN_IMAGE = 0  # the predicate that every object has to `__image__`
_MOMENTUM = 0.99  # of the running moments of latents


class TokenNoise(flax.struct.PyTreeNode, kw_only=True):
  """Everything random of a batch of samples, of N(0, 1).

  Attributes:
    pixels: for the refinement network.
    tokens: that the prior starts from.
  """

  pixels: Float[Array, '*B H W Z']
  tokens: Float[Array, '*B O K']


class LatentMoments(nn.Module, kw_only=True):
  """Running mean and standard deviation of latents, in `batch_stats`; the prior's latents are
  scaled by them.

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  def setup(self):
    shape = (self.latent_dim,)
    self.mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    self.variance = self.variable('batch_stats', 'variance', jnp.ones, shape)

  def __call__(self, latents: Float[Array, 'B O L']) -> Float[jax.Array, 'B O L']:
    """Latents as the prior has them."""
    return (jnp.asarray(latents) - self.mean.value) / jnp.sqrt(self.variance.value)

  def inverse(self, scaled: Float[Array, 'B O L']) -> Float[jax.Array, 'B O L']:
    """Latents as the painter has them."""
    return jnp.asarray(scaled) * jnp.sqrt(self.variance.value) + self.mean.value

  def update(self, latents: Float[Array, 'B O L'], object_mask: Bool[Array, 'B O']):
    """Moves the moments towards those of the real objects of a batch."""
    real = jnp.asarray(object_mask)[..., None]
    count = jnp.maximum(real.sum(), 1)
    mean = jnp.where(real, latents, 0).sum((0, 1)) / count
    variance = jnp.where(real, (latents - mean) ** 2, 0).sum((0, 1)) / count
    self.mean.value = _MOMENTUM * self.mean.value + (1 - _MOMENTUM) * mean
    self.variance.value = _MOMENTUM * self.variance.value + (1 - _MOMENTUM) * variance


class TokenGenerator(nn.Module, kw_only=True):
  """The encoder, the prior and the painter. `build_generator` makes one from settings.

  Attributes:
    encoder, prior, painter: the networks.
    image_size: H, W.
    layout_noise_dim: Z.
    latent_dim: L.
    guidance: weight of the graph's relations in sampling (see `token_prior.guided`). It is that of
      centres: relations are mostly of these, and sides and appearances that are guided by them
      leave the data.
    attribute_guidance: weight of attributes, likewise; of the appearances and sides of objects that
      have some, and of all appearances where the image has some.
    sampling_steps: of the prior's differential equation.
  """

  encoder: CropEncoder
  prior: TokenPrior
  painter: Painter
  image_size: tuple[int, int]
  layout_noise_dim: int
  latent_dim: int
  guidance: float
  attribute_guidance: float
  sampling_steps: int

  def setup(self):
    self.latent_moments = LatentMoments(latent_dim=self.latent_dim)

  def random_noise(self, key: jax.Array, object_slots: Any) -> TokenNoise:
    """The noise of one sample; that of an object does not depend on O, how many slots there are: a
    number, or a symbol in an export."""
    of_pixels, of_tokens = jax.random.split(key)
    slots = jax.vmap(lambda slot: jax.random.fold_in(of_tokens, slot))(jnp.arange(object_slots))
    return TokenNoise(
      pixels=jax.random.normal(of_pixels, (*self.image_size, self.layout_noise_dim)),
      tokens=jax.vmap(lambda key: jax.random.normal(key, (BOX_DIM + self.latent_dim,)))(slots),
    )

  def __call__(
    self,
    batch: SceneBatch,
    noise: TokenNoise,
    *,
    use_boxes: bool | Bool[Array, '#B #O'],
    use_masks: bool | Bool[Array, '#B #O'],
    use_latents: bool | Bool[Array, '#B #O'] = False,
    train: bool = False,
  ) -> GeneratorOutputs:
    """Samples an image of every graph of a batch.

    Args:
      batch: the graphs, with the boxes, masks and latents that are to be used.
      noise: see `random_noise`.
      use_boxes: pin the objects, all or these, in the batch's boxes; the prior samples the others
        around them.
      use_masks: likewise the batch's masks, instead of those that the painter grows.
      use_latents: likewise the batch's appearances.
      train: as for `Generator.__call__`.
    """
    batch = batch.zero_padding()
    tokens = self.sample_tokens(batch, noise.tokens, use_boxes=use_boxes, use_latents=use_latents)
    boxes, latents = tokens
    painting = self.paint(batch, boxes, latents, noise.pixels, use_masks=use_masks, train=train)
    return GeneratorOutputs(
      image=painting.image,
      boxes=boxes,
      mask_logits=painting.mask_logits,
      predicate_logits=None,
      latents=latents,
    )

  def sample_tokens(
    self,
    batch: SceneBatch,
    noise: Float[Array, 'B O K'],
    *,
    use_boxes: bool | Bool[Array, '#B #O'],
    use_latents: bool | Bool[Array, '#B #O'],
  ) -> tuple[Float[jax.Array, 'B O 4'], Float[jax.Array, 'B O L']]:
    """Boxes and latents of all objects; `batch` has zeros in the padding."""
    slots = batch.object_mask.shape
    some_boxes = jnp.zeros((*slots, BOX_DIM)) if batch.boxes is None else batch.boxes
    some_latents = jnp.zeros((*slots, self.latent_dim)) if batch.latents is None else batch.latents
    is_image = jnp.arange(slots[1]) == 0
    given = jnp.stack(
      [
        jnp.broadcast_to(jnp.asarray(use_boxes), slots) | is_image,
        jnp.broadcast_to(jnp.asarray(use_latents), slots),
      ],
      -1,
    )
    known = jnp.concatenate(
      [boxes_to_tokens(with_image_box(some_boxes)), self.latent_moments(some_latents)], -1
    )
    tokens = integrate(
      self._guided_velocity(batch),
      noise,
      known,
      given,
      num_steps=self.sampling_steps,
    )
    sampled = tokens_to_boxes(tokens[..., :BOX_DIM])
    boxes = with_image_box(given_or(use_boxes, batch.boxes, sampled))
    latents = self.latent_moments.inverse(tokens[..., BOX_DIM:])
    latents = given_or(use_latents, batch.latents, latents)
    real = jnp.asarray(batch.object_mask)[..., None]
    return jnp.where(real, boxes, 0), jnp.where(real, latents, 0)

  def encode(self, image: Float[Array, 'B H W 3'], batch: SceneBatch) -> LatentDistribution:
    """The latents of the objects of images, which are normalised; `batch` has boxes."""
    batch = batch.zero_padding()
    assert batch.boxes is not None
    return self.encoder(image, batch.boxes, batch.masks, batch.object_mask)

  def paint(
    self,
    batch: SceneBatch,
    boxes: Float[Array, 'B O 4'],
    latents: Float[Array, 'B O L'],
    noise: Float[Array, 'B H W Z'],
    *,
    use_masks: bool | Bool[Array, '#B #O'],
    train: bool,
  ) -> Painting:
    """See `Painter`."""
    return self.painter(batch, boxes, latents, noise, use_masks=use_masks, train=train)

  def velocity(
    self, batch: SceneBatch, tokens: Float[Array, 'B O K'], times: Float[Array, 'B O 2']
  ) -> Float[jax.Array, 'B O K']:
    """See `TokenPrior`."""
    return self.prior(batch, tokens, times)

  def scaled_latents(
    self, latents: Float[Array, 'B O L'], object_mask: Bool[Array, 'B O'], *, update: bool
  ) -> Float[jax.Array, 'B O L']:
    """Latents as the prior has them; `update` moves the moments first."""
    if update:
      self.latent_moments.update(latents, object_mask)
    return self.latent_moments(latents)

  def everything(self, batch: SceneBatch, noise: TokenNoise) -> None:
    """Calls every network once; `init` takes it, since sampling leaves out the encoder."""
    batch = batch.zero_padding()
    assert batch.image is not None and batch.boxes is not None
    latents = self.encode(jnp.asarray(batch.image), batch).mean
    self.scaled_latents(latents, batch.object_mask, update=True)
    self.paint(batch, batch.boxes, latents, noise.pixels, use_masks=False, train=True)
    self.velocity(batch, noise.tokens, jnp.zeros((*batch.object_mask.shape, 2)))

  def _guided_velocity(self, batch: SceneBatch) -> Velocity:
    graphs = self._velocity(batch)
    if self.guidance == 1 and (batch.attributes is None or self.attribute_guidance == 1):
      return graphs
    own = has_attributes(batch)[..., None]
    of_scene = own | own[:, :1]
    weights = jnp.ones((*batch.object_mask.shape, BOX_DIM + self.latent_dim))
    weights = weights.at[..., :CENTRE_DIM].set(self.guidance)
    of_sides = jnp.where(own, self.attribute_guidance, 1.0)
    of_latents = jnp.where(of_scene, self.attribute_guidance, 1.0)
    weights = weights.at[..., CENTRE_DIM:BOX_DIM].set(of_sides).at[..., BOX_DIM:].set(of_latents)
    return guided(graphs, self._velocity(objects_alone(batch)), weights)

  def _velocity(self, batch: SceneBatch) -> Velocity:
    prior, variables = self.prior.unbind()  # a bound module cannot be called in a loop of JAX
    return lambda tokens, times: jnp.asarray(prior.apply(variables, batch, tokens, times))


def objects_alone(batch: SceneBatch) -> SceneBatch:
  """The graphs without relations and attributes."""
  kept = jnp.asarray(batch.triples[..., 1]) == _IN_IMAGE
  return batch.replace(triple_mask=jnp.asarray(batch.triple_mask) & kept, attributes=None)

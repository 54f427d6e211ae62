"""The painter of token models: object tokens and their graph -> image.

Each object grows a sprite from its vector: a mask, colours and features, all in the frame of its
box. Sprites are warped into their boxes and composited in the order of depths that the objects
predict. The cascaded refinement network of the paper gets the canvases, the opacities and the
composited sprites, and adds what the sprites lack: edges, shadows, ripples.

Layers of objects with location, depth, mask and appearance: Anciukevicius et al., arXiv 2004.00642;
GANformer2 (Arad Hudson and Zitnick, NeurIPS 2021).
"""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from sg2im_jax.models import layers
from sg2im_jax.models.attributes import AttributeEmbedding
from sg2im_jax.models.graph_convolution import Incidence, graph_vectors
from sg2im_jax.models.normalization import at_least_float32, normalization
from sg2im_jax.models.object_tokens import boxes_to_tokens
from sg2im_jax.models.refinement import RefinementNetwork, SceneLayout
from sg2im_jax.models.warping import Warp
from sg2im_jax.scene_batch import Array, SceneBatch, given_or

_FIRST_SIDE = 4  # of a sprite, before it grows
_CLASS_MAP_SIDE = 16  # where classes have maps again
_CONTRAST = 2.0  # of mixtures of colours: the higher, the sooner a texel has one colour
_REFINED = 0.3  # of what refinement adds: sprites are to say the colours
_NEARNESS = 5.0  # times the layer's output is the logarithm of nearness: opaque soon
_DEEPEST = 8.0  # of that logarithm, in both directions


class Painting(flax.struct.PyTreeNode, kw_only=True):
  """What the painter makes of a batch.

  Attributes:
    image: normalised.
    composite: the sprites' colours alone, before refinement; normalised.
    mask_logits: of the masks that the objects grow.
  """

  image: Float[jax.Array, 'B H W 3']
  composite: Float[jax.Array, 'B H W 3']
  mask_logits: Float[jax.Array, 'B O M M']


class Sprites(flax.struct.PyTreeNode, kw_only=True):
  """What each object looks like in the frame of its box.

  Attributes:
    mask_logits: of its mask.
    colours: RGB, normalised.
    textures: features for the refinement network.
  """

  mask_logits: Float[jax.Array, 'B O M M']
  colours: Float[jax.Array, 'B O M M 3']
  textures: Float[jax.Array, 'B O M M C']


def sprite_size(num_dims: int) -> int:
  """M, the side of the sprites that a decoder with so many `dims` grows."""
  return _FIRST_SIDE << num_dims - 1


class SpriteDecoder(nn.Module, kw_only=True):
  """Grows a sprite from each object vector by upsampled convolutions, from 4 x 4 to M x M.

  Two things let shapes and colours be learned apart, and soon. Every class has maps of its own that
  are added at 4 x 4 and at 16 x 16: most of a shape is its class. And a sprite's colours are a
  palette, read off the object vector, and for every texel a mixture of its entries: a part of an
  object has one colour wherever it is.

  Attributes:
    num_objects: V.
    dims: channels at 4 x 4, 8 x 8 and so on up to M x M, see `sprite_size`.
    num_colours: entries of a palette.
    texture_dim: C, features of a texel beside its mask and its colour.
  """

  num_objects: int
  dims: Sequence[int]
  num_colours: int
  texture_dim: int

  @nn.compact
  def __call__(
    self, vectors: Float[jax.Array, 'B O D'], object_class: Int[Array, 'B O']
  ) -> Sprites:
    slots = vectors.shape[:2]
    seed = _FIRST_SIDE**2 * self.dims[0]
    x = layers.dense(vectors, seed, name='seed', kernel_init=layers.kaiming_normal)
    x = x.reshape(-1, _FIRST_SIDE, _FIRST_SIDE, self.dims[0])
    x = nn.leaky_relu(x + self._class_map(x, object_class, _FIRST_SIDE), 0.2)
    for i, features in enumerate(self.dims[1:]):
      x = layers.UpsampledConvolution(
        features=features, kernel_init=layers.kaiming_normal, name=f'conv_{i}'
      )(x)
      if x.shape[1] == _CLASS_MAP_SIDE:
        x += self._class_map(x, object_class, _CLASS_MAP_SIDE)
      x = nn.leaky_relu(x, 0.2)
    x = layers.Convolution(
      features=1 + self.num_colours + self.texture_dim,
      width=1,
      kernel_init=layers.kaiming_normal,
      name='sprite',
    )(x)
    x = at_least_float32(x).reshape(*slots, *x.shape[1:])
    mask_logits, mixture, textures = jnp.split(x, (1, 1 + self.num_colours), -1)

    palette = layers.dense(vectors, 2 * vectors.shape[-1], name='palette_0')
    palette = layers.dense(nn.leaky_relu(palette, 0.2), 3 * self.num_colours, name='palette_1')
    palette = at_least_float32(palette).reshape(*slots, self.num_colours, 3)
    mixture = nn.softmax(_CONTRAST * mixture)
    return Sprites(
      mask_logits=mask_logits[..., 0],
      colours=jnp.einsum('bomnk,bokc->bomnc', mixture, palette),
      textures=textures,
    )

  def _class_map(self, x: jax.Array, object_class: Array, side: int) -> jax.Array:
    """A learned map of each object's class, of the shape of x."""
    maps = layers.Embedding(
      self.num_objects,
      side**2 * x.shape[-1],
      embedding_init=nn.initializers.normal(0.5 if side == _FIRST_SIDE else 0.2),
      dtype=x.dtype,
      name=f'class_map_{side}',
    )
    return maps(jnp.asarray(object_class)).reshape(x.shape)


class Painter(nn.Module, kw_only=True):
  """Paints scenes whose objects all have a box and a latent.

  Attributes:
    num_objects: V.
    num_predicates: P.
    num_attributes: of the vocabulary.
    image_size: H, W; even.
    sprite_dims, num_colours, texture_dim: see `SpriteDecoder`.
    vector_dim: D, of the object vectors.
    Others: the settings of `model` with the same names (see `configs/coco64.py`), `dtype` and
      `rematerialize`.
  """

  num_objects: int
  num_predicates: int
  num_attributes: int
  image_size: tuple[int, int]
  sprite_dims: Sequence[int]
  num_colours: int
  texture_dim: int
  vector_dim: int
  embedding_dim: int
  gconv_dim: int
  gconv_hidden_dim: int
  gconv_num_layers: int
  gconv_pooling: str
  align_corners: bool
  refinement_dims: Sequence[int]
  normalization: str
  activation: str
  dtype: str
  rematerialize: bool

  @nn.compact
  def __call__(
    self,
    batch: SceneBatch,
    boxes: Float[Array, 'B O 4'],
    latents: Float[Array, 'B O L'],
    noise: Float[Array, 'B H W Z'],
    *,
    use_masks: bool | Bool[Array, '#B #O'],
    train: bool,
  ) -> Painting:
    """Paints a batch.

    Args:
      batch: the graphs, with zeros in the padding; needs masks for use_masks.
      boxes: where to paint the objects; zeros in padding.
      latents: their appearances.
      noise: of N(0, 1), for the refinement network.
      use_masks: paint with the batch's masks, of all objects or of these, instead of those grown.
      train: normalise by batch statistics and update the running ones.
    """
    vectors = self._object_vectors(batch, boxes, jnp.asarray(latents, self.dtype))
    sprites = SpriteDecoder(
      num_objects=self.num_objects,
      dims=self.sprite_dims,
      num_colours=self.num_colours,
      texture_dim=self.texture_dim,
      name='sprite_decoder',
    )(vectors, batch.object_class)
    mask_logits = sprites.mask_logits
    masks = given_or(use_masks, batch.masks, nn.sigmoid(mask_logits))
    nearness = at_least_float32(layers.dense(vectors, 1, name='depth'))[..., 0]
    nearness = jnp.clip(_NEARNESS * nearness, -_DEEPEST, _DEEPEST)
    if batch.nearness is not None:
      nearness += batch.nearness
    nearness = jnp.exp(nearness)

    warp = Warp.of(boxes, masks.shape[-1], self.image_size, align_corners=self.align_corners)
    canvases, opacities = _opacities(warp, masks, nearness, batch)
    composite = warp.composite(sprites.colours, opacities)
    # Features are composited at half the resolution, which is a quarter of the work.
    height, width = self.image_size
    half = Warp.of(
      boxes, masks.shape[-1], (height // 2, width // 2), align_corners=self.align_corners
    )
    _, half_opacities = _opacities(half, masks, nearness, batch)
    textures = half.composite(sprites.textures, half_opacities)

    # An object has one vector on its canvas and another one where it is seen.
    seen = layers.dense(vectors, self.vector_dim, name='seen_vector')
    layout = SceneLayout(
      canvases=jnp.concatenate([canvases, opacities], -1).astype(self.dtype),
      object_vectors=jnp.concatenate([vectors, seen], 1),
      channels=jnp.concatenate([noise, composite, layers.upsample(textures)], -1).astype(
        self.dtype
      ),
    )
    refined = RefinementNetwork(
      dims=self.refinement_dims,
      norm=normalization(self.normalization, train=train),
      activation=layers.activation(self.activation),
      rematerialize=self.rematerialize,
      name='refinement',
    )(layout)
    return Painting(
      image=composite + _REFINED * at_least_float32(refined),
      composite=composite,
      mask_logits=mask_logits,
    )

  def _object_vectors(
    self, batch: SceneBatch, boxes: Float[Array, 'B O 4'], latents: Float[jax.Array, 'B O L']
  ) -> Float[jax.Array, 'B O {self.vector_dim}']:
    """One vector an object: of its class and attributes, what the graph says of it, its latent and
    its box, and the latent of `__image__`."""
    incidence = Incidence.from_triples(
      batch.triples, batch.triple_mask, object_slots=batch.object_mask.shape[1]
    )
    embeddings, in_graph = graph_vectors(
      batch,
      incidence,
      num_objects=self.num_objects,
      num_predicates=self.num_predicates,
      embedding_dim=self.embedding_dim,
      features=self.gconv_dim,
      hidden_features=self.gconv_hidden_dim,
      num_layers=self.gconv_num_layers,
      pooling=self.gconv_pooling,
      norm=lambda: None,
      dtype=self.dtype,
    )
    if batch.attributes is not None:
      embeddings += AttributeEmbedding(
        num_attributes=self.num_attributes,
        features=self.embedding_dim,
        name='attribute_embedding',
      )(batch.attributes).astype(self.dtype)
    of_image = jnp.broadcast_to(latents[:, :1], latents.shape)
    places = boxes_to_tokens(boxes).astype(self.dtype)
    x = jnp.concatenate([embeddings, in_graph, latents, of_image, places], -1)
    x = nn.leaky_relu(layers.dense(x, 2 * self.vector_dim, name='vector_0'), 0.2)
    return layers.dense(x, self.vector_dim, name='vector_1')


def _opacities(
  warp: Warp,
  masks: Float[jax.Array, 'B O M M'],
  nearness: Float[jax.Array, 'B O'],
  batch: SceneBatch,
) -> tuple[Float[jax.Array, 'B h w O'], Float[jax.Array, 'B h w O']]:
  """Each object's canvas, and its share of every pixel: the nearer, the more of it."""
  canvases = warp.canvases(masks) * batch.object_mask[:, None, None]
  weights = canvases * nearness[:, None, None]
  return canvases, weights / (weights.sum(-1, keepdims=True) + 1e-3)

"""The generator: scene graph -> boxes and masks -> scene layout -> image (paper figure 2)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.models import layers
from sg2im_jax.models.graph_convolution import Incidence, graph_vectors
from sg2im_jax.models.heads import MaskHead
from sg2im_jax.models.normalization import at_least_float32, normalization
from sg2im_jax.models.refinement import RefinementNetwork, SceneLayout
from sg2im_jax.models.warping import object_canvases
from sg2im_jax.scene_batch import Array, SceneBatch, given_or

BOX_TEXTURE_SIZE = 8  # side of the mask of ones that fills a box in models without a mask head


class GeneratorOutputs(flax.struct.PyTreeNode, kw_only=True):
  """All that is predicted for a batch of graphs; padded slots hold finite, meaningless values.

  Attributes:
    image: ImageNet-normalised.
    boxes: x0, y0, x1, y1, at least 0 and not clipped to 1.
    mask_logits: None without a mask head.
    predicate_logits: of each triple, the logits of its predicate; None from a token model.
    latents: of each object, its appearance; None from a published model.
  """

  image: Float[Array, 'B H W 3']
  boxes: Float[Array, 'B O 4']
  mask_logits: Float[Array, 'B O M M'] | None
  predicate_logits: Float[Array, 'B T P'] | None
  latents: Float[Array, 'B O L'] | None = None

  @property
  def masks(self) -> Float[jax.Array, 'B O M M'] | None:
    """The predicted masks in [0, 1], or None without a mask head."""
    return None if self.mask_logits is None else nn.sigmoid(self.mask_logits)


class Generator(nn.Module, kw_only=True):
  """The generator. `build_generator` makes one from settings.

  The graph convolution, the mask head and the refinement network compute in `dtype`. Boxes,
  predicates and canvases are float32 in any case: they have few values, each of which matters.

  Attributes:
    num_objects: V.
    num_predicates: P.
    image_size: H, W.
    Others: the settings of `model` with the same names (see `configs/coco64.py`), `dtype` and
      `rematerialize`.
  """

  num_objects: int
  num_predicates: int
  image_size: tuple[int, int]
  embedding_dim: int
  gconv_dim: int
  gconv_hidden_dim: int
  gconv_num_layers: int
  gconv_pooling: str
  mlp_normalization: str
  initial_box: float
  mask_size: int
  align_corners: bool
  layout_noise_dim: int
  refinement_dims: Sequence[int]
  normalization: str
  activation: str
  dtype: str
  rematerialize: bool

  def random_noise(
    self, key: jax.Array, object_slots: Any
  ) -> Float[jax.Array, '{self.image_size[0]} {self.image_size[1]} {self.layout_noise_dim}']:
    """The noise of one sample, N(0, 1), whatever O is: a number, or a symbol in an export."""
    del object_slots
    return jax.random.normal(key, (*self.image_size, self.layout_noise_dim))

  @nn.compact
  def __call__(
    self,
    batch: SceneBatch,
    noise: Float[Array, 'B {self.image_size[0]} {self.image_size[1]} {self.layout_noise_dim}'],
    *,
    use_boxes: bool | Bool[Array, '#B #O'],
    use_masks: bool | Bool[Array, '#B #O'],
    train: bool,
  ) -> GeneratorOutputs:
    """Generates an image of every graph of a batch.

    Args:
      batch: the graphs; needs boxes for use_boxes, masks for use_masks with a mask head.
      noise: normally distributed, N(0, 1).
      use_boxes: lay out the objects, all or these, in the batch's boxes instead of the predicted
        ones.
      use_masks: likewise fill boxes with the batch's masks. Without a mask head, boxes are filled
        with ones in any case.
      train: normalise by batch statistics and update the running ones.
    """
    batch = batch.zero_padding()
    incidence = Incidence.from_triples(
      batch.triples, batch.triple_mask, object_slots=batch.object_mask.shape[1]
    )
    embeddings, object_vectors = graph_vectors(
      batch,
      incidence,
      num_objects=self.num_objects,
      num_predicates=self.num_predicates,
      embedding_dim=self.embedding_dim,
      features=self.gconv_dim,
      hidden_features=self.gconv_hidden_dim,
      num_layers=self.gconv_num_layers,
      pooling=self.gconv_pooling,
      norm=lambda: normalization(self.mlp_normalization, train=train),
      dtype=self.dtype,
    )
    boxes, mask_logits = self._boxes_and_mask_logits(batch, object_vectors, train)
    predicate_logits = self._predicate_logits(batch, incidence, boxes, embeddings, train)

    if mask_logits is None:
      masks = jnp.ones((*batch.object_mask.shape, BOX_TEXTURE_SIZE, BOX_TEXTURE_SIZE))
    else:
      masks = given_or(use_masks, batch.masks, nn.sigmoid(mask_logits))
    layout_boxes = given_or(use_boxes, batch.boxes, boxes)
    canvases = object_canvases(
      layout_boxes, masks, self.image_size, align_corners=self.align_corners
    )
    canvases = canvases * batch.object_mask[:, None, None]

    layout = SceneLayout(
      canvases=canvases.astype(self.dtype),
      object_vectors=object_vectors,
      channels=jnp.asarray(noise, self.dtype),
    )
    image = RefinementNetwork(
      dims=self.refinement_dims,
      norm=normalization(self.normalization, train=train),
      activation=layers.activation(self.activation),
      rematerialize=self.rematerialize,
      name='refinement',
    )(layout)
    return GeneratorOutputs(
      image=at_least_float32(image),
      boxes=boxes,
      mask_logits=mask_logits,
      predicate_logits=predicate_logits,
    )

  def _boxes_and_mask_logits(
    self, batch: SceneBatch, object_vectors: Float[jax.Array, 'B O D'], train: bool
  ) -> tuple[Float[jax.Array, 'B O 4'], Float[jax.Array, 'B O M M'] | None]:
    """What the box head and the mask head predict; no logits without a mask head."""
    boxes = layers.Mlp(
      features=(self.gconv_hidden_dim, 4),
      norm=normalization(self.mlp_normalization, train=train),
      last_bias_centre=self.initial_box,
      name='box_head',
    )(at_least_float32(object_vectors), batch.object_mask)
    if not self.mask_size:
      return boxes, None

    mask_norm = normalization('batch', train=train)
    assert mask_norm is not None
    mask_head = MaskHead(mask_size=self.mask_size, norm=mask_norm, name='mask_head')
    return boxes, mask_head(object_vectors, batch.object_mask)

  def _predicate_logits(
    self,
    batch: SceneBatch,
    incidence: Incidence,
    boxes: Float[jax.Array, 'B O 4'],
    embeddings: Float[jax.Array, 'B O D'],
    train: bool,
  ) -> Float[jax.Array, 'B T {self.num_predicates}']:
    """The auxiliary relation head: each triple's predicate from boxes and embeddings."""
    inputs = [*incidence.gather(boxes), *incidence.gather(at_least_float32(embeddings))]
    return layers.Mlp(
      features=(self.gconv_hidden_dim, self.num_predicates),
      norm=normalization(self.mlp_normalization, train=train),
      name='relation_head',
    )(jnp.concatenate(inputs, -1), batch.triple_mask)

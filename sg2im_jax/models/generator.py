"""The generator: scene graph -> boxes and masks -> layout -> image (paper figure 2)."""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from sg2im_jax.models import layers
from sg2im_jax.models.graph_convolution import GraphConvolution, Incidence
from sg2im_jax.models.heads import MaskHead
from sg2im_jax.models.layout import object_canvases
from sg2im_jax.models.normalization import at_least_float32, normalization
from sg2im_jax.models.refinement import Layout, RefinementNetwork
from sg2im_jax.scene_batch import SceneBatch

BOX_TEXTURE_SIZE = 8  # without masks, a box is filled with this many ones a side


@flax.struct.dataclass
class GeneratorOutputs:
  """Everything that is predicted for a batch of graphs; padded slots hold finite, meaningless
  values.

  Attributes:
    image: float32[B, H, W, 3], ImageNet-normalised.
    boxes: float32[B, O, 4] x0, y0, x1, y1, >= 0 and not clipped to 1.
    mask_logits: float32[B, O, M, M], or None without a mask head.
    predicate_logits: float32[B, T, P].
  """

  image: jax.Array
  boxes: jax.Array
  mask_logits: jax.Array | None
  predicate_logits: jax.Array

  @property
  def masks(self) -> jax.Array | None:
    """float32[B, O, M, M] in [0, 1], or None."""
    return None if self.mask_logits is None else nn.sigmoid(self.mask_logits)


class Generator(nn.Module):
  """See `configs/coco64.py` for what each attribute means; `build_generator` makes one from a
  config.

  The graph convolution, the mask head and the refinement network compute in `dtype`. Boxes,
  predicates and where things lie on the canvas are float32 whatever it is: they have few numbers,
  each of which matters.
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

  @nn.compact
  def __call__(
    self, batch: SceneBatch, noise: jax.Array, *, use_boxes: bool, use_masks: bool, train: bool
  ) -> GeneratorOutputs:
    """Draws every graph of a batch.

    Args:
      batch: the graphs; with use_boxes and use_masks also the layout to paint.
      noise: float32[B, H, W, layout_noise_dim] of N(0, 1).
      use_boxes: lay objects out in the batch's boxes instead of the predicted ones.
      use_masks: fill boxes with the batch's masks instead of the predicted ones (without a mask
      head: with ones).
      train: normalise by batch statistics and move the running ones.
    """
    batch = batch.zero_padding()
    object_vectors, embeddings, incidence = self._object_vectors(batch, train)

    mlp_norm = normalization(self.mlp_normalization, train=train)
    box_head = layers.Mlp(
      (self.gconv_hidden_dim, 4), mlp_norm, last_bias_centre=self.initial_box, name='box_head'
    )
    boxes = box_head(at_least_float32(object_vectors), batch.object_mask)
    mask_logits = None
    if self.mask_size:
      mask_norm = normalization('batch', train=train)
      mask_logits = MaskHead(self.mask_size, mask_norm, name='mask_head')(
        object_vectors, batch.object_mask
      )
    relation_inputs = jnp.concatenate(
      [*incidence.gather(boxes), *incidence.gather(at_least_float32(embeddings))], -1
    )
    predicate_logits = layers.Mlp(
      (self.gconv_hidden_dim, self.num_predicates), mlp_norm, name='relation_head'
    )(relation_inputs, batch.triple_mask)
    outputs = GeneratorOutputs(None, boxes, mask_logits, predicate_logits)

    if not self.mask_size:
      masks = jnp.ones((*batch.object_mask.shape, BOX_TEXTURE_SIZE, BOX_TEXTURE_SIZE))
    else:
      masks = batch.masks.astype(boxes.dtype) if use_masks else outputs.masks
    canvases = (
      object_canvases(
        batch.boxes if use_boxes else boxes,
        masks,
        self.image_size,
        align_corners=self.align_corners,
      )
      * batch.object_mask[:, None, None]
    )
    layout = Layout(canvases.astype(self.dtype), object_vectors, noise.astype(self.dtype))
    image = RefinementNetwork(
      self.refinement_dims,
      normalization(self.normalization, train=train),
      layers.activation(self.activation),
      self.rematerialize,
      name='refinement',
    )(layout)
    return outputs.replace(image=at_least_float32(image))

  def _object_vectors(
    self, batch: SceneBatch, train: bool
  ) -> tuple[jax.Array, jax.Array, Incidence]:
    """Object vectors after graph convolution and before it (both dtype[B, O, D]), and the graph's
    matrices.
    """
    unit_normal = nn.initializers.normal(1.0)
    # The published table has one object class more than there are names, which nothing ever looks
    # up.
    embeddings = nn.Embed(
      self.num_objects + 1,
      self.embedding_dim,
      embedding_init=unit_normal,
      dtype=self.dtype,
      name='object_embedding',
    )(batch.object_class)
    predicate_vectors = nn.Embed(
      self.num_predicates,
      self.embedding_dim,
      embedding_init=unit_normal,
      dtype=self.dtype,
      name='predicate_embedding',
    )(batch.triples[..., 1])
    incidence = Incidence.from_triples(batch.triples, batch.triple_mask, batch.object_mask.shape[1])
    if self.gconv_num_layers == 0:
      return layers.dense(embeddings, self.gconv_dim, name='linear'), embeddings, incidence
    vectors = embeddings
    for i in range(self.gconv_num_layers):
      vectors, predicate_vectors = GraphConvolution(
        self.gconv_dim,
        self.gconv_hidden_dim,
        self.gconv_pooling,
        normalization(self.mlp_normalization, train=train),
        name=f'graph_convolution_{i}',
      )(vectors, predicate_vectors, incidence, batch.object_mask, batch.triple_mask)
    return vectors, embeddings, incidence

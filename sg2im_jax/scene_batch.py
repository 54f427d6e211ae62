"""The contract between the data pipelines and the networks: one padded batch of scenes.

Letters used in every shape and einsum string of this project:

    B  images in the (global) batch        H, W  image height and width in pixels
    O  object slots of an image            M     side of an object mask
    T  triple slots of an image            D     features of an object vector
    V  object classes of the vocabulary    P     predicates of the vocabulary
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


@flax.struct.dataclass
class SceneBatch:
  """Scenes as dense arrays; one row is one image, so no edge of a graph crosses a device.

  Slot 0 of every real image is the object `__image__` (class 0, box 0,0,1,1, mask of ones), and
  every other real object has one triple `(object, __in_image__, 0)`. Real slots come first. Nothing
  that is computed from a batch may depend on what its padding holds; the pipelines write zeros
  there.

  Attributes:
    object_class: int32[B, O] class ids.
    object_mask: bool[B, O] True where the slot holds an object. An image whose slot 0 is padding is
      itself padding (the filled-up last batch of an evaluation).
    triples: int32[B, T, 3] subject slot, predicate id, object slot.
    triple_mask: bool[B, T] True where the slot holds a triple.
    boxes: float32[B, O, 4] x0, y0, x1, y1 in [0, 1] with the origin at the top left; None for a
    bare graph.
    masks: uint8[B, O, M, M] 0 or 1, each in the frame of its box; None for a bare graph or a data
    set without masks.
    image: uint8[B, H, W, 3] RGB; None for a bare graph.
  """

  object_class: Array
  object_mask: Array
  triples: Array
  triple_mask: Array
  boxes: Array | None = None
  masks: Array | None = None
  image: Array | None = None

  @property
  def example_mask(self) -> Array:
    """bool[B], True where the row is an image and not padding."""
    return self.object_mask[:, 0]

  def zero_padding(self) -> 'SceneBatch':
    """The batch with zeros wherever a slot is padding, so that no later step meets what padding
    held.
    """

    def clean(array, mask):
      if array is None:
        return None
      return jnp.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, 0)

    return self.replace(
      object_class=clean(self.object_class, self.object_mask),
      triples=clean(self.triples, self.triple_mask),
      boxes=clean(self.boxes, self.object_mask),
      masks=clean(self.masks, self.object_mask),
      image=clean(self.image, self.example_mask),
    )

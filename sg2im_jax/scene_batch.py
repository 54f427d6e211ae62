"""The contract between the data pipelines and the networks: one padded batch of scenes.

Letters of every shape annotation and einsum string of this project:

    B  images in the (global) batch        H, W  image height and width in pixels
    O  object slots of an image            M     side of an object mask
    T  triple slots of an image            D     features of an object vector
    V  object classes of the vocabulary    P     predicates of the vocabulary
    L  numbers of an object's latent       K     numbers of an object's token, 4 + L
    A  attribute slots of an object

The tests check the annotations (see `tests/shape_checks.py`).
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

Array = jax.Array | np.ndarray


class SceneBatch(flax.struct.PyTreeNode, kw_only=True):
  """Scenes as dense arrays; one row is one image, so no edge of a graph crosses a device.

  Slot 0 of every real image is the object `__image__` (class 0, box 0,0,1,1, mask of ones), and
  every other real object has one triple `(object, __in_image__, 0)`. Real slots come first. No
  result of a computation may depend on the contents of padding; the pipelines write zeros there.

  Attributes:
    object_class: class ids.
    object_mask: True where the slot holds an object. An image whose slot 0 is padding is itself
      padding (the filled-up last batch of an evaluation).
    triples: subject slot, predicate id, object slot.
    triple_mask: True where the slot holds a triple.
    boxes: x0, y0, x1, y1 in [0, 1] with the origin at the top left; None for a bare graph.
    masks: 0 or 1, each in the frame of its box; None for a bare graph or a data set without masks.
      The pipelines write uint8, recordings of the published code hold floats.
    image: RGB in [0, 255], in the dtypes of masks; None for a bare graph.
    attributes: 1 + attribute id, or 0 in a slot without one; of slot 0, of the whole image. None
      where no graph has attributes.
    latents: appearances that a token model is to paint (see `models/object_tokens.py`); None where
      it samples them all. The pipelines write none.
    nearness: added to the logarithm of how near a token model takes each object to be: the nearer
      of two is seen where they overlap. None adds nothing. The pipelines write none.
  """

  object_class: Int[Array, 'B O']
  object_mask: Bool[Array, 'B O']
  triples: Int[Array, 'B T 3']
  triple_mask: Bool[Array, 'B T']
  attributes: Int[Array, 'B O A'] | None = None
  boxes: Float[Array, 'B O 4'] | None = None
  masks: UInt8[Array, 'B O M M'] | Float[Array, 'B O M M'] | None = None
  image: UInt8[Array, 'B H W 3'] | Float[Array, 'B H W 3'] | None = None
  latents: Float[Array, 'B O L'] | None = None
  nearness: Float[Array, 'B O'] | None = None

  @property
  def example_mask(self) -> Bool[Array, ' B']:
    """True where the row is an image and not padding."""
    return self.object_mask[:, 0]

  def zero_padding(self) -> 'SceneBatch':
    """The batch with zeros in every padded slot."""

    def clean(array: Array | None, mask: Array) -> jax.Array | None:
      if array is None:
        return None
      return jnp.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, 0)

    return self.replace(
      object_class=clean(self.object_class, self.object_mask),
      triples=clean(self.triples, self.triple_mask),
      attributes=clean(self.attributes, self.object_mask),
      boxes=clean(self.boxes, self.object_mask),
      masks=clean(self.masks, self.object_mask),
      image=clean(self.image, self.example_mask),
      latents=clean(self.latents, self.object_mask),
      nearness=clean(self.nearness, self.object_mask),
    )


def given_or(
  given: bool | Bool[Array, '#B #O'], values: Array | None, predicted: jax.Array
) -> jax.Array:
  """The values of the objects that are given, and what is predicted for the others.

  Args:
    given: of all objects, of none, or of which.
    values: [B, O, ...]; may be None if none is given.
    predicted: [B, O, ...].
  """
  if given is False:
    return predicted
  assert values is not None, 'nothing is there that could be given'
  values = jnp.asarray(values, predicted.dtype)
  if given is True:
    return values
  given = jnp.asarray(given)
  return jnp.where(given.reshape(given.shape + (1,) * (predicted.ndim - 2)), values, predicted)

"""The mask head (paper section 3, "scene layout"). The box and relation heads are MLPs."""

import flax.linen as nn
import jax
from jaxtyping import Bool, Float

from sg2im_jax.models import layers
from sg2im_jax.models.normalization import Norm, at_least_float32
from sg2im_jax.scene_batch import Array


class MaskHead(nn.Module, kw_only=True):
  """Grows the logits of an M x M mask from each object vector, starting at 1 x 1.

  Attributes:
    mask_size: M, a power of two.
    norm: constructor of a masked BatchNorm.
  """

  mask_size: int
  norm: Norm

  @nn.compact
  def __call__(
    self, object_vectors: Float[jax.Array, 'B O D'], object_mask: Bool[Array, 'B O']
  ) -> Float[jax.Array, 'B O {self.mask_size} {self.mask_size}']:
    slots, features = object_vectors.shape[:2], object_vectors.shape[-1]
    x = object_vectors.reshape(-1, 1, 1, features)
    mask = object_mask.reshape(-1, 1, 1, 1)
    for i in range(self.mask_size.bit_length() - 1):
      # The published head normalises the upsampled map. Upsampling repeats each pixel 4 times, so
      # normalising before it gives the same values from the same moments.
      x = self.norm(repeats=4, name=f'norm_{i}')(x, mask)
      x = nn.relu(layers.UpsampledConvolution(features=features, name=f'conv_{i}')(x))
    x = layers.Convolution(features=1, width=1, name='logits')(x)
    return at_least_float32(x).reshape(*slots, self.mask_size, self.mask_size)

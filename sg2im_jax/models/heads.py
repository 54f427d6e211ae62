"""What is predicted from object vectors: boxes, masks and (as an auxiliary) relations (paper
section 3).
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import convolve_upsampled
from sg2im_jax.models.normalization import at_least_float32


class MaskHead(nn.Module):
  """Grows an M x M mask from one object vector at 1 x 1.

  Attributes:
    mask_size: M, a power of two.
    norm: constructor of a masked BatchNorm.
  """

  mask_size: int
  norm: Callable[..., Callable]

  @nn.compact
  def __call__(self, object_vectors: jax.Array, object_mask: jax.Array) -> jax.Array:
    """object_vectors: float[B, O, D], object_mask: bool[B, O] -> logits float32[B, O, M, M]."""
    slots, features = object_vectors.shape[:2], object_vectors.shape[-1]
    x = object_vectors.reshape(-1, 1, 1, features)
    mask = object_mask.reshape(-1, 1, 1, 1)
    for i in range(self.mask_size.bit_length() - 1):
      # As published, normalisation follows the upsampling. Before it, the pixels and their moments
      # are the same.
      x = self.norm(repeats=4, name=f'norm_{i}')(x, mask)
      convolution = layers.Convolution(features, features, 3, name=f'conv_{i}')
      x = nn.relu(convolution(lambda kernel, x=x: convolve_upsampled(x, kernel.astype(x.dtype))))
    x = at_least_float32(layers.conv(x, 1, 1, name='logits'))
    return x.reshape(*slots, self.mask_size, self.mask_size)

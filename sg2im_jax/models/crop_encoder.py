"""The encoder of object tokens: q(latent | crop of the object, its mask).

Layout2Im (Zhao et al., CVPR 2019) has such an encoder of crops. Here what it says is but lightly
held to N(0, 1), since latents are sampled from a prior that is learned (`token_prior.py`).
"""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from sg2im_jax.models import layers
from sg2im_jax.models.normalization import at_least_float32
from sg2im_jax.models.warping import crop_objects
from sg2im_jax.scene_batch import Array

_NARROWEST, _WIDEST = -6.0, 2.0  # logarithms of standard deviations


class LatentDistribution(flax.struct.PyTreeNode, kw_only=True):
  """A normal distribution of each object's latent, independent in its numbers.

  Attributes:
    mean: of the latent.
    log_deviation: logarithm of the standard deviation.
  """

  mean: Float[jax.Array, 'B O L']
  log_deviation: Float[jax.Array, 'B O L']

  def sample(self, key: jax.Array) -> Float[jax.Array, 'B O L']:
    """A latent of each object."""
    return self.mean + jnp.exp(self.log_deviation) * jax.random.normal(key, self.mean.shape)

  def divergence(self) -> Float[jax.Array, 'B O']:
    """KL divergence from N(0, 1) of each object, in nats."""
    log = self.log_deviation
    return 0.5 * (self.mean**2 + jnp.exp(2 * log) - 1 - 2 * log).sum(-1)


class CropEncoder(nn.Module, kw_only=True):
  """Strided convolutions over each object's crop and mask, then a linear layer.

  Attributes:
    latent_dim: L.
    dims: channels of the convolutions, each of which halves the crop.
    crop_size: side of the crops in pixels.
    align_corners: see `warping`.
    dtype: of the convolutions.
  """

  latent_dim: int
  dims: Sequence[int]
  crop_size: int
  align_corners: bool
  dtype: str

  @nn.compact
  def __call__(
    self,
    image: Float[Array, 'B H W 3'],
    boxes: Float[Array, 'B O 4'],
    masks: Real[Array, 'B O M M'] | None,
    object_mask: Bool[Array, 'B O'],
  ) -> LatentDistribution:
    """The latents of the objects of images.

    Args:
      image: normalised.
      boxes: of the objects; zeros in padding.
      masks: in the frames of the boxes; None stands for ones.
      object_mask: True where a slot holds an object.
    """
    size = self.crop_size
    crops = crop_objects(image, boxes, size, align_corners=self.align_corners)
    shape = (*object_mask.shape, size, size, 1)
    channel = (
      jnp.ones(shape)
      if masks is None
      else jax.image.resize(jnp.asarray(masks, jnp.float32)[..., None], shape, 'linear')
    )
    x = jnp.concatenate([crops, channel], -1).reshape(-1, size, size, 4).astype(self.dtype)
    for i, features in enumerate(self.dims):
      x = layers.Convolution(
        features=features,
        width=4,
        stride=2,
        padding=1,
        kernel_init=layers.kaiming_normal,
        name=f'conv_{i}',
      )(x)
      x = nn.leaky_relu(x, 0.2)
    x = at_least_float32(x).reshape(*object_mask.shape, -1)
    mean, log_deviation = jnp.split(layers.dense(x, 2 * self.latent_dim, name='latent'), 2, -1)
    # Begins near exp(-1): what a latent says should reach the painter from the first step.
    return LatentDistribution(
      mean=mean, log_deviation=jnp.clip(log_deviation - 1, _NARROWEST, _WIDEST)
    )

"""The discriminator of token models: one network that judges images and the objects in them.

Strided convolutions with spectral normalisation score patches of the image. A second branch cuts
each object's box out of the features after the first convolution, and scores it by projection on an
embedding of its class (Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018), as
LostGANs do (Sun and Wu, ICCV 2019). The features are kept for feature matching (Wang et al.,
"High-resolution image synthesis with conditional GANs", CVPR 2018).
"""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import convolve_strided
from sg2im_jax.models.normalization import at_least_float32
from sg2im_jax.models.warping import crop_objects
from sg2im_jax.scene_batch import Array

_CROP_SIZE = 10  # of an object, in features at half the resolution of the image


class SceneJudgement(flax.struct.PyTreeNode, kw_only=True):
  """What the discriminator says of a batch of images.

  Attributes:
    image_scores: of patches; higher is more real.
    object_scores: of each object.
    image_features: after each convolution over the image.
    object_features: after the last convolution over the objects.
  """

  image_scores: Float[jax.Array, 'B h w']
  object_scores: Float[jax.Array, 'B O']
  image_features: tuple[jax.Array, ...]
  object_features: Float[jax.Array, 'B O p q C']


class SpectralConvolution(layers.ConvolutionParameters, kw_only=True):
  """A convolution whose kernel is divided by its largest singular value.

  Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018: one power
  iteration each time that `train` is set; the singular vector is kept in `batch_stats`.

  Attributes:
    width: side of the kernel.
    stride: in both directions.
    padding: zeros on each of the four sides.
  """

  width: int
  stride: int = 1
  padding: int = 0

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, 'N H W C'], *, train: bool
  ) -> Float[jax.Array, 'N h w {self.features}']:
    kernel, bias = self.kernel_and_bias(width=self.width, channels=x.shape[-1])
    vector = self.variable('batch_stats', 'singular_vector', _first_vector, self.features)
    matrix = jax.lax.stop_gradient(kernel.reshape(-1, self.features))
    right = vector.value
    left = _normalized(matrix @ right)
    if train:
      right = _normalized(left @ matrix)
      left = _normalized(matrix @ right)
      if not self.is_initializing():
        vector.value = right
    # The vectors are constants, the kernel is not: so says the gradient of a singular value.
    largest = left @ kernel.reshape(-1, self.features) @ right
    kernel = (kernel / jnp.maximum(largest, 1e-6)).astype(x.dtype)
    y = convolve_strided(x, kernel, stride=self.stride, padding=self.padding)
    return layers.add_bias(y, bias)


class SceneDiscriminator(nn.Module, kw_only=True):
  """Judges images and objects.

  Attributes:
    num_objects: V.
    dims: channels of the convolutions over the image, each of which halves it.
    align_corners: see `warping`.
    dtype: of the convolutions; scores are float32.
  """

  num_objects: int
  dims: Sequence[int]
  align_corners: bool
  dtype: str

  @nn.compact
  def __call__(
    self,
    image: Float[Array, 'B H W 3'],
    object_class: Int[Array, 'B O'],
    boxes: Float[Array, 'B O 4'],
    object_mask: Bool[Array, 'B O'],
    *,
    train: bool,
  ) -> SceneJudgement:
    """Scores and features.

    Args:
      image: normalised.
      object_class: of the objects.
      boxes: of the objects; zeros in padding.
      object_mask: True where a slot holds an object.
      train: move the singular vectors.
    """

    def convolution(x: jax.Array, features: int, name: str, width: int, stride: int) -> jax.Array:
      layer = SpectralConvolution(
        features=features, width=width, stride=stride, padding=1, name=name
      )
      return nn.leaky_relu(layer(x, train=train), 0.2)

    x = jnp.asarray(image, self.dtype)
    image_features = []
    for i, features in enumerate(self.dims):
      x = convolution(x, features, f'image_conv_{i}', 4, 2)
      image_features.append(x)
    image_scores = SpectralConvolution(features=1, width=3, padding=1, name='image_score')(
      x, train=train
    )

    crops = crop_objects(
      at_least_float32(image_features[0]), boxes, _CROP_SIZE, align_corners=self.align_corners
    )
    x = crops.reshape(-1, *crops.shape[2:]).astype(self.dtype)
    for i, features in enumerate(self.dims[1:]):
      stride = 2 if i == 0 else 1
      x = convolution(x, features, f'object_conv_{i}', 4 if stride == 2 else 3, stride)
    object_features = at_least_float32(x).reshape(*object_mask.shape, *x.shape[1:])
    pooled = object_features.mean((2, 3))
    scores = SpectralConvolution(features=1, width=1, name='object_score')(
      pooled[:, :, None], train=train
    )[..., 0, 0]
    embedding = layers.Embedding(
      self.num_objects,
      pooled.shape[-1],
      embedding_init=nn.initializers.normal(0.1),
      name='class_embedding',
    )(object_class)
    return SceneJudgement(
      image_scores=at_least_float32(image_scores)[..., 0],
      object_scores=scores + (embedding * pooled).sum(-1),
      image_features=tuple(map(at_least_float32, image_features)),
      object_features=object_features,
    )


def _first_vector(size: int) -> Float[jax.Array, ' {size}']:
  """A unit vector to start power iterations from."""
  return _normalized(jnp.cos(jnp.arange(size, dtype=jnp.float32)))


def _normalized(vector: jax.Array) -> jax.Array:
  return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)

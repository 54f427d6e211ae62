"""The image and the object discriminator (paper section 3, "discriminators").

Both are convolutional networks that an arch string describes (see `arch.py`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.models import layers
from sg2im_jax.models.arch import check_arch, parse_arch, zeros_around
from sg2im_jax.models.layers import Activation
from sg2im_jax.models.normalization import Norm, at_least_float32, normalization
from sg2im_jax.models.warping import crop_objects
from sg2im_jax.scene_batch import Array


class ResidualBlock(nn.Module, kw_only=True):
  """x + body(x); the body is twice [normalisation, activation, 3x3 convolution].

  Attributes:
    norm: constructor of a masked normalisation, or None.
    activation: the non-linearity.
  """

  norm: Norm | None
  activation: Activation

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, 'N H W C'], mask: Bool[Array, 'N 1 1 1']
  ) -> Float[jax.Array, 'N H W C']:
    """`mask` is True where an image is real."""
    norms = [None if self.norm is None else self.norm(name=f'norm_{i}') for i in range(2)]
    convolutions = [
      layers.Convolution(features=x.shape[-1], width=3, padding=1, name=f'conv_{i}')
      for i in range(2)
    ]

    def body(y):
      for norm, convolution in zip(norms, convolutions):
        y = convolution(self.activation(y if norm is None else norm(y, mask)))
      return y

    # The published block evaluates its body twice per call. Both results are equal, but the
    # running statistics are updated twice.
    body(x)
    return x + body(x)


class ConvolutionalNetwork(nn.Module, kw_only=True):
  """The layers of an arch string, each named by the position of its token.

  Attributes:
    arch: see `arch.py`.
    normalization: batch | instance | none.
    activation: a name that `arch.leaky_slope` knows.
    padding: of convolutions, valid (none) | same.
  """

  arch: str
  normalization: str
  activation: str
  padding: str

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, 'N H W C'], mask: Bool[Array, ' N'], *, train: bool
  ) -> Float[jax.Array, 'N h w c'] | Float[jax.Array, 'N c']:
    """A map, or features if the last token is FC. `mask` is True where an image is real.

    Raises:
      UserError: the arch string does not fit the input (see `arch.check_arch`).
    """
    _, height, width, channels = x.shape
    check_arch(self.arch, padding=self.padding, channels=channels, image_size=(height, width))
    tokens = parse_arch(self.arch)
    norm = normalization(self.normalization, train=train)
    activation = layers.activation(self.activation)
    mask = mask[:, None, None, None]

    first = True  # The first convolution gets the images as they are.
    for i, (kind, *arguments) in enumerate(tokens):
      if kind == 'C':
        width, features, *stride = arguments
        if not first:
          x = activation(x if norm is None else norm(name=f'norm_{i}')(x, mask))
        x = layers.Convolution(
          features=features,
          width=width,
          stride=stride[0] if stride else 1,
          padding=zeros_around(width, self.padding),
          name=f'conv_{i}',
        )(x)
        first = False
      elif kind == 'R':
        x = ResidualBlock(
          norm=None if first else norm, activation=activation, name=f'residual_{i}'
        )(x, mask)
        first = False
      elif kind == 'U':
        x = layers.upsample(x, arguments[0])
      elif kind == 'P':
        x = layers.average_pool(x, arguments[0])
      elif kind == 'FC':
        if x.ndim == 4:  # The published weights expect channels first.
          x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        x = layers.dense(x, arguments[1], name=f'linear_{i}')
        if i + 1 < len(tokens):
          x = activation(x)
    return x


class ImageDiscriminator(nn.Module, kw_only=True):
  """Scores patches of images as real or generated.

  Attributes:
    arch, normalization, activation, padding: see `ConvolutionalNetwork`.
    classifier: end in a 1x1 convolution to one score per patch, as the paper says. The published
      code has that layer, and its checkpoints the arrays, but never applies it: there every channel
      of the feature map is a score.
    dtype: of the computation.
  """

  arch: str
  normalization: str
  activation: str
  padding: str
  classifier: bool
  dtype: str

  @nn.compact
  def __call__(
    self, image: Float[Array, 'B H W C'], example_mask: Bool[Array, ' B'], *, train: bool
  ) -> Float[jax.Array, 'B h w c'] | Float[jax.Array, 'B c']:
    """The scores, float32; c is 1 with the classifier."""
    x = ConvolutionalNetwork(
      arch=self.arch,
      normalization=self.normalization,
      activation=self.activation,
      padding=self.padding,
      name='cnn',
    )(jnp.asarray(image, self.dtype), example_mask, train=train)
    if self.classifier:
      x = layers.Convolution(features=1, width=1, name='classifier')(x)
    return at_least_float32(x)


class ObjectDiscriminator(nn.Module, kw_only=True):
  """Scores crops of objects as real or generated, and classifies them.

  Attributes:
    num_objects: V.
    crop_size: side of the crops in pixels.
    align_corners: see `warping`.
    arch, normalization, activation, padding: see `ConvolutionalNetwork`.
    dtype: of the convolutional network; crops, scores and logits are computed in float32.
  """

  num_objects: int
  crop_size: int
  align_corners: bool
  arch: str
  normalization: str
  activation: str
  padding: str
  dtype: str

  @nn.compact
  def __call__(
    self,
    image: Float[Array, 'B H W C'],
    boxes: Float[Array, 'B O 4'],
    object_mask: Bool[Array, 'B O'],
    *,
    train: bool,
  ) -> tuple[Float[jax.Array, 'B O'], Float[jax.Array, 'B O {self.num_objects}']]:
    """The score and the class logits of every box's crop, that of `__image__` included."""
    crops = crop_objects(
      image,
      jnp.where(object_mask[..., None], boxes, 0),
      self.crop_size,
      align_corners=self.align_corners,
    )
    x = ConvolutionalNetwork(
      arch=self.arch,
      normalization=self.normalization,
      activation=self.activation,
      padding=self.padding,
      name='cnn',
    )(crops.reshape(-1, *crops.shape[2:]).astype(self.dtype), object_mask.reshape(-1), train=train)
    x = at_least_float32(x).mean(tuple(range(1, x.ndim - 1)))  # over the pixels of a map
    x = layers.dense(x, 1024, name='linear').reshape(*object_mask.shape, 1024)
    scores = layers.dense(x, 1, name='score')[..., 0]
    return scores, layers.dense(x, self.num_objects, name='class')

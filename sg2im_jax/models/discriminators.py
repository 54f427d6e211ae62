"""The image and the object discriminator, built from `arch` strings (paper section 3).

An arch string is a comma-separated list of tokens, applied in order:

    Cw-c[-s]  w x w convolution to c channels with stride s; every one but the first comes after normalisation and
              activation
    R         residual block: twice [normalisation, activation, 3x3 convolution], added to its input
    Ux        nearest-neighbour upsampling by x
    Px        average pooling over x x x
    FC-a-b    linear layer from a features (of the flattened map) to b
    Ix        input channels, as first token only; 3 without it
"""

import re
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import convolve
from sg2im_jax.models.crops import crop_objects
from sg2im_jax.models.normalization import at_least_float32, normalization

_TOKEN = re.compile(r'(FC|C|R|U|P|I)(?:-?(\d+(?:-\d+)*))?')
_ARGUMENTS = {'C': (2, 3), 'R': (0,), 'U': (1,), 'P': (1,), 'FC': (2,), 'I': (1,)}


def parse_arch(arch: str) -> tuple[tuple[str, ...], ...]:
  """'C4-64-2,R' -> (('C', 4, 64, 2), ('R',)).

  Raises:
    UserError: a token is unknown or has the wrong number of arguments.
  """
  tokens = []
  for i, text in enumerate(filter(None, arch.split(','))):
    match = _TOKEN.fullmatch(text)
    arguments = tuple(int(n) for n in match[2].split('-')) if match and match[2] else ()
    if not match or len(arguments) not in _ARGUMENTS[match[1]] or (match[1] == 'I' and i > 0):
      raise UserError(
        f'arch {arch!r}: token {i + 1} is {text!r}, expected one of Cw-c, Cw-c-s, R, Ux, Px, '
        'FC-a-b, '
        'or Ix at the start'
      )
    tokens.append((match[1], *arguments))
  return tuple(tokens)


def _padding(width: int, padding: str) -> int:
  if padding == 'valid':
    return 0
  if padding != 'same':
    raise UserError(f'padding {padding!r}: expected valid or same')
  if width % 2 == 0:
    raise UserError(f"padding 'same' needs an odd kernel, found a width of {width}")
  return (width - 1) // 2


class ResidualBlock(nn.Module):
  """x + body(x), the body being twice [normalisation, activation, 3x3 convolution]."""

  norm: Callable[..., Callable] | None
  activation: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    """x: float[N, H, W, C], mask: bool[N, 1, 1, 1] -> float[N, H, W, C]."""
    norms = (
      [self.norm(name=f'norm_{i}') for i in range(2)] if self.norm is not None else [None, None]
    )
    convolutions = [
      layers.Convolution(x.shape[-1], x.shape[-1], 3, name=f'conv_{i}') for i in range(2)
    ]
    # The published block evaluates its body twice a call; the outputs are equal, but running
    # statistics move twice.
    for _ in range(2):
      y = x
      for norm, convolution in zip(norms, convolutions):
        y = self.activation(y if norm is None else norm(y, mask))
        y = convolution(lambda kernel, y=y: convolve(y, kernel.astype(y.dtype), [(1, 1)] * 2))
    return x + y


class ConvolutionalNetwork(nn.Module):
  """The layers of an `arch` string; each is named by the position of its token.

  Attributes:
    arch: see the module's docstring.
    normalization: batch | instance | none.
    activation: a name that layers.activation knows.
    padding: of convolutions, valid (none) | same.
  """

  arch: str
  normalization: str
  activation: str
  padding: str

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
    """x: float[N, H, W, C]; mask: bool[N], True where an image is real -> float[N, h, w, c], or [N,
    c] after FC.
    """
    tokens = parse_arch(self.arch)
    norm = normalization(self.normalization, train=train)
    activation = layers.activation(self.activation)
    mask = mask[:, None, None, None]
    channels = 3
    if tokens and tokens[0][0] == 'I':
      channels = tokens[0][1]
    if x.shape[-1] != channels:
      raise UserError(
        f'arch {self.arch!r} takes {channels} input channels, the images have {x.shape[-1]}'
      )
    first = True  # of the convolutions: it sees the raw image
    for i, (kind, *arguments) in enumerate(tokens):
      if kind == 'C':
        width, features, *stride = arguments
        if not first:
          x = activation(x if norm is None else norm(name=f'norm_{i}')(x, mask))
        x = layers.conv(
          x,
          features,
          width,
          name=f'conv_{i}',
          stride=stride[0] if stride else 1,
          padding=_padding(width, self.padding),
        )
        first = False
      elif kind == 'R':
        if _padding(3, self.padding) == 0:
          raise UserError(
            f"arch {self.arch!r}: a residual block needs padding 'same', found {self.padding!r}"
          )
        x = ResidualBlock(None if first else norm, activation, name=f'residual_{i}')(x, mask)
        first = False
      elif kind == 'U':
        x = layers.upsample(x, arguments[0])
      elif kind == 'P':
        x = layers.average_pool(x, arguments[0])
      elif kind == 'FC':
        if x.ndim == 4:
          x = x.transpose(0, 3, 1, 2).reshape(
            x.shape[0], -1
          )  # the published weights expect channels first
        if x.shape[-1] != arguments[0]:
          raise UserError(
            f'arch {self.arch!r}: token {i + 1} takes {arguments[0]} features, it gets '
            f'{x.shape[-1]}'
          )
        x = layers.dense(x, arguments[1], name=f'linear_{i}')
        if i + 1 < len(tokens):
          x = activation(x)
    return x


class ImageDiscriminator(nn.Module):
  """Scores patches of an image.

  Attributes:
    classifier: end in a 1x1 convolution to one score, as the paper says. The published code has
      that layer, and its checkpoints the arrays, but never applies it: every channel of the feature
      map is a score.
    dtype: what to compute in.
  """

  arch: str
  normalization: str
  activation: str
  padding: str
  classifier: bool
  dtype: str

  @nn.compact
  def __call__(self, image: jax.Array, example_mask: jax.Array, *, train: bool) -> jax.Array:
    """image: float32[B, H, W, 3], example_mask: bool[B] -> scores float32[B, h, w, c], or c = 1
    with the classifier.
    """
    x = ConvolutionalNetwork(
      self.arch, self.normalization, self.activation, self.padding, name='cnn'
    )(image.astype(self.dtype), example_mask, train=train)
    x = layers.conv(x, 1, 1, name='classifier') if self.classifier else x
    return at_least_float32(x)


class ObjectDiscriminator(nn.Module):
  """Scores crops of objects, and says what they show.

  Attributes:
    num_objects: V.
    crop_size: side in pixels of the crops.
    align_corners: as for `crop_objects`.
    dtype: what to compute in; crops are cut out in float32, and scores and logits are.
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
    self, image: jax.Array, boxes: jax.Array, object_mask: jax.Array, *, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Crops each box (that of `__image__` too) out of its image and judges it.

    Args:
      image: float32[B, H, W, 3].
      boxes: float32[B, O, 4].
      object_mask: bool[B, O].

    Returns:
      Scores float32[B, O] and class logits float32[B, O, V].
    """
    crops = crop_objects(
      image,
      jnp.where(object_mask[..., None], boxes, 0),
      self.crop_size,
      align_corners=self.align_corners,
    )
    x = ConvolutionalNetwork(
      self.arch, self.normalization, self.activation, self.padding, name='cnn'
    )(crops.reshape(-1, *crops.shape[2:]).astype(self.dtype), object_mask.reshape(-1), train=train)
    x = layers.dense(at_least_float32(x).mean(tuple(range(1, x.ndim - 1))), 1024, name='linear')
    x = x.reshape(*object_mask.shape, 1024)
    scores = layers.dense(x, 1, name='score')[..., 0]
    return scores, layers.dense(x, self.num_objects, name='class')

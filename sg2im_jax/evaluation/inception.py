"""The Inception-v3 of 2015-12-05, with which published FIDs and Inception scores were measured.

It is the TensorFlow graph that the authors of both metrics used, and differs from the Inception-v3
of libraries of models in ways that change the scores: images are resized as by TensorFlow 1;
average pools divide by the pixels under the window, without the padding; the last block pools by
the maximum; there are 1008 classes. Modules have the names that the PyTorch file of its weights
gives them, which pytorch-fid publishes as `pt_inception-2015-12-05-6726825d.pth` and torch-fidelity
as `weights-inception-2015-12-05-6726825d.pth`.

Architecture: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

NUM_FEATURES = 2048
RESIZE = 'bilinear to 299x299 as TensorFlow 1, corners not aligned, no anti-aliasing'
UNUSED = ('fc.bias',)  # of the arrays in the file, see `Inception`
NUM_CLASSES = 1008
# The ends of five sizes.
STAGES = ('Conv2d_2b_3x3', 'Conv2d_4a_3x3', 'Mixed_5d', 'Mixed_6e', 'Mixed_7c')
INPUT_SIZE = 299


def published_name(module: tuple[str, ...]) -> str:
  """The name of a module in the PyTorch file, by its path here."""
  return '.'.join(module)


def preprocess(images: UInt8[jax.Array, 'N H W 3']) -> Float[jax.Array, 'N 299 299 3']:
  """Resizes images as TensorFlow 1 does and scales them to [-1, 1)."""
  rows, columns = (_resize_matrix(size) for size in images.shape[1:3])
  resized = jnp.einsum('nhwc,yh,xw->nyxc', images.astype(jnp.float32), rows, columns)
  return (resized - 128) / 128


def _resize_matrix(size: int) -> np.ndarray:
  """float32[299, size]: for each pixel of the input the weights of the two pixels around it.

  Pixel x of the input is at x * size / 299 of the image, both counted from their first pixel's
  centre: TensorFlow 1 shifts nothing by half a pixel, so that beyond the last pixel's centre the
  last pixel is repeated.
  """
  position = np.arange(INPUT_SIZE, dtype=np.float32) * np.float32(size / INPUT_SIZE)
  left = position.astype(int)
  right = np.minimum(left + 1, size - 1)
  matrix = np.zeros((INPUT_SIZE, size), np.float32)
  np.add.at(matrix, (np.arange(INPUT_SIZE), left), 1 - (position - left))
  np.add.at(matrix, (np.arange(INPUT_SIZE), right), position - left)
  return matrix


class Inception(nn.Module):
  """The network as it is after training."""

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Classifies preprocessed images.

    Args:
      x: float32[N, 299, 299, 3] from `preprocess`.

    Returns:
      features: float32[N, 2048], the last block averaged over its pixels: what FID and KID compare.
      logits: float32[N, 1008], without the bias of the last layer. Published Inception scores are
        of these: the code of Salimans et al., "Improved Techniques for Training GANs", 2016,
        multiplies the features by the weights of that layer and adds nothing; torch-fidelity calls
        them `logits_unbiased` and does the same.
    """
    x = _ConvNorm(32, (3, 3), 2, 'VALID', name='Conv2d_1a_3x3')(x)
    x = _ConvNorm(32, (3, 3), 1, 'VALID', name='Conv2d_2a_3x3')(x)
    x = _ConvNorm(64, (3, 3), name='Conv2d_2b_3x3')(x)
    x = _max_pool(x)
    x = _ConvNorm(80, (1, 1), name='Conv2d_3b_1x1')(x)
    x = _ConvNorm(192, (3, 3), 1, 'VALID', name='Conv2d_4a_3x3')(x)
    x = _max_pool(x)
    x = _BlockA(32, name='Mixed_5b')(x)  # 35 x 35 from here
    x = _BlockA(64, name='Mixed_5c')(x)
    x = _BlockA(64, name='Mixed_5d')(x)
    x = _BlockB(name='Mixed_6a')(x)  # 17 x 17
    x = _BlockC(128, name='Mixed_6b')(x)
    x = _BlockC(160, name='Mixed_6c')(x)
    x = _BlockC(160, name='Mixed_6d')(x)
    x = _BlockC(192, name='Mixed_6e')(x)
    x = _BlockD(name='Mixed_7a')(x)  # 8 x 8
    x = _BlockE(_average_pool, name='Mixed_7b')(x)
    x = _BlockE(_max_pool_same, name='Mixed_7c')(x)
    features = x.mean((1, 2))
    return features, nn.Dense(NUM_CLASSES, use_bias=False, name='fc')(features)


class _ConvNorm(nn.Module):
  """Convolution without bias, BatchNorm by its running statistics, ReLU."""

  num_channels: int
  kernel_size: tuple[int, int]
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.Conv(
      self.num_channels, self.kernel_size, self.stride, self.padding, use_bias=False, name='conv'
    )(x)
    return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name='bn')(x))


class _BlockA(nn.Module):
  num_pool_channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    one = _ConvNorm(64, (1, 1), name='branch1x1')(x)
    five = _ConvNorm(48, (1, 1), name='branch5x5_1')(x)
    five = _ConvNorm(64, (5, 5), name='branch5x5_2')(five)
    double = _ConvNorm(64, (1, 1), name='branch3x3dbl_1')(x)
    double = _ConvNorm(96, (3, 3), name='branch3x3dbl_2')(double)
    double = _ConvNorm(96, (3, 3), name='branch3x3dbl_3')(double)
    pool = _ConvNorm(self.num_pool_channels, (1, 1), name='branch_pool')(_average_pool(x))
    return jnp.concatenate([one, five, double, pool], -1)


class _BlockB(nn.Module):
  """Halves the sides."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    three = _ConvNorm(384, (3, 3), 2, 'VALID', name='branch3x3')(x)
    double = _ConvNorm(64, (1, 1), name='branch3x3dbl_1')(x)
    double = _ConvNorm(96, (3, 3), name='branch3x3dbl_2')(double)
    double = _ConvNorm(96, (3, 3), 2, 'VALID', name='branch3x3dbl_3')(double)
    return jnp.concatenate([three, double, _max_pool(x)], -1)


class _BlockC(nn.Module):
  num_inner_channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inner = self.num_inner_channels
    one = _ConvNorm(192, (1, 1), name='branch1x1')(x)
    seven = _ConvNorm(inner, (1, 1), name='branch7x7_1')(x)
    seven = _ConvNorm(inner, (1, 7), name='branch7x7_2')(seven)
    seven = _ConvNorm(192, (7, 1), name='branch7x7_3')(seven)
    double = _ConvNorm(inner, (1, 1), name='branch7x7dbl_1')(x)
    double = _ConvNorm(inner, (7, 1), name='branch7x7dbl_2')(double)
    double = _ConvNorm(inner, (1, 7), name='branch7x7dbl_3')(double)
    double = _ConvNorm(inner, (7, 1), name='branch7x7dbl_4')(double)
    double = _ConvNorm(192, (1, 7), name='branch7x7dbl_5')(double)
    pool = _ConvNorm(192, (1, 1), name='branch_pool')(_average_pool(x))
    return jnp.concatenate([one, seven, double, pool], -1)


class _BlockD(nn.Module):
  """Halves the sides."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    three = _ConvNorm(192, (1, 1), name='branch3x3_1')(x)
    three = _ConvNorm(320, (3, 3), 2, 'VALID', name='branch3x3_2')(three)
    seven = _ConvNorm(192, (1, 1), name='branch7x7x3_1')(x)
    seven = _ConvNorm(192, (1, 7), name='branch7x7x3_2')(seven)
    seven = _ConvNorm(192, (7, 1), name='branch7x7x3_3')(seven)
    seven = _ConvNorm(192, (3, 3), 2, 'VALID', name='branch7x7x3_4')(seven)
    return jnp.concatenate([three, seven, _max_pool(x)], -1)


class _BlockE(nn.Module):
  """The last blocks, 8 x 8.

  Attributes:
    pool: over 3 x 3 pixels; the two blocks of this kind differ in it.
  """

  pool: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    one = _ConvNorm(320, (1, 1), name='branch1x1')(x)
    three = _ConvNorm(384, (1, 1), name='branch3x3_1')(x)
    three = [
      _ConvNorm(384, (1, 3), name='branch3x3_2a')(three),
      _ConvNorm(384, (3, 1), name='branch3x3_2b')(three),
    ]
    double = _ConvNorm(448, (1, 1), name='branch3x3dbl_1')(x)
    double = _ConvNorm(384, (3, 3), name='branch3x3dbl_2')(double)
    double = [
      _ConvNorm(384, (1, 3), name='branch3x3dbl_3a')(double),
      _ConvNorm(384, (3, 1), name='branch3x3dbl_3b')(double),
    ]
    pool = _ConvNorm(192, (1, 1), name='branch_pool')(self.pool(x))
    return jnp.concatenate([one, *three, *double, pool], -1)


def _max_pool(x: jax.Array) -> jax.Array:
  """3 x 3, at every second pixel."""
  return _reduce_windows(x, jnp.maximum, 2)


def _max_pool_same(x: jax.Array) -> jax.Array:
  """3 x 3, at every pixel."""
  return _reduce_windows(_pad(x, -jnp.inf), jnp.maximum, 1)


def _average_pool(x: jax.Array) -> jax.Array:
  """3 x 3, at every pixel; the mean of those pixels under the window that are in the image."""
  count = _reduce_windows(_pad(jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0.0), jnp.add, 1)
  return _reduce_windows(_pad(x, 0.0), jnp.add, 1) / count


def _pad(x: jax.Array, value: float) -> jax.Array:
  return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=value)


def _reduce_windows(
  x: jax.Array, combine: Callable[[jax.Array, jax.Array], jax.Array], stride: int
) -> jax.Array:
  """`combine` over windows of 3 x 3: over their rows, then over their columns.

  Each is three slices of the whole; on CPUs XLA's own operation on windows takes three to ten times
  as long.
  """
  for axis in (1, 2):
    end = x.shape[axis] - 2
    first, second, third = (
      jax.lax.slice_in_dim(x, offset, end + offset, stride, axis) for offset in range(3)
    )
    x = combine(combine(first, second), third)
  return x

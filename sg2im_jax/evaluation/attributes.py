"""Whether drawn objects have the attributes that were asked for, by a classifier of real ones.

The classifier sees a crop of an object, its class and the sides of its box (a small thing fills its
crop as a large one does), and tells each attribute by itself. It learns from real objects of
another split, as the classifiers of classes do (`classification.py`), but mirrors none: where
something faces is an attribute.
"""

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int, UInt8

from sg2im_jax.evaluation import classification
from sg2im_jax.evaluation.classification import ResNet, cut
from sg2im_jax.evaluation.pictures import Scenes
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics.metric import Metric, score_all
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.scene_batch import SceneBatch

MOST_LEARNED = 2_000  # images
NUM_STEPS = 1_500
_LEAST_SIDE = 1e-3  # whose logarithm is taken
_MIDDLE, _SCALE = -1.2, 4.0  # to numbers around 0, of which small differences matter


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AttributedCrops:
  """N objects cut out of pictures, and what they are to be like. Whole images are objects, too.

  Attributes:
    pixels: each box stretched to a square.
    object_class: of each object.
    sides: of its box, as shares of the image's.
    attributes: which of the vocabulary's attributes it has, or was asked to have.
  """

  pixels: UInt8[np.ndarray, 'N 32 32 3']
  object_class: Int[np.ndarray, ' N']
  sides: Float[np.ndarray, 'N 2']
  attributes: Bool[np.ndarray, 'N C']

  def __len__(self) -> int:
    return len(self.object_class)

  @classmethod
  def of_batch(
    cls,
    pictures: UInt8[np.ndarray, 'B H W 3'],
    boxes: Float[np.ndarray, 'B O 4'],
    batch: SceneBatch,
    num_attributes: int,
  ) -> 'AttributedCrops':
    """The objects of pictures; those that have no attribute say what has none."""
    assert batch.attributes is not None
    real = np.asarray(batch.object_mask)
    slots = np.asarray(batch.attributes)
    has = (slots[..., None] == 1 + np.arange(num_attributes)).any(-2)
    return cls(
      pixels=np.asarray(cut(pictures, boxes))[real],
      object_class=np.asarray(batch.object_class)[real],
      sides=(boxes[..., 2:] - boxes[..., :2])[real],
      attributes=has[real],
    )

  @classmethod
  def concatenate(cls, parts: Sequence['AttributedCrops']) -> 'AttributedCrops':
    """All objects of several sets."""
    names = [field.name for field in dataclasses.fields(cls)]
    return cls(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in names})


class AttributeClassifier:
  """Tells the attributes of crops; trained by the constructor."""

  def __init__(self, crops: AttributedCrops, num_classes: int, seed: int = 0):
    """Trains for 1,500 steps of 64 crops, unless the cache has the result.

    Args:
      crops: at least one.
      num_classes: of the vocabulary, V.
      seed: of the initial weights and the order of the crops.
    """
    network = ResNet(crops.attributes.shape[1])

    def logits(params, rows: dict[str, Any]) -> jax.Array:
      return cast(jax.Array, network.apply(params, *_inputs(rows, num_classes)))

    def loss(params, rows: dict[str, Any]):
      told = logits(params, rows)
      return optax.sigmoid_binary_cross_entropy(told, rows['attributes']).mean(0).sum()

    def trained() -> Any:
      batches = classification.passes(_arrays(crops), np.random.default_rng(seed), NUM_STEPS)
      first = _rows(crops, slice(0, 1))
      params = jax.jit(network.init)(jax.random.key(seed), *_inputs(first, num_classes))
      return classification.fitted(params, loss, batches, NUM_STEPS)

    self._params = classification.cached(
      trained,
      inspect.getsource(sys.modules[__name__]),
      *_arrays(crops).values(),
      NUM_STEPS,
      num_classes,
      seed,
    )
    self._tell = jax.jit(logits)

  def __call__(self, crops: AttributedCrops) -> Bool[np.ndarray, 'N C']:
    """Which attributes each object has."""
    size, found = classification.BATCH_SIZE, []
    for start in range(0, len(crops), size):
      rows = _rows(crops, np.arange(start, start + size) % len(crops))
      found.append(np.asarray(self._tell(self._params, rows)) > 0)
    return np.concatenate(found)[: len(crops)]


def _arrays(crops: AttributedCrops) -> dict[str, np.ndarray]:
  return {field.name: getattr(crops, field.name) for field in dataclasses.fields(crops)}


def _rows(crops: AttributedCrops, rows: Any) -> dict[str, np.ndarray]:
  return {name: values[rows] for name, values in _arrays(crops).items()}


def _inputs(rows: dict[str, Any], num_classes: int) -> tuple[Any, jax.Array]:
  of_class = jax.nn.one_hot(rows['object_class'], num_classes)
  logarithms = jnp.log(jnp.maximum(rows['sides'], _LEAST_SIDE))
  width, height = jnp.split((logarithms - _MIDDLE) * _SCALE, 2, -1)
  return rows['pixels'], jnp.concatenate([of_class, of_class * width, of_class * height], -1)


def trained(others: Scenes, seed: int, batch_size: int) -> AttributeClassifier:
  """A classifier of the objects of real images, which have attributes."""
  vocabulary = others.vocabulary
  crops = _real_crops(others, num_attributes=vocabulary.num_attributes, batch_size=batch_size)
  return AttributeClassifier(crops, vocabulary.num_objects, seed=seed)


def scores(
  model: TrainedModel,
  scenes: Scenes,
  classifier: AttributeClassifier,
  protocol: Protocol,
  batch_size: int,
) -> dict[str, Any]:
  """Draws every scene once with its attributes, and tells which of them are seen.

  Args:
    model: whose vocabulary has attributes.
    scenes: to draw, with attributes.
    classifier: `trained` on other images.
    protocol: of the evaluation.
    batch_size: images at a time.

  Returns:
    num_asked: attributes that were asked for; ATTRIBUTE_METRICS; `of`, by attribute its number and
    F1 on real and on drawn objects.
  """
  names = model.vocabulary.attribute_names
  real = _real_crops(scenes, num_attributes=len(names), batch_size=batch_size)
  drawn = _drawn_crops(model, scenes, protocol, batch_size)
  scored = ScoredAttributes(
    real=real.attributes, seen=classifier(real), asked=drawn.attributes, drawn=classifier(drawn)
  )
  by_name = {
    name: {
      'num_asked': int(drawn.attributes[:, index].sum()),
      'real_f1': _f1(scored.real[:, index], scored.seen[:, index]),
      'drawn_f1': _f1(scored.asked[:, index], scored.drawn[:, index]),
    }
    for index, name in enumerate(names)
  }
  return {
    'num_asked': int(drawn.attributes.sum()),
    **score_all(ATTRIBUTE_METRICS, scored),
    'of': {name: values for name, values in by_name.items() if values['num_asked']},
  }


def _real_crops(scenes: Scenes, *, num_attributes: int, batch_size: int) -> AttributedCrops:
  return AttributedCrops.concatenate(
    [
      AttributedCrops.of_batch(
        np.asarray(batch.image), np.asarray(batch.boxes), batch, num_attributes
      )
      for batch in scenes.batches(batch_size)
    ]
  )


def _drawn_crops(
  model: TrainedModel, scenes: Scenes, protocol: Protocol, batch_size: int
) -> AttributedCrops:
  assert protocol.stretch is not None
  found = []
  for index, batch in enumerate(
    reporting.with_progress(
      scenes.batches(batch_size),
      total=-(-len(scenes) // batch_size),
      noun='batches of graphs with attributes sampled',
      images_each=batch_size,
    )
  ):
    sampled = model.sampler.sample(
      batch.replace(image=None, boxes=None, masks=None),
      protocol.seed,
      scenes.batch_numbers(index, batch_size),
      np.zeros(batch_size, np.int32),
      stretch=protocol.stretch,
    )
    pictures, boxes = np.asarray(sampled.pictures), np.asarray(sampled.boxes)
    found.append(AttributedCrops.of_batch(pictures, boxes, batch, model.vocabulary.num_attributes))
  return AttributedCrops.concatenate(found)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoredAttributes:
  """What the metrics of attributes share.

  Attributes:
    real: the attributes of real objects.
    seen: those that the classifier sees there.
    asked: the attributes that drawn objects were asked to have.
    drawn: those that the classifier sees there.
  """

  real: Bool[np.ndarray, 'N C']
  seen: Bool[np.ndarray, 'N C']
  asked: Bool[np.ndarray, 'M C']
  drawn: Bool[np.ndarray, 'M C']


def _f1(true: np.ndarray, found: np.ndarray) -> float | None:
  """Of the objects with one attribute; None if none has it."""
  total = int(true.sum())
  return 2 * float((true & found).sum()) / (total + int(found.sum())) if total else None


def _mean_f1(true: np.ndarray, found: np.ndarray) -> float | None:
  of_each = [_f1(*pair) for pair in zip(true.T, found.T, strict=True)]
  known = [value for value in of_each if value is not None]
  return float(np.mean(known)) if known else None


def _share(true: np.ndarray, found: np.ndarray) -> float | None:
  return float((true & found).sum() / true.sum()) if true.any() else None


ATTRIBUTE_METRICS = (
  Metric(
    name='real_share',
    label='seen in real',
    value=lambda scored: _share(scored.real, scored.seen),
    higher_is_better=None,
    is_share=True,
  ),
  Metric(
    name='drawn_share',
    label='seen in sampled',
    value=lambda scored: _share(scored.asked, scored.drawn),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='real_f1',
    label='mean F1 in real',
    value=lambda scored: _mean_f1(scored.real, scored.seen),
    higher_is_better=None,
    is_share=True,
  ),
  Metric(
    name='drawn_f1',
    label='mean F1 in sampled',
    value=lambda scored: _mean_f1(scored.asked, scored.drawn),
    higher_is_better=True,
    is_share=True,
  ),
)

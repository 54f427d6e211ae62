"""The classifier of attributes and its scores, on shapes whose attributes are exact."""

import numpy as np
import pytest

from sg2im_jax.evaluation import attributes
from sg2im_jax.evaluation.attributes import (
  ATTRIBUTE_METRICS,
  AttributeClassifier,
  AttributedCrops,
  ScoredAttributes,
)
from sg2im_jax.metrics.metric import score_all
from tests.small_scenes import random_batch

pytestmark = pytest.mark.slow


def _shapes(count: int, seed: int) -> AttributedCrops:
  """Bars that are red or not, on the left or not, large or not."""
  random = np.random.default_rng(seed)
  attributes = random.random((count, 3)) < 0.4
  pixels = np.empty((count, 32, 32, 3), np.uint8)
  for crop, (is_red, is_left, _) in zip(pixels, attributes):
    crop[:] = random.integers(0, 100, 3)
    start = random.integers(0, 8) + (0 if is_left else 16)
    crop[4:28, start : start + 6] = (220, 30, 30) if is_red else (30, 200, 30)
  sides = np.where(attributes[:, 2:], 0.5, 0.25) * random.uniform(0.9, 1.1, (count, 2))
  return AttributedCrops(
    pixels=pixels,
    object_class=random.integers(0, 4, count).astype(np.int32),
    sides=sides.astype(np.float32),
    attributes=attributes,
  )


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    patch.setattr(attributes, 'NUM_STEPS', 150)
    return AttributeClassifier(_shapes(600, 0), 4)


def test_tells_colour_side_and_size(classifier):
  crops = _shapes(130, 1)
  found = classifier(crops)
  assert found.shape == (130, 3)
  assert ((found == crops.attributes).mean(0) > 0.9).all()


def test_scores_are_shares_of_what_was_asked():
  real = np.array([[1, 0], [1, 0], [1, 1], [1, 0]], bool)
  seen = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], bool)
  asked, drawn = real[:2], ~real[:2]
  found = score_all(
    ATTRIBUTE_METRICS, ScoredAttributes(real=real, seen=seen, asked=asked, drawn=drawn)
  )
  assert found['real_share'] == pytest.approx(4 / 5) and found['drawn_share'] == 0
  assert found['real_f1'] == pytest.approx((6 / 7 + 2 / 3) / 2)
  assert found['drawn_f1'] == 0  # of the first attribute; the second was not asked for
  nothing = np.zeros((2, 2), bool)
  found = score_all(
    ATTRIBUTE_METRICS, ScoredAttributes(real=nothing, seen=seen[:2], asked=nothing, drawn=drawn)
  )
  assert set(found.values()) == {None}


def test_crops_of_a_batch_have_the_attributes_of_its_slots():
  batch = random_batch()
  crops = AttributedCrops.of_batch(batch.image, batch.boxes, batch, 3)
  assert len(crops) == batch.object_mask.sum() == len(crops.pixels)
  slots = batch.attributes[batch.object_mask]
  expected = [[name + 1 in row for name in range(3)] for row in slots]
  np.testing.assert_array_equal(crops.attributes, expected)
  np.testing.assert_allclose(crops.sides[0], [1, 1])  # the whole image
  both = AttributedCrops.concatenate([crops, crops])
  assert len(both) == 2 * len(crops)

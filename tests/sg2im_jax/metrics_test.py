import numpy as np
import pytest

from sg2im_jax import metrics
from sg2im_jax.scene_batch import SceneBatch


@pytest.mark.parametrize('box, other, expected', [
    ([0, 0, 1, 1], [0, 0, 1, 1], 1),
    ([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3),
    ([0, 0, 1, 1], [2, 2, 3, 3], 0),
    ([0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75], 0.25),
    ([1, 1, 0, 0], [0, 0, 1, 1], 0),  # corners swapped: no area
    ([0, 0, 0, 0], [0, 0, 0, 0], 0),
])
def test_box_iou(box, other, expected):
  box, other = np.array(box, np.float32), np.array(other, np.float32)
  np.testing.assert_allclose(metrics.box_iou(box, other), expected, rtol=1e-6)
  np.testing.assert_allclose(metrics.box_iou(other, box), expected, rtol=1e-6)


def test_box_iou_counts_real_objects_without_the_image():
  boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [1e6, 1e6, np.nan, np.inf]]], np.float32)
  target = np.array([[[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 0, 0]]], np.float32)
  mask = np.array([[True, True, False]])
  batch = SceneBatch(object_class=np.zeros((1, 3), np.int32), object_mask=mask, triples=np.zeros((1, 1, 3), np.int32),
                     triple_mask=np.zeros((1, 1), bool), boxes=target)
  total, count = metrics.box_iou_sums(boxes, batch)
  assert (float(total), int(count)) == (0.5, 1)


def test_means_weigh_by_count():
  batches = [{'a': (np.float32(3), 2), 'b': (0.0, 0)}, {'a': (np.float32(1), 6), 'b': (0.0, 0)}]
  assert metrics.means(batches) == pytest.approx({'a': 0.5, 'b': float('nan')}, nan_ok=True)

import numpy as np
import pytest

from sg2im_jax.metrics import metric as metrics


@pytest.mark.parametrize(
  'box, other, expected',
  [
    ([0, 0, 1, 1], [0, 0, 1, 1], 1),
    ([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3),
    ([0, 0, 1, 1], [2, 2, 3, 3], 0),
    ([0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75], 0.25),
    ([1, 1, 0, 0], [0, 0, 1, 1], 0),  # corners swapped: no area
    ([0, 0, 0, 0], [0, 0, 0, 0], 0),
  ],
)
def test_box_iou(box, other, expected):
  box, other = np.array(box, np.float32), np.array(other, np.float32)
  np.testing.assert_allclose(metrics.box_iou(box, other), expected, rtol=1e-6)
  np.testing.assert_allclose(metrics.box_iou(other, box), expected, rtol=1e-6)


def test_means_weigh_by_count():
  batches = [{'a': (np.float32(3), 2), 'b': (0.0, 0)}, {'a': (np.float32(1), 6), 'b': (0.0, 0)}]
  assert metrics.means(batches) == pytest.approx({'a': 0.5, 'b': float('nan')}, nan_ok=True)

"""Run lengths against pycocotools, and what is refused."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from pycocotools import mask as coco_mask

from data_pipelines.pipeline import masks

PICTURES = hypothesis_numpy.arrays(
  bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans()
)


def compressed(picture):
  runs = coco_mask.encode(np.asfortranarray(picture.astype(np.uint8)))
  return {'size': list(picture.shape), 'counts': runs['counts'].decode()}


@hypothesis.given(PICTURES)
def test_text_means_what_pycocotools_wrote(picture):
  height, width = picture.shape
  np.testing.assert_array_equal(masks.run_length_mask(compressed(picture), width, height), picture)


@hypothesis.given(PICTURES)
def test_lists_of_runs(picture):
  height, width = picture.shape
  pixels = picture.T.ravel()
  ends = np.flatnonzero(np.diff(pixels)) + 1
  counts = np.diff([0, *ends, pixels.size]).tolist()
  runs = {'size': [height, width], 'counts': [0, *counts] if pixels[0] else counts}
  np.testing.assert_array_equal(masks.run_length_mask(runs, width, height), picture)


@hypothesis.given(PICTURES, st.data())
def test_damaged_text_is_refused_or_fills_the_picture(picture, data):
  height, width = picture.shape
  runs = compressed(picture)
  text = runs['counts']
  at = data.draw(st.integers(0, len(text) - 1))
  runs['counts'] = text[:at] + data.draw(
    st.sampled_from(['', '0', 'o', '~', '\N{SNOWMAN}', 'oooooooo'])
  )
  try:
    found = masks.run_length_mask(runs, width, height)
  except masks.MaskFault:
    return
  assert found.shape == (height, width)


@pytest.mark.parametrize(
  ('runs', 'expected'),
  [
    (None, 'is null; expected'),
    ({'size': [4, 3]}, 'expected {"size"'),
    ({'size': [3, 4], 'counts': [12]}, r'has the size \[3, 4\]; expected .* \[4, 3\]'),
    ({'size': [4, 3], 'counts': [2, 9]}, 'has counts of 11 pixels together; expected 4 x 3 = 12'),
    ({'size': [4, 3], 'counts': [2, 11]}, 'has counts of 13 pixels'),
    ({'size': [4, 3], 'counts': [13, -1]}, 'some below 0'),
    ({'size': [4, 3], 'counts': [2.5, 9.5]}, 'expected the lengths of runs'),
    ({'size': [4, 3], 'counts': [True, 11]}, 'expected the lengths of runs'),
    ({'size': [4, 3], 'counts': None}, 'expected the lengths of runs'),
    ({'size': [4, 3], 'counts': ''}, 'which end too early'),
    ({'size': [4, 3], 'counts': 'PP'}, 'which end too early'),
    ({'size': [4, 3], 'counts': '\N{SNOWMAN}'}, "other characters than COCO's"),
    ({'size': [4, 3], 'counts': 'oooooooo0'}, 'a number too large'),
  ],
)
def test_refuses_runs(runs, expected):
  with pytest.raises(masks.MaskFault, match=expected):
    masks.run_length_mask(runs, 3, 4)


@pytest.mark.parametrize(
  'polygon',
  [
    [0, 0, 2, 2],
    [0, 0, 2, 0, 2],
    [0, 0, 2, 0, 2, None],
    [0, 0, 2, 0, 2, float('nan')],
    [[0, 0]],
    5,
  ],
)
def test_refuses_polygons(polygon):
  with pytest.raises(masks.MaskFault, match='expected .* at least three corners'):
    masks.polygon_mask([polygon], 3, 4)


def test_cuts_polygons_off_at_the_frame():
  mask = masks.polygon_mask([[-3, -3, 3, -3, 3, 3, -3, 3]], 6, 4)
  np.testing.assert_array_equal(mask, np.pad(np.ones((3, 3), bool), ((0, 1), (0, 3))))
  with pytest.raises(masks.MaskFault, match='far out of the image of 6x4 pixels'):
    masks.polygon_mask([[0, 0, 1e7, 0, 2, 2]], 6, 4)

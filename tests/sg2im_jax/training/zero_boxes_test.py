import numpy as np
import pytest

from sg2im_jax.training.zero_boxes import ENOUGH, ZeroBoxes, coordinates

BOXES = np.full((2, 3, 4), 0.5, np.float32)


@pytest.mark.parametrize(
  ('zeros', 'expected'),
  [
    ([], 0),
    ([(..., 0)], 1),
    ([(..., 1), (..., 3)], 10),
    ([(slice(None), 0, 2)], 0),  # of the first object alone
    ([...], 15),
  ],
)
def test_coordinates_that_are_zero_for_every_object(zeros, expected):
  boxes = BOXES.copy()
  for place in zeros:
    boxes[place] = 0
  object_mask = np.array([[True, True, False], [True, False, False]])
  assert coordinates(boxes, object_mask) == expected
  boxes[~object_mask] = 7  # padding counts for nothing
  assert coordinates(boxes, object_mask) == expected


def test_warns_once_of_what_stays_zero(reported):
  watch = ZeroBoxes()
  watch.note([np.float32(9)] * (ENOUGH - 1))
  assert not reported()
  watch.note([np.float32(8), np.float32(9)])
  said = reported()
  assert said.startswith('y1 of every predicted box has been 0 for 200 steps')
  assert '--config.model.initial_box=0.5' in said and said.count('\n') == 1
  watch.note([np.float32(9)] * (ENOUGH - 2))
  assert not reported()
  watch.note([np.float32(9)])
  assert reported().startswith('x0 of every')
  watch.note([np.float32(9)] * 3 * ENOUGH)
  assert not reported()

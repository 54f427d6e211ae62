import jax
import jax.numpy as jnp
import numpy as np

from sg2im_jax.models.object_tokens import (
  SMALLEST_SIDE,
  boxes_to_tokens,
  tokens_to_boxes,
  with_image_box,
)

BOXES = np.array(
  [
    [0.2, 0.3, 0.5, 0.9],
    [0, 0, 1, 0.4],  # a sky
    [0.85, 0.1, 1, 0.3],  # cut off
    [0, 0, 1, 1],
    [0.02, 0.05, 0.97, 0.98],  # near to the frame
  ],
  np.float32,
)


def test_boxes_come_back():
  np.testing.assert_allclose(tokens_to_boxes(boxes_to_tokens(BOXES)), BOXES, atol=1e-6)


def test_edges_at_the_frame_stay_there_when_tokens_are_only_nearly_right():
  noise = 0.05 * jax.random.normal(jax.random.key(0), (200, *BOXES.shape))
  found = np.asarray(tokens_to_boxes(boxes_to_tokens(BOXES) + noise))
  at_frame = (BOXES == 0) | (BOXES == 1)
  np.testing.assert_array_equal(
    found[:, at_frame], np.broadcast_to(BOXES[at_frame], (200, at_frame.sum()))
  )
  assert found[:, 0].std(0).min() > 0.01  # other edges move


def test_any_tokens_are_boxes_in_the_image():
  tokens = 30 * jax.random.normal(jax.random.key(1), (500, 4))
  boxes = np.asarray(tokens_to_boxes(tokens))
  assert np.isfinite(boxes).all() and boxes.min() >= 0 and boxes.max() <= 1
  assert (boxes[:, 2:] - boxes[:, :2]).min() >= SMALLEST_SIDE - 1e-6


def test_a_box_without_sides_has_a_finite_token():
  assert np.isfinite(boxes_to_tokens(np.zeros((3, 4), np.float32))).all()


def test_the_first_box_is_the_image():
  boxes = with_image_box(jnp.full((2, 3, 4), 0.25))
  np.testing.assert_array_equal(boxes[:, 0], [[0, 0, 1, 1]] * 2)
  assert (boxes[:, 1:] == 0.25).all()

import jax
import jax.numpy as jnp
import numpy as np

from sg2im_jax.models.warping import crop_objects, object_canvases


def canvas(box, mask, size=(5, 5), align_corners=True):
  return np.asarray(
    object_canvases(
      jnp.array([[box]]), jnp.array([[mask]], jnp.float32), size, align_corners=align_corners
    )[0, :, :, 0]
  )


def test_a_box_over_the_whole_canvas_stretches_corner_to_corner():
  np.testing.assert_allclose(
    canvas([0.0, 0.0, 1.0, 1.0], [[0, 1], [0, 1]], (2, 5)), [[0, 0.25, 0.5, 0.75, 1]] * 2, atol=1e-6
  )


def test_a_box_covers_its_pixels_and_fades_over_one_texel():
  ones = np.ones((3, 3))
  found = canvas([0.25, 0.5, 0.75, 1.0], ones)
  expected = np.zeros((5, 5))
  expected[2:, 1:4] = (
    1  # pixel centres at 0, 1/4, 1/2, 3/4, 1; zero padding fades half a box, here one pixel, away
  )
  np.testing.assert_allclose(found, expected, atol=1e-6)
  wider = canvas(
    [0.25, 0.25, 0.75, 0.75], np.ones((2, 2))
  )  # a texel is the whole box: half faded one pixel outside
  np.testing.assert_allclose(wider[2], [0.5, 1, 1, 1, 0.5], atol=1e-6)


def test_boxes_without_extent_are_finite_with_gradients():
  boxes = jnp.array(
    [[[0.3, 0.3, 0.3, 0.3], [0.6, 0.2, 0.4, 0.9]]]
  )  # no extent; and turned inside out
  masks = jnp.ones((1, 2, 4, 4))
  value, gradient = jax.value_and_grad(
    lambda boxes: object_canvases(boxes, masks, (8, 8), align_corners=True).sum()
  )(boxes)
  assert np.isfinite(value) and np.isfinite(gradient).all()


def test_crop_of_the_whole_image_is_the_image():
  image = jax.random.normal(jax.random.key(0), (1, 6, 6, 3))
  crop = crop_objects(image, jnp.array([[[0.0, 0.0, 1.0, 1.0]]]), 6, align_corners=True)
  np.testing.assert_allclose(crop[0, 0], image[0], atol=1e-5)


def test_crops_by_hand():
  image = jnp.arange(25.0).reshape(1, 5, 5, 1)  # row * 5 + column, linear: bilinear crops are exact
  crop = crop_objects(image, jnp.array([[[0.25, 0.5, 0.75, 1.0]]]), 3, align_corners=True)[
    0, 0, :, :, 0
  ]
  np.testing.assert_allclose(crop, [[11, 12, 13], [16, 17, 18], [21, 22, 23]], rtol=1e-6)
  outside = crop_objects(image + 1, jnp.array([[[1.0, 0.0, 2.0, 1.0]]]), 5, align_corners=True)[
    0, 0, :, :, 0
  ]
  np.testing.assert_allclose(outside[:, 1:], np.zeros((5, 4)), atol=1e-5)


def test_without_aligned_corners_texels_are_parts_of_the_box():
  # Texel centres at 1/4 and 3/4 of the box; pixel centres stay at 0, 1/4, 1/2, 3/4, 1.
  np.testing.assert_allclose(
    canvas([0.0, 0.0, 1.0, 1.0], [[0, 1], [0, 1]], align_corners=False)[2],
    [0, 0, 0.5, 1, 0.5],
    atol=1e-6,
  )
  image = jnp.arange(4.0).reshape(1, 1, 4, 1) + jnp.zeros((1, 4, 1, 1))
  crop = crop_objects(image, jnp.array([[[0.0, 0.5, 1.0, 0.5]]]), 3, align_corners=False)[
    0, 0, 0, :, 0
  ]
  np.testing.assert_allclose(
    crop, [0, 1.5, 1.5], atol=1e-6
  )  # half of the outer pixels lies outside

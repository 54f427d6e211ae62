import jax
import numpy as np

from sg2im_jax.models import pixels


def test_normalize_uses_the_statistics_of_imagenet():
  normalized = pixels.normalize(np.array([[[0, 255, 0]]], np.uint8))
  np.testing.assert_allclose(
    normalized[0, 0], [-0.485 / 0.229, (1 - 0.456) / 0.224, -0.406 / 0.225], rtol=1e-6
  )
  assert normalized.dtype == np.float32


def test_normalize_takes_floats_of_the_same_range():
  image = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
  np.testing.assert_array_equal(pixels.normalize(image), pixels.normalize(image.astype(np.float32)))


def test_denormalize_gives_every_pixel_value_back():
  every_value = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
  restored = jax.jit(pixels.denormalize)(pixels.normalize(every_value))
  assert restored.dtype == np.uint8
  np.testing.assert_array_equal(restored, every_value)


def test_denormalize_clips_what_no_pixel_can_hold():
  np.testing.assert_array_equal(
    pixels.denormalize(np.array([[[-50.0, 0.0, 50.0]]])), [[[0, 116, 255]]]
  )


def test_stretch_spreads_each_image_over_its_own_range():
  images = np.stack([np.full((4, 4, 3), 100), np.full((4, 4, 3), 20)]).astype(np.float32)
  images[0, 0, 0], images[1, 0, 0] = 200, 70
  images[0, 1, 1], images[1, 1, 1] = 151, 50
  stretched = np.asarray(pixels.denormalize(pixels.normalize(images), stretch=True))
  for image, middle in zip(stretched, (130, 153), strict=True):
    assert image.min() == 0 and image.max() >= 254
    np.testing.assert_allclose(image[1, 1], middle, atol=1)  # truncated, not rounded


def test_stretch_bears_an_image_of_one_colour():
  gray = pixels.normalize(np.full((1, 2, 2, 3), 128.0))
  assert np.isfinite(np.asarray(pixels.denormalize(gray, stretch=True))).all()

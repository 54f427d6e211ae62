"""The network against torch-fidelity's, with random weights in the file format of the published
ones.
"""

import importlib
import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import features
from sg2im_jax.evaluation import backbones, inception

torch = pytest.importorskip('torch')
needs_fidelity = pytest.mark.skipif(
  importlib.util.find_spec('torch_fidelity') is None, reason='needs torch-fidelity'
)


def test_resizing_shifts_by_no_half_pixel_and_repeats_the_last_one():
  image = np.array([[[28] * 3, [128] * 3]], np.uint8)  # 1 x 2 pixels
  resized = np.asarray(inception.preprocess(jnp.asarray(image[None])))
  assert resized.shape == (1, 299, 299, 3) and resized.dtype == np.float32
  positions = np.minimum(np.arange(299) * 2 / 299, 1)
  np.testing.assert_allclose(
    resized[0],
    np.broadcast_to((-100 + 100 * positions)[None, :, None] / 128, (299, 299, 3)),
    rtol=0,
    atol=1e-6,
  )


@needs_fidelity
@pytest.mark.parametrize('shape', [(40, 64), (430, 310)])  # larger and smaller
def test_resizing_is_tensorflow_1_s(shape):
  features.fidelity_module()
  resize = importlib.import_module('torch_fidelity.interpolate_compat_tensorflow')
  images = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8)
  expected = resize.interpolate_bilinear_2d_like_tensorflow1x(
    torch.from_numpy(images).permute(0, 3, 1, 2).float(), size=(299, 299), align_corners=False
  )
  np.testing.assert_allclose(
    np.asarray(inception.preprocess(jnp.asarray(images))) * 128 + 128,
    expected.permute(0, 2, 3, 1).numpy(),
    rtol=0,
    atol=1e-4,
  )  # of 255


@needs_fidelity
def test_features_and_probabilities_are_torch_fidelity_s(monkeypatch, tmp_path):
  monkeypatch.setattr(backbones, '_IMAGES_PER_CPU', 2)
  path = tmp_path / 'weights.pth'
  features.write_random_inception(path)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 40, 64, 3), np.uint8)
  images[1] = images[1, :5, :8].repeat(8, 0).repeat(8, 1)
  backbone = backbones.load_backbone('inception-2015', path)
  found = backbone(images)
  with torch.inference_mode():
    expected, logits = features.fidelity_inception(path)(
      torch.from_numpy(images).permute(0, 3, 1, 2)
    )
  assert backbone.num_features == 2048 and backbone.weights == 'weights.pth'
  assert found.features.shape == (2, 2048) and found.probabilities.shape == (2, 1008)
  expected, probabilities = expected.numpy(), logits.softmax(1).numpy()
  assert expected.std(0).max() > 0.1  # the images are told apart
  np.testing.assert_allclose(found.features, expected, rtol=0, atol=1e-5 * expected.max())
  np.testing.assert_allclose(found.probabilities, probabilities, rtol=1e-4)

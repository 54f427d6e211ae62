"""Metrics of sets of pictures, from the features and class probabilities that a backbone gives.

All of them depend on the number of pictures, on the backbone and on how pictures are resized for
it; figures compare only where these are the same.
"""

import dataclasses

import numpy as np
import scipy.linalg
import scipy.special
import sklearn.metrics

FEWEST_PICTURES = 4  # KID takes two subsets of two
_NEIGHBOURS = 3  # of precision and recall, as in their paper


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureStatistics:
  """Mean and covariance of a set of features.

  Attributes:
    mean: float64[D].
    covariance: float64[D, D], divided by N - 1.
  """

  mean: np.ndarray
  covariance: np.ndarray

  @classmethod
  def of(cls, features: np.ndarray) -> 'FeatureStatistics':
    """Of float[N, D], N at least 2."""
    features = np.asarray(features, np.float64)
    return cls(features.mean(0), np.cov(features, rowvar=False))


def inception_score(probabilities: np.ndarray, num_splits: int) -> tuple[float, float]:
  """Inception score (Salimans et al. 2016): exp of the mean KL divergence of each picture's classes
  from their mean.

  Args:
    probabilities: float[N, K], of the classes; each row sums to 1.
    num_splits: into how many runs of consecutive pictures to divide them; at most N.

  Returns:
    Mean and standard deviation (divided by num_splits) over the splits.
  """
  if not 1 <= num_splits <= len(probabilities):
    raise ValueError(
      f'num_splits is {num_splits}, expected 1 to {len(probabilities)}, the number of pictures'
    )
  scores = []
  for part in np.array_split(np.asarray(probabilities, np.float64), num_splits):
    divergence = scipy.special.rel_entr(part, part.mean(0)).sum(1)
    scores.append(np.exp(divergence.mean()))
  return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(one: FeatureStatistics, other: FeatureStatistics) -> float:
  """Squared Frechet distance of two Gaussians (Heusel et al. 2017, "FID").

  |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), where the trace of the root is the sum of the roots
  of the eigenvalues of C1^(1/2) C2 C1^(1/2). That matrix is symmetric, so nothing turns complex
  where a covariance is singular, as it is with fewer pictures than features.
  """
  values, vectors = scipy.linalg.eigh(one.covariance)
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  mixed = scipy.linalg.eigvalsh(root @ other.covariance @ root)
  overlap = np.sqrt(np.maximum(mixed, 0)).sum()
  difference = one.mean - other.mean
  return float(
    difference @ difference + np.trace(one.covariance) + np.trace(other.covariance) - 2 * overlap
  )


def kernel_distance(
  features: np.ndarray,
  reference: np.ndarray,
  *,
  num_subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, unbiased (Binkowski et al.
  2018, "KID").

  Args:
    features: float[N, D], N at least 4.
    reference: float[R, D], R at least 4.
    num_subsets: random subsets, drawn without replacement from either set, over which it is
    averaged.
    subset_size: pictures of a subset; at most half of the smaller set, or subsets would hardly
    differ.
    seed: of the subsets.

  Returns:
    Mean and standard deviation over the subsets. The mean is below 0 now and then where the sets
    are alike.
  """
  size = min(subset_size, len(features) // 2, len(reference) // 2)
  if size < 2:
    raise ValueError(f'{len(features)} and {len(reference)} pictures, expected 4 or more of each')
  features, reference = np.asarray(features, np.float32), np.asarray(reference, np.float32)
  random = np.random.default_rng(seed)
  distances = []
  for _ in range(num_subsets):
    x = features[random.choice(len(features), size, replace=False)]
    y = reference[random.choice(len(reference), size, replace=False)]
    within = sum(
      (kernel.sum() - np.trace(kernel)) / (size * (size - 1))
      for kernel in (_cubic(x, x), _cubic(y, y))
    )
    distances.append(within - 2 * _cubic(x, y).mean())
  return float(np.mean(distances)), float(np.std(distances))


def precision_recall(features: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
  """Precision and recall of a set of pictures (Kynkaanniemi et al. 2019, 3 neighbours).

  A set's manifold is the union of spheres around its features, each reaching to the third nearest
  other feature.

  Args:
    features: float[N, D], N at least 4.
    reference: float[R, D], R at least 4.

  Returns:
    The share of `features` in the manifold of `reference`, and that of `reference` in the manifold
    of `features`.
  """
  return _covered(features, reference), _covered(reference, features)


def diversity(features: np.ndarray) -> tuple[float, float]:
  """How far pictures of one graph are from each other: Euclidean distance of each pair's features.

  Args:
    features: float[G, S, D], S at least 2 pictures of each graph.

  Returns:
    Mean over graphs of the mean over pairs, and the standard deviation (divided by G) over graphs.
  """
  pairs = np.triu_indices(features.shape[1], 1)
  if not len(pairs[0]):
    raise ValueError(f'{features.shape[1]} picture of each graph, expected 2 or more')
  distances = [sklearn.metrics.pairwise_distances(of_graph)[pairs].mean() for of_graph in features]
  return float(np.mean(distances)), float(np.std(distances))


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """float32[M, D], float32[N, D] -> float64[M, N]."""
  return (np.asarray(x @ y.T, np.float64) / x.shape[1] + 1) ** 3


def _covered(features: np.ndarray, centres: np.ndarray) -> float:
  """The share of features [N, D] within the manifold of centres [R, D]."""
  if len(centres) <= _NEIGHBOURS:
    raise ValueError(f'{len(centres)} pictures, expected more than {_NEIGHBOURS}')

  def radii(distances, _):
    return np.partition(distances, _NEIGHBOURS)[:, _NEIGHBOURS]  # the nearest is the picture itself

  radius = np.concatenate(
    list(sklearn.metrics.pairwise_distances_chunked(centres, reduce_func=radii))
  )
  inside = sklearn.metrics.pairwise_distances_chunked(
    features, centres, reduce_func=lambda distances, _: (distances <= radius).any(1)
  )
  return float(np.concatenate(list(inside)).mean())

"""Metrics of sets of pictures, from the features and class probabilities that a backbone gives.

All of them depend on the number of pictures, on the backbone and on how pictures are resized for
it; figures compare only where these are the same.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, UInt8

from sg2im_jax.metrics.metric import Metric

# SciPy and scikit-learn are imported where they are used: settings read the records of the metrics,
# and a program that computes none of them should not wait for these imports.

FEWEST_PICTURES = 4  # KID takes two subsets of two
MOST_PICTURES = 10_000  # of each set in precision and recall, whose cost is their product
_NEIGHBOURS = 3  # of precision and recall, as in their paper
_WINDOW = 11  # pixels, of SSIM
_BLACK_TO_WHITE = 255


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureStatistics:
  """Mean and covariance of a set of features.

  Attributes:
    mean: over the set.
    root: a matrix A, the covariance (divided by N - 1) being A^T A; of as few rows as do.
  """

  mean: Float[np.ndarray, ' D']
  root: Float[np.ndarray, '_ D']

  @classmethod
  def of(cls, features: Float[np.ndarray, 'N D']) -> 'FeatureStatistics':
    """The statistics in float64; N is at least 2."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    root = (features - mean) / np.sqrt(len(features) - 1)
    if len(root) <= root.shape[1]:
      return cls(mean, root)
    import scipy.linalg

    values, vectors = scipy.linalg.eigh(root.T @ root)
    return cls(mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)


def inception_score(
  probabilities: Float[np.ndarray, 'N K'], num_splits: int
) -> tuple[float, float]:
  """Inception score: exp of the mean KL divergence of each picture's classes from their mean.

  Salimans et al., "Improved Techniques for Training GANs", 2016.

  Args:
    probabilities: of the classes; each row sums to 1.
    num_splits: into how many runs of consecutive pictures to divide them; at most N.

  Returns:
    Mean and standard deviation (divided by num_splits) over the splits.
  """
  if not 1 <= num_splits <= len(probabilities):
    raise ValueError(
      f'num_splits is {num_splits}, expected 1 to {len(probabilities)}, the number of pictures'
    )
  import scipy.special

  scores = []
  for part in np.array_split(np.asarray(probabilities, np.float64), num_splits):
    divergence = scipy.special.rel_entr(part, part.mean(0)).sum(1)
    scores.append(np.exp(divergence.mean()))
  return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(one: FeatureStatistics, other: FeatureStatistics) -> float:
  """Squared Frechet distance of two Gaussians ("FID", Heusel et al. 2017).

  |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C1 = A^T A and C2 = B^T B, the eigenvalues of
  C1 C2 are those of (A B^T)(A B^T)^T, and zeros. That is a small matrix where there are fewer
  pictures than features, and nothing turns complex although the covariances are singular then.
  """
  import scipy.linalg

  few, many = sorted((one.root, other.root), key=len)
  mixed = few @ many.T
  overlap = np.sqrt(np.maximum(scipy.linalg.eigvalsh(mixed @ mixed.T), 0)).sum()
  difference = one.mean - other.mean
  traces = (one.root**2).sum() + (other.root**2).sum()
  return float(difference @ difference + traces - 2 * overlap)


def kernel_distance(
  features: Float[np.ndarray, 'N D'],
  reference: Float[np.ndarray, 'R D'],
  *,
  num_subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """Squared maximum mean discrepancy, unbiased, with the kernel (x.y / D + 1)^3.

  Called KID: Binkowski et al., "Demystifying MMD GANs", 2018.

  Args:
    features: of N pictures, at least 4.
    reference: of R pictures, at least 4.
    num_subsets: random subsets of either set, without replacement, over which it is averaged.
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


def precision_recall(
  features: Float[np.ndarray, 'N D'], reference: Float[np.ndarray, 'R D']
) -> tuple[float, float]:
  """Precision and recall of a set of pictures (Kynkaanniemi et al. 2019, 3 neighbours).

  A set's manifold is the union of spheres around its features, each reaching to the third nearest
  other feature.

  Args:
    features: of N pictures, at least 4.
    reference: of R pictures, at least 4.

  Returns:
    The share of `features` in the manifold of `reference`, and that of `reference` in the manifold
    of `features`.
  """
  return _covered(features, reference), _covered(reference, features)


def diversity(features: Float[np.ndarray, 'G S D']) -> tuple[float, float]:
  """Euclidean distance between the features of pictures of one graph.

  Args:
    features: of S pictures of each of G graphs, S at least 2.

  Returns:
    Mean over graphs of the mean over pairs, and the standard deviation (divided by G) over graphs.
  """
  import sklearn.metrics

  pairs = np.triu_indices(features.shape[1], 1)
  if not len(pairs[0]):
    raise ValueError(f'{features.shape[1]} picture of each graph, expected 2 or more')
  distances = [sklearn.metrics.pairwise_distances(of_graph)[pairs].mean() for of_graph in features]
  return float(np.mean(distances)), float(np.std(distances))


def difference_maps(
  images: UInt8[np.ndarray, '*N H W 3'], others: UInt8[np.ndarray, '*N H W 3']
) -> Float[np.ndarray, '*N H W']:
  """Absolute differences, mean over colours, as shares of the range from black to white."""
  return np.abs(images.astype(np.float32) - others).mean(-1) / _BLACK_TO_WHITE


def similarity_maps(
  images: UInt8[np.ndarray, 'N H W 3'], others: UInt8[np.ndarray, 'N H W 3']
) -> Float[np.ndarray, 'N H W']:
  """Structural similarity (SSIM) around each pixel, mean over colours: 1 where both are equal.

  Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
  with their Gaussian window of 11 pixels; images are reflected at their edges.
  """
  import dm_pix

  around = _WINDOW // 2
  padded = (
    np.pad(
      one / np.float32(_BLACK_TO_WHITE),
      [(0, 0), (around, around), (around, around), (0, 0)],
      'reflect',
    )
    for one in (images, others)
  )
  return np.asarray(dm_pix.ssim(*padded, filter_size=_WINDOW, return_map=True)).mean(-1)


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """float32[M, D], float32[N, D] -> float64[M, N]."""
  return (np.asarray(x @ y.T, np.float64) / x.shape[1] + 1) ** 3


def _covered(features: np.ndarray, centres: np.ndarray) -> float:
  """The share of features [N, D] within the manifold of centres [R, D]."""
  import sklearn.metrics

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


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoredPictures:
  """N pictures beside R real images: what the metrics of pictures share.

  Attributes:
    features: of the pictures, graph by graph.
    probabilities: of their classes.
    real_features: of the real images.
    crop_features: of C objects cut out of the pictures; None if no objects were.
    real_crop_features: of M objects cut out of the real images; None likewise.
    samples_per_graph: S, pictures of each graph.
    num_splits: of the Inception score.
    seed: of random subsets.
  """

  features: Float[np.ndarray, 'N D']
  probabilities: Float[np.ndarray, 'N K']
  real_features: Float[np.ndarray, 'R D']
  crop_features: Float[np.ndarray, 'C D'] | None
  real_crop_features: Float[np.ndarray, 'M D'] | None
  samples_per_graph: int
  num_splits: int
  seed: int

  @property
  def of_graphs(self) -> Float[np.ndarray, 'G S D']:
    """The features by graph."""
    return self.features.reshape(-1, self.samples_per_graph, self.features.shape[1])

  @functools.cached_property
  def precision_recall(self) -> tuple[float, float]:
    """Of one picture of each graph.

    The nearest neighbours of any would be the others of its graph, and the spheres that precision
    and recall are made of would reach as far as noise changes a picture.
    """
    return precision_recall(
      *(_some(part, self.seed) for part in (self.of_graphs[:, 0], self.real_features))
    )


def _some(features: np.ndarray, seed: int) -> np.ndarray:
  """At most MOST_PICTURES of them, chosen at random."""
  if len(features) <= MOST_PICTURES:
    return features
  return features[np.random.default_rng(seed).choice(len(features), MOST_PICTURES, replace=False)]


def _scene_fid(scored: ScoredPictures) -> float | None:
  """SceneFID: the FID of objects cut out by their boxes (Sylvain et al. 2020, arXiv 2003.07449)."""
  crops, real = scored.crop_features, scored.real_crop_features
  if crops is None or real is None or min(len(crops), len(real)) < 2:
    return None
  return frechet_distance(FeatureStatistics.of(crops), FeatureStatistics.of(real))


# Scores of ScoredPictures. What is a mean over splits, subsets or graphs comes with its standard
# deviation. diversity is None for a single picture of each graph, scene_fid without crops.
KID = Metric(
  name='kid',
  label='KID x 1000',
  value=lambda scored: list(
    kernel_distance(scored.features, scored.real_features, seed=scored.seed)
  ),
  higher_is_better=False,
  factor=1000.0,
  decimals=1,
)
IMAGE_METRICS = (
  Metric(
    name='num_pictures',
    label='pictures',
    value=lambda scored: len(scored.features),
    higher_is_better=None,
    decimals=0,
  ),
  Metric(
    name='inception_score',
    label='Inception score',
    value=lambda scored: list(inception_score(scored.probabilities, scored.num_splits)),
    higher_is_better=True,
    decimals=1,
  ),
  Metric(
    name='fid',
    label='FID',
    value=lambda scored: frechet_distance(
      FeatureStatistics.of(scored.features), FeatureStatistics.of(scored.real_features)
    ),
    higher_is_better=False,
    decimals=1,
  ),
  Metric(
    name='scene_fid',
    label='SceneFID',
    value=_scene_fid,
    higher_is_better=False,
    decimals=1,
  ),
  KID,
  Metric(
    name='precision',
    label='precision',
    value=lambda scored: scored.precision_recall[0],
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='recall',
    label='recall',
    value=lambda scored: scored.precision_recall[1],
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='diversity',
    label='diversity',
    value=lambda scored: (
      list(diversity(scored.of_graphs)) if scored.samples_per_graph > 1 else None
    ),
    higher_is_better=None,
    decimals=1,
  ),
)

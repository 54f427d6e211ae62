"""All scores of the pictures of an evaluation, from what is kept of them."""

from typing import Any

import numpy as np

from sg2im_jax.evaluation import image_metrics
from sg2im_jax.evaluation.backbones import Activations
from sg2im_jax.evaluation.classification import Classifier, Crops
from sg2im_jax.evaluation.image_metrics import FeatureStatistics
from sg2im_jax.evaluation.protocol import Protocol

MOST_PICTURES = 10_000  # of each set in precision and recall, whose cost is their product


def image_scores(
  pictures: Activations, real: Activations, protocol: Protocol, samples_per_graph: int
) -> dict[str, Any]:
  """Scores of N pictures beside R real images.

  Args:
    pictures: graph by graph.
    real: of the evaluated split.
    protocol: has the splits and the seed.
    samples_per_graph: S, pictures of each graph.

  Returns:
    inception_score, kid: [mean, standard deviation over splits or subsets].
    fid: of all pictures; precision, recall: of one picture of each graph.
    diversity: [mean, standard deviation over graphs]; None for single pictures.
  """
  features, real_features = pictures.features, real.features
  inception = image_metrics.inception_score(pictures.probabilities, protocol.num_splits)
  fid = image_metrics.frechet_distance(
    FeatureStatistics.of(features), FeatureStatistics.of(real_features)
  )
  of_graphs = features.reshape(-1, samples_per_graph, features.shape[1])
  # Of each graph one picture: the nearest neighbours of any would be the others of its graph, and
  # the spheres that precision and recall are made of would reach as far as noise changes a picture.
  precision, recall = image_metrics.precision_recall(
    *(_some(part, protocol.seed) for part in (of_graphs[:, 0], real_features))
  )
  return {
    'num_pictures': len(features),
    'inception_score': list(inception),
    'fid': fid,
    'kid': list(image_metrics.kernel_distance(features, real_features, seed=protocol.seed)),
    'precision': precision,
    'recall': recall,
    'diversity': list(image_metrics.diversity(of_graphs)) if samples_per_graph > 1 else None,
  }


def classification_scores(
  drawn: Crops, real: Crops, learned: Crops, num_classes: int, seed: int
) -> dict[str, Any]:
  """Classification accuracy scores, see classification.py.

  Args:
    drawn: objects of drawn pictures.
    real: objects of the real images of the same graphs.
    learned: objects of other real images, to learn from.
    num_classes: V.
    seed: of the classifiers.
  """
  of_real, of_drawn = (Classifier(crops, num_classes, seed) for crops in (learned, drawn))
  return {
    'num_drawn': len(drawn),
    'num_real': len(real),
    'num_learned': len(learned),
    'real_to_real': of_real.accuracy(real),
    'real_to_drawn': of_real.accuracy(drawn),
    'drawn_to_real': of_drawn.accuracy(real),
  }


def _some(features: np.ndarray, seed: int) -> np.ndarray:
  if len(features) <= MOST_PICTURES:
    return features
  return features[np.random.default_rng(seed).choice(len(features), MOST_PICTURES, replace=False)]

"""Metrics of predicted layouts: how near boxes are to those of the data, and to the graph."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from data_pipelines.scene_graphs.geometry import geometric_predicate
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from sg2im_jax.metrics.metric import Metric, score_all
from sg2im_jax.scene_batch import Array, SceneBatch


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredBoxes:
  """All N objects of some scenes but `__image__`, and their R geometric triples.

  Attributes:
    object_class: of each object.
    boxes: x0, y0, x1, y1, to be scored.
    true_boxes: of the data.
    triples: subject, predicate as an index into GEOMETRIC_PREDICATES, object; subject and object
      number the N objects.
    scene: of each triple, the number of its scene; ascending.
  """

  object_class: Int[np.ndarray, ' N']
  boxes: Float[np.ndarray, 'N 4']
  true_boxes: Float[np.ndarray, 'N 4']
  triples: Int[np.ndarray, 'R 3']
  scene: Int[np.ndarray, ' R']

  @classmethod
  def of_batch(
    cls, boxes: Float[Array, 'B O 4'], batch: SceneBatch, vocabulary: Vocabulary
  ) -> 'ScoredBoxes':
    """The boxes of a batch beside those of the data, which the batch has, too."""
    assert batch.boxes is not None
    true_boxes, object_class = np.asarray(batch.boxes), np.asarray(batch.object_class)
    scored = np.array(batch.object_mask)
    scored[:, 0] = False  # __image__
    number = np.cumsum(scored).reshape(scored.shape) - 1
    # By predicate id, the index into GEOMETRIC_PREDICATES.
    kind = np.full(vocabulary.num_predicates, -1)
    for index, name in enumerate(GEOMETRIC_PREDICATES):
      if name in vocabulary.predicate_names:
        kind[vocabulary.predicate_names.index(name)] = index
    asked = np.where(batch.triple_mask, kind[batch.triples[..., 1]], -1)
    row, slot = np.nonzero(asked >= 0)
    subject, _, object_ = batch.triples[row, slot].T
    triples = np.stack([number[row, subject], asked[row, slot], number[row, object_]], -1)
    return cls(object_class[scored], np.asarray(boxes)[scored], true_boxes[scored], triples, row)

  @classmethod
  def concatenate(cls, parts: Iterable['ScoredBoxes']) -> 'ScoredBoxes':
    """The scenes of all parts, of which there is at least one."""
    parts = list(parts)
    starts = np.cumsum([0] + [len(part.object_class) for part in parts])
    triples = [part.triples + [start, 0, start] for part, start in zip(parts, starts)]
    scenes = np.cumsum([0] + [part.scene.max(initial=-1) + 1 for part in parts])
    return cls(
      np.concatenate([part.object_class for part in parts]),
      np.concatenate([part.boxes for part in parts]),
      np.concatenate([part.true_boxes for part in parts]),
      np.concatenate(triples),
      np.concatenate([part.scene + start for part, start in zip(parts, scenes)]),
    )

  def with_boxes(self, boxes: Float[np.ndarray, 'N 4']) -> 'ScoredBoxes':
    """The same scenes with other boxes to score."""
    return dataclasses.replace(self, boxes=boxes)


def scores(layouts: ScoredBoxes) -> dict[str, Any]:
  """Every metric of layouts, and what they are of.

  Returns:
    num_objects, num_relations: N, R.
    box_iou and so on: by the names of LAYOUT_METRICS; None where there is nothing to score.
    relation_accuracy_of: relation_accuracy by predicate, of each that occurs.
  """
  asked, kept = layouts.triples[:, 1], satisfied(layouts)
  return {
    'num_objects': len(layouts.boxes),
    'num_relations': len(kept),
    **score_all(LAYOUT_METRICS, layouts),
    'relation_accuracy_of': {
      name: _mean(kept[asked == index])
      for index, name in enumerate(GEOMETRIC_PREDICATES)
      if (asked == index).any()
    },
  }


def relation_holds(
  subject_box: Float[np.ndarray, ' 4'], predicate: str, object_box: Float[np.ndarray, ' 4']
) -> bool:
  """Whether two boxes would be given this one of GEOMETRIC_PREDICATES."""
  boxes = np.stack([subject_box, object_box])
  triple = np.array([[0, GEOMETRIC_PREDICATES.index(predicate), 1]])
  return bool(satisfied(ScoredBoxes(np.zeros(2, int), boxes, boxes, triple, np.zeros(1, int)))[0])


def satisfied(layouts: ScoredBoxes) -> Bool[np.ndarray, ' R']:
  """Whether the boxes of each triple would be given the predicate that it has."""
  return found_predicates(layouts) == layouts.triples[:, 1]


def found_predicates(layouts: ScoredBoxes) -> Int[np.ndarray, ' R']:
  """The predicates that the boxes of each triple would be given, by their centres."""
  subject, _, object_ = layouts.triples.T
  centres = _centres(layouts.boxes)
  return geometric_predicate(
    layouts.boxes[subject], layouts.boxes[object_], centres[subject], centres[object_]
  )


def graph_overlap(layouts: ScoredBoxes, *, of: Literal['triples', 'predicates']) -> float | None:
  """How much of the graph that was asked for is the graph that the boxes show.

  |asked and shown| / |asked or shown|, the mean over all scenes with geometric relations. Both are
  sets, as LAION-SG computes its SG-IoU and Relation-IoU (Li et al. 2024, arXiv 2412.08580,
  test/test_iou.py of github.com/mengcye/LAION-SG), so what occurs twice in a scene counts once.
  There a language model reads the shown graph from the picture. Here it is the relation that the
  boxes have, of every pair of objects that the graph relates geometrically.

  Args:
    layouts: to be scored.
    of: triples, which are (class, predicate, class); or predicates alone.

  Returns:
    In [0, 1]; None without geometric relations.
  """
  subject, predicate, object_ = layouts.triples.T

  def by_scene(predicate: np.ndarray) -> list[set]:
    parts = [predicate]
    if of == 'triples':
      parts = [layouts.object_class[subject], predicate, layouts.object_class[object_]]
    sets = {}
    for scene, *one in zip(layouts.scene.tolist(), *(part.tolist() for part in parts)):
      sets.setdefault(scene, set()).add(tuple(one))
    return list(sets.values())

  pairs = zip(by_scene(predicate), by_scene(found_predicates(layouts)))
  return _mean(np.array([len(asked & shown) / len(asked | shown) for asked, shown in pairs]))


def mean_box_of_class(
  object_class: Int[np.ndarray, ' N'], boxes: Float[np.ndarray, 'N 4'], num_classes: int
) -> Float[np.ndarray, 'V 4']:
  """The mean box of each class in float32; of all objects, for a class that does not occur."""
  total, count = np.zeros((num_classes, 4)), np.zeros((num_classes, 1))
  np.add.at(total, object_class, boxes)
  np.add.at(count, object_class, 1)
  overall = total.sum(0) / max(count.sum(), 1)
  return np.where(count > 0, total / np.maximum(count, 1), overall).astype(np.float32)


def _centres(boxes: np.ndarray) -> np.ndarray:
  return (boxes[:, :2] + boxes[:, 2:]) / 2


def _mean(values: np.ndarray) -> float | None:
  return float(np.mean(values)) if len(values) else None


def _spread(values: np.ndarray, classes: np.ndarray) -> float | None:
  several = [one for one, count in zip(*np.unique(classes, return_counts=True)) if count > 1]
  deviations = [values[classes == one].std() for one in several]
  return _mean(np.array(deviations))


def box_iou(
  boxes: Float[np.ndarray, '*N 4'], other: Float[np.ndarray, '*N 4']
) -> Float[np.ndarray, '*N']:
  """Intersection over union of each box with its counterpart.

  Args:
    boxes: x0, y0, x1, y1; a box whose corners are swapped has no area.
    other: likewise.

  Returns:
    float32 in [0, 1]; 0 where both boxes have no area.
  """
  sides = np.minimum(boxes[..., 2:], other[..., 2:]) - np.maximum(boxes[..., :2], other[..., :2])
  intersection = np.prod(np.maximum(sides, 0), axis=-1)
  union = _area(boxes) + _area(other) - intersection
  return np.where(union > 0, intersection / np.where(union > 0, union, 1), 0).astype(np.float32)


def overlap(boxes: Float[np.ndarray, 'N S 4']) -> Float[np.ndarray, ' M']:
  """Mean IoU over the pairs of S boxes that an object has in S samples, of each of N objects.

  1 where a layout is predicted and not sampled; the lower, the more layouts differ. Empty if S is
  1.
  """
  first, second = np.triu_indices(boxes.shape[1], 1)
  if not len(first):
    return np.zeros(0, np.float32)
  return box_iou(boxes[:, first], boxes[:, second]).mean(1)


def _area(boxes: np.ndarray) -> np.ndarray:
  return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _ious(layouts: ScoredBoxes) -> np.ndarray:
  return box_iou(layouts.boxes, layouts.true_boxes)


# Scores of ScoredBoxes: the columns of paper table 2, and the share of relations kept.
#
# The spreads (sigma) are the standard deviation of a class's boxes, averaged over the classes of
# two or more objects, as a share of the image. relation_accuracy is the share of geometric triples
# whose boxes the rule of scene_graphs/geometry.py, applied to the centres of the boxes, gives the
# predicate that was asked. sg_iou and relation_iou: see graph_overlap.
LAYOUT_METRICS = (
  Metric(
    name='box_iou',
    label='mean IoU',
    value=lambda layouts: _mean(_ious(layouts)),
    higher_is_better=True,
  ),
  Metric(
    name='recall_at_0.3',
    label='R@0.3',
    value=lambda layouts: _mean(_ious(layouts) >= 0.3),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='recall_at_0.5',
    label='R@0.5',
    value=lambda layouts: _mean(_ious(layouts) >= 0.5),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='sigma_x',
    label='sigma_x',
    value=lambda layouts: _spread(_centres(layouts.boxes)[:, 0], layouts.object_class),
    higher_is_better=None,
  ),
  Metric(
    name='sigma_area',
    label='sigma_area',
    value=lambda layouts: _spread(
      np.prod(layouts.boxes[:, 2:] - layouts.boxes[:, :2], axis=1), layouts.object_class
    ),
    higher_is_better=None,
  ),
  Metric(
    name='relation_accuracy',
    label='relations kept',
    value=lambda layouts: _mean(satisfied(layouts)),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='sg_iou',
    label='SG-IoU',
    value=lambda layouts: graph_overlap(layouts, of='triples'),
    higher_is_better=True,
  ),
  Metric(
    name='relation_iou',
    label='relation IoU',
    value=lambda layouts: graph_overlap(layouts, of='predicates'),
    higher_is_better=True,
  ),
)

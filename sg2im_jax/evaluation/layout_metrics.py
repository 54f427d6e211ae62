"""Metrics of predicted layouts: how near boxes are to those of the data, and whether they keep to
the graph.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from data_pipelines.scene_graphs.geometry import geometric_predicate
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from sg2im_jax.evaluation import metrics
from sg2im_jax.scene_batch import SceneBatch


@dataclasses.dataclass(frozen=True, eq=False)
class Layouts:
  """All objects of some scenes but `__image__`, N in number, and their M geometric triples.

  Attributes:
    object_class: int32[N].
    boxes: float32[N, 4] x0, y0, x1, y1, to be scored.
    true_boxes: float32[N, 4], of the data.
    triples: int64[M, 3]: subject, predicate as an index into GEOMETRIC_PREDICATES, object; subject
      and object number the N objects.
  """

  object_class: np.ndarray
  boxes: np.ndarray
  true_boxes: np.ndarray
  triples: np.ndarray

  @classmethod
  def of_batch(cls, boxes: np.ndarray, batch: SceneBatch, vocabulary: Vocabulary) -> 'Layouts':
    """The layouts of a batch with boxes and predictions, float32[B, O, 4]."""
    scored = np.array(batch.object_mask)
    scored[:, 0] = False  # __image__
    number = np.cumsum(scored).reshape(scored.shape) - 1
    kind = np.full(
      vocabulary.num_predicates, -1
    )  # of a predicate id: index into GEOMETRIC_PREDICATES
    for index, name in enumerate(GEOMETRIC_PREDICATES):
      if name in vocabulary.predicate_names:
        kind[vocabulary.predicate_names.index(name)] = index
    asked = np.where(batch.triple_mask, kind[batch.triples[..., 1]], -1)
    row, slot = np.nonzero(asked >= 0)
    subject, _, object_ = batch.triples[row, slot].T
    triples = np.stack([number[row, subject], asked[row, slot], number[row, object_]], -1)
    return cls(batch.object_class[scored], np.asarray(boxes)[scored], batch.boxes[scored], triples)

  @classmethod
  def concatenate(cls, parts: Iterable['Layouts']) -> 'Layouts':
    """The scenes of all parts, of which there is at least one."""
    parts = list(parts)
    starts = np.cumsum([0] + [len(part.object_class) for part in parts])
    triples = [part.triples + [start, 0, start] for part, start in zip(parts, starts)]
    return cls(
      *(
        np.concatenate([getattr(part, name) for part in parts])
        for name in ('object_class', 'boxes', 'true_boxes')
      ),
      np.concatenate(triples),
    )

  def with_boxes(self, boxes: np.ndarray) -> 'Layouts':
    """The same scenes with other boxes to score, float32[N, 4]."""
    return dataclasses.replace(self, boxes=boxes)


def scores(layouts: Layouts) -> dict[str, float | dict[str, float] | None]:
  """The columns of paper Table 2 and the relations kept; None where there is nothing to score.

  Returns:
    num_objects, num_relations: N, M.
    box_iou: mean intersection over union of each box with its counterpart.
    recall_at_0.3, recall_at_0.5: share of boxes with at least that IoU.
    sigma_x, sigma_area: standard deviation of the centre's x and of the area of a class's boxes, as
      shares of the image; the mean over classes of two or more objects.
    relation_accuracy: share of the geometric triples that the boxes would be given by the rule of
      data_pipelines/relations.py, applied to their centres.
    relation_accuracy_of: the same for each predicate that occurs.
  """
  iou = np.asarray(metrics.box_iou(layouts.boxes, layouts.true_boxes))
  asked = layouts.triples[:, 1]
  kept = satisfied(layouts)
  return {
    'num_objects': len(iou),
    'num_relations': len(kept),
    'box_iou': _mean(iou),
    'recall_at_0.3': _mean(iou >= 0.3),
    'recall_at_0.5': _mean(iou >= 0.5),
    'sigma_x': _spread(_centres(layouts.boxes)[:, 0], layouts.object_class),
    'sigma_area': _spread(
      np.prod(layouts.boxes[:, 2:] - layouts.boxes[:, :2], axis=1), layouts.object_class
    ),
    'relation_accuracy': _mean(kept),
    'relation_accuracy_of': {
      name: _mean(kept[asked == index])
      for index, name in enumerate(GEOMETRIC_PREDICATES)
      if (asked == index).any()
    },
  }


def satisfied(layouts: Layouts) -> np.ndarray:
  """bool[M]: whether the boxes of a triple would be given the predicate that it has."""
  subject, asked, object_ = layouts.triples.T
  centres = _centres(layouts.boxes)
  found = geometric_predicate(
    layouts.boxes[subject], layouts.boxes[object_], centres[subject], centres[object_]
  )
  return found == asked


def mean_box_of_class(object_class: np.ndarray, boxes: np.ndarray, num_objects: int) -> np.ndarray:
  """float32[V, 4]: the mean box of each class, of N objects; of all objects, for a class that does
  not occur.
  """
  total, count = np.zeros((num_objects, 4)), np.zeros((num_objects, 1))
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

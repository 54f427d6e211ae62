import numpy as np
import pytest

from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import evaluate
from sg2im_jax.scene_batch import SceneBatch

# The ids are not those of any data set, and not all geometric predicates are there.
VOCABULARY = Vocabulary(('__image__', 'sky', 'sheep', 'tree'),
                        ('__in_image__', 'riding', 'right of', 'left of', 'inside', 'above'))
SKY, SHEEP, TREE = 1, 2, 3
RIDING, LEFT_OF, INSIDE, ABOVE = 1, 3, 4, 5


@pytest.fixture
def batch():
  """One scene of two sheep under the sky, and a row of padding that holds rubbish."""
  triples = np.array([[2, LEFT_OF, 3], [1, ABOVE, 2], [2, RIDING, 3], [2, 0, 0], [3, LEFT_OF, 2]], np.int32)
  boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.4], [0, 0.5, 0.4, 1], [0.6, 0.5, 1, 1], [9, 9, 9, 9]], np.float32)
  return SceneBatch(
      object_class=np.array([[0, SKY, SHEEP, SHEEP, 0]] * 2, np.int32),
      object_mask=np.array([[True] * 4 + [False], [False] * 5]),
      triples=np.stack([triples] * 2), triple_mask=np.array([[True] * 4 + [False], [False] * 5]),
      boxes=np.stack([boxes] * 2), masks=np.ones((2, 5, 4, 4), np.uint8))


def test_perfect_boxes(batch):
  mean_boxes = evaluate.mean_box_of_class(iter([batch]), VOCABULARY.num_objects)
  scores = evaluate.score_boxes(batch.boxes, mean_boxes, batch, VOCABULARY)
  assert scores['relation_accuracy'] == scores['ground_truth_relation_accuracy'] == (2, 2)
  assert scores['ground_truth_mask_relation_accuracy'] == (2, 2)
  assert scores['box_iou'] == pytest.approx((3, 3))
  # The mean sheep is as high and wide as each, halfway between them: it covers a quarter of each.
  assert scores['baseline_box_iou'] == pytest.approx((1 + 2 / 7, 3), rel=1e-5)


def test_boxes_that_break_a_relation(batch):
  boxes = batch.boxes.copy()
  boxes[:, [2, 3]] = boxes[:, [3, 2]]  # the sheep change places
  satisfied = evaluate.satisfied_relations(boxes, (boxes[..., :2] + boxes[..., 2:]) / 2, batch, VOCABULARY)
  assert satisfied.tolist() == [False, True]


def test_mean_boxes(batch):
  mean_boxes = evaluate.mean_box_of_class(iter([batch, batch]), VOCABULARY.num_objects)
  np.testing.assert_allclose(mean_boxes[SHEEP], [0.3, 0.5, 0.7, 1], rtol=1e-6)
  np.testing.assert_allclose(mean_boxes[SKY], [0, 0, 1, 0.4], rtol=1e-6)
  np.testing.assert_allclose(mean_boxes[TREE], [0.2, 1 / 3, 0.8, 0.8], rtol=1e-6)  # never seen: the mean of all


def test_report_when_there_is_nothing_to_score():
  results = {'step': 5, 'split': 'val', 'num_graphs': 3, 'num_relations': 0, 'relation_accuracy': None,
             'ground_truth_relation_accuracy': None, 'box_iou': 0.25, 'baseline_box_iou': 0.2, 'box_iou_gain': 0.25}
  assert evaluate.report(results).splitlines() == [
      '3 graphs of split val, checkpoint of step 5',
      'geometric relations satisfied by the predicted boxes: none to score of 0',
      '  by the ground-truth boxes: none to score',
      'mean box IoU: 0.2500',
      'mean box IoU of every class at its mean training box: 0.2000',
      'gain over that baseline: 25.0%']

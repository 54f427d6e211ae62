"""By hand, on a vocabulary whose ids are those of no data set."""

import numpy as np
import pytest

from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from sg2im_jax.metrics import layout_metrics
from sg2im_jax.metrics.layout_metrics import ScoredBoxes
from sg2im_jax.scene_batch import SceneBatch

VOCABULARY = Vocabulary(
  ('__image__', 'sky', 'sheep', 'tree'),
  ('__in_image__', 'riding', 'right of', 'left of', 'inside', 'above'),
)
SKY, SHEEP, TREE = 1, 2, 3
RIDING, LEFT_OF, INSIDE, ABOVE = 1, 3, 4, 5


@pytest.fixture
def batch():
  """One scene of two sheep under the sky, and a row of padding that holds rubbish."""
  triples = np.array(
    [[2, LEFT_OF, 3], [1, ABOVE, 2], [2, RIDING, 3], [2, 0, 0], [3, LEFT_OF, 2]], np.int32
  )
  boxes = np.array(
    [[0, 0, 1, 1], [0, 0, 1, 0.4], [0, 0.5, 0.4, 1], [0.6, 0.5, 1, 1], [9, 9, 9, 9]], np.float32
  )
  return SceneBatch(
    object_class=np.array([[0, SKY, SHEEP, SHEEP, 0]] * 2, np.int32),
    object_mask=np.array([[True] * 4 + [False], [False] * 5]),
    triples=np.stack([triples] * 2),
    triple_mask=np.array([[True] * 4 + [False], [False] * 5]),
    boxes=np.stack([boxes] * 2),
  )


def test_layouts_of_a_batch(batch):
  layouts = ScoredBoxes.of_batch(batch.boxes + 1, batch, VOCABULARY)
  assert layouts.object_class.tolist() == [SKY, SHEEP, SHEEP]
  np.testing.assert_array_equal(layouts.boxes, batch.boxes[0, 1:4] + 1)
  np.testing.assert_array_equal(layouts.true_boxes, batch.boxes[0, 1:4])
  left_of, above = GEOMETRIC_PREDICATES.index('left of'), GEOMETRIC_PREDICATES.index('above')
  assert layouts.triples.tolist() == [[1, left_of, 2], [0, above, 1]]
  twice = ScoredBoxes.concatenate([layouts, layouts])
  assert twice.triples.tolist() == [[1, left_of, 2], [0, above, 1], [4, left_of, 5], [3, above, 4]]
  assert twice.boxes.shape == (6, 4)


def test_the_boxes_of_the_data(batch):
  scores = layout_metrics.scores(ScoredBoxes.of_batch(batch.boxes, batch, VOCABULARY))
  assert scores.pop('sigma_x') == pytest.approx(
    0.3
  )  # the sheep are at 0.2 and 0.8; a lone sky has no spread
  assert scores.pop('sigma_area') == pytest.approx(0, abs=1e-7)
  assert scores.pop('box_iou') == pytest.approx(1)
  assert scores == {
    'num_objects': 3,
    'num_relations': 2,
    'recall_at_0.3': 1,
    'recall_at_0.5': 1,
    'relation_accuracy': 1,
    'sg_iou': 1,
    'relation_iou': 1,
    'relation_accuracy_of': {'left of': 1, 'above': 1},
  }


def test_boxes_that_are_off(batch):
  boxes = batch.boxes.copy()
  boxes[:, [2, 3]] = boxes[:, [3, 2]]  # the sheep change places
  boxes[:, 1] = [0, 0, 0.35, 0.4]  # of the sky 35 %
  scores = layout_metrics.scores(ScoredBoxes.of_batch(boxes, batch, VOCABULARY))
  assert scores['box_iou'] == pytest.approx(0.35 / 3)
  assert scores['recall_at_0.3'] == pytest.approx(1 / 3)
  assert scores['recall_at_0.5'] == 0
  assert scores['relation_accuracy_of'] == {
    'left of': 0,
    'above': 0,
  }  # the first sheep is now to the right of the sky


def test_nothing_to_score(batch):
  empty = ScoredBoxes.of_batch(
    batch.boxes,
    batch.replace(object_mask=batch.object_mask & False, triple_mask=batch.triple_mask & False),
    VOCABULARY,
  )
  scores = layout_metrics.scores(empty)
  assert scores['num_objects'] == scores['num_relations'] == 0
  assert scores['box_iou'] is scores['sigma_x'] is scores['relation_accuracy'] is None
  assert scores['sg_iou'] is scores['relation_iou'] is None


def test_graphs_that_boxes_show():
  """A sheep left of a tree, above which is the sky; and a tree left of another one."""
  left_of, right_of, above = map(GEOMETRIC_PREDICATES.index, ('left of', 'right of', 'above'))
  sheep, tree, sky, left, right = [
    [0, 0.5, 0.2, 0.7],
    [0.7, 0.5, 0.9, 0.7],
    [0.7, 0, 0.9, 0.2],
    [0, 0, 0.2, 1],
    [0.8, 0, 1, 1],
  ]
  true_boxes = np.array([sheep, tree, sky, left, right], np.float32)
  layouts = ScoredBoxes(
    np.array([SHEEP, TREE, SKY, TREE, TREE]),
    true_boxes,
    true_boxes,
    np.array([[0, left_of, 1], [2, above, 1], [3, left_of, 4], [4, right_of, 3]]),
    np.array([0, 0, 1, 1]),
  )

  def overlaps(*order):
    moved = layouts.with_boxes(true_boxes[list(order)])
    return [layout_metrics.graph_overlap(moved, of=of) for of in ('triples', 'predicates')]

  assert overlaps(0, 1, 2, 3, 4) == [1, 1]
  # Sheep and tree change places: both the sheep and the sky are right of the tree then.
  assert overlaps(1, 0, 2, 3, 4) == [0.5, 0.5]
  # The trees of the second scene change places: the triples are the same two, by class.
  assert overlaps(0, 1, 2, 4, 3) == [1, 1]
  scene = layouts.with_boxes(true_boxes[[0, 1, 0, 3, 4]])  # the sky where the sheep is
  assert layout_metrics.graph_overlap(scene, of='triples') == pytest.approx((1 / 3 + 1) / 2)
  assert layout_metrics.graph_overlap(scene, of='predicates') == pytest.approx((1 / 2 + 1) / 2)
  both = ScoredBoxes.concatenate([layouts, layouts])
  assert both.scene.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_spread_is_averaged_over_classes_not_objects():
  boxes = np.array(
    [[0, 0, 0.2, 1], [0.4, 0, 0.6, 1], [0, 0, 1, 0.1], [0, 0, 1, 0.5], [0, 0, 1, 0.3]], np.float32
  )
  layouts = ScoredBoxes(
    np.array([SHEEP, SHEEP, TREE, TREE, TREE]),
    boxes,
    boxes,
    np.zeros((0, 3), int),
    np.zeros(0, int),
  )
  scores = layout_metrics.scores(layouts)
  assert scores['sigma_x'] == pytest.approx(0.2 / 2)
  assert scores['sigma_area'] == pytest.approx(np.std([0.1, 0.5, 0.3]) / 2)


def test_mean_boxes(batch):
  layouts = ScoredBoxes.of_batch(batch.boxes, batch, VOCABULARY)
  mean_boxes = layout_metrics.mean_box_of_class(
    layouts.object_class, layouts.boxes, VOCABULARY.num_objects
  )
  np.testing.assert_allclose(mean_boxes[SHEEP], [0.3, 0.5, 0.7, 1], rtol=1e-6)
  np.testing.assert_allclose(mean_boxes[SKY], [0, 0, 1, 0.4], rtol=1e-6)
  np.testing.assert_allclose(
    mean_boxes[TREE], [0.2, 1 / 3, 0.8, 0.8], rtol=1e-6
  )  # never seen: the mean of all


@pytest.mark.parametrize(
  'box, other, expected',
  [
    ([0, 0, 1, 1], [0, 0, 1, 1], 1),
    ([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3),
    ([0, 0, 1, 1], [2, 2, 3, 3], 0),
    ([0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75], 0.25),
    ([1, 1, 0, 0], [0, 0, 1, 1], 0),  # corners swapped: no area
    ([0, 0, 0, 0], [0, 0, 0, 0], 0),
  ],
)
def test_box_iou(box, other, expected):
  box, other = np.array([box], np.float32), np.array([other], np.float32)
  np.testing.assert_allclose(layout_metrics.box_iou(box, other), expected, rtol=1e-6)
  np.testing.assert_allclose(layout_metrics.box_iou(other, box), expected, rtol=1e-6)


def test_relation_of_two_boxes():
  left, right = np.array([[0.1, 0.4, 0.3, 0.6], [0.5, 0.4, 0.7, 0.6]], np.float32)
  assert layout_metrics.relation_holds(left, 'left of', right)
  assert layout_metrics.relation_holds(right, 'right of', left)
  assert not layout_metrics.relation_holds(right, 'left of', left)

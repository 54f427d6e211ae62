import numpy as np
import pytest

from data_pipelines.scene_graphs.encoding import crop_mask, pad_scene_graph
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary

VOCABULARY = Vocabulary(('__image__', 'sky', 'grass'), COCO_PREDICATES)
GRAPH = SceneGraph(('grass', 'sky'), ((1, 'above', 0),))
MASK = np.array(
  [
    [0, 0, 0, 0, 0, 0],
    [0, 1, 1, 0, 0, 0],
    [0, 1, 1, 1, 1, 0],
    [0, 0, 0, 1, 1, 0],
  ],
  bool,
)


def box(x0, y0, x1, y1):
  return np.array([x0 / 6, y0 / 4, x1 / 6, y1 / 4], np.float32)


def test_crop_of_the_same_size():
  np.testing.assert_array_equal(
    crop_mask(MASK, box(1, 1, 4, 4), 3), [[1, 1, 0], [1, 1, 1], [0, 0, 1]]
  )


def test_crop_rounds_the_box_and_enlarges():
  # From 2x2 to 4x4: weights 1/4 and 3/4, and 3/4 of an edge pixel beyond its centre.
  np.testing.assert_array_equal(
    crop_mask(MASK, box(1.4, 1.4, 3.4, 2.6), 4), crop_mask(MASK, box(1, 1, 3, 3), 4)
  )
  np.testing.assert_array_equal(
    crop_mask(MASK, box(2, 1, 4, 3), 4), [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
  )


def test_crop_shrinks_without_anti_aliasing():
  mask = np.zeros((8, 8), bool)
  mask[3:5] = True  # rows 3 and 4 lie between the centres 1.5 and 5.5 that are looked at
  np.testing.assert_array_equal(
    crop_mask(mask, np.array([0, 0, 1, 1], np.float32), 2), np.zeros((2, 2))
  )


@pytest.mark.parametrize('edges', [(4, 2, 4, 2), (5.9, 3.9, 6, 4), (2.1, 1.1, 2.2, 1.2)])
def test_crop_is_at_least_one_pixel(edges):
  assert crop_mask(np.ones((4, 6), bool), box(*edges), 4).shape == (4, 4)


def test_pads_a_graph():
  arrays = pad_scene_graph(GRAPH, VOCABULARY, max_objects=4, max_triples=5, where='here')
  np.testing.assert_array_equal(arrays['object_class'], [0, 2, 1, 0])
  np.testing.assert_array_equal(arrays['object_mask'], [True, True, True, False])
  np.testing.assert_array_equal(
    arrays['triples'], [[2, 3, 1], [1, 0, 0], [2, 0, 0], [0, 0, 0], [0, 0, 0]]
  )
  np.testing.assert_array_equal(arrays['triple_mask'], [True, True, True, False, False])
  assert arrays['object_class'].dtype == arrays['triples'].dtype == np.int32


@pytest.mark.parametrize(
  ('max_objects', 'max_triples', 'expected'),
  [
    (
      2,
      9,
      'here: data.max_objects is 2, but 2 objects and __image__ need 3 object slots; .* '
      'set data.max_objects=3$',
    ),
    (
      3,
      2,
      'here: data.max_triples is 2, but 1 relationships and 2 objects need 3 triple slots; .* '
      'set data.max_triples=3$',
    ),
    (
      2,
      2,
      'here: 2 settings are wrong: .*set data.max_objects=3; .*set data.max_triples=3$',
    ),
  ],
)
def test_names_the_slots_that_are_missing(max_objects, max_triples, expected):
  with pytest.raises(UserError, match=expected):
    pad_scene_graph(GRAPH, VOCABULARY, max_objects, max_triples, 'here')


def test_says_where_an_unknown_name_stands():
  with pytest.raises(UserError, match='here: object 1: unknown object name "dog"'):
    pad_scene_graph(SceneGraph(('sky', 'dog'), ()), VOCABULARY, 4, 4, 'here')
  with pytest.raises(UserError, match='here: relationship 0: unknown predicate name "over"'):
    pad_scene_graph(SceneGraph(('sky',), ((0, 'over', 0),)), VOCABULARY, 4, 4, 'here')

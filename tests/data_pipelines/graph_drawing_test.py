import numpy as np
import pytest

from data_pipelines.drawing import class_color
from data_pipelines.graph_drawing import draw_graph
from data_pipelines.scene_graph import SceneGraph


def _rows_and_columns(picture, name):
  distance = np.abs(np.asarray(picture).astype(int) - np.array(class_color(name))).sum(-1)
  return np.nonzero(distance < 60)


def _center(picture, name):
  rows, columns = _rows_and_columns(picture, name)
  assert len(rows), f'no outline in the colour of {name}'
  return rows.mean(), columns.mean()


def test_every_object_is_drawn_in_its_color():
  picture = draw_graph(SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1))))
  for name in ('sky', 'grass', 'sheep'):
    _center(picture, name)


def test_graphs_without_relationships_are_drawn():
  assert draw_graph(SceneGraph(('sheep',), ())).width > 50
  assert draw_graph(SceneGraph(('sheep', 'boat', 'sea'), ())).width > 150


@pytest.mark.parametrize('relationship', [(0, 'above', 1), (1, 'below', 0), (0, 'behind', 1), (1, 'in front of', 0)])
def test_what_is_above_or_behind_is_drawn_higher(relationship):
  picture = draw_graph(SceneGraph(('sky', 'sea'), (relationship,)))
  assert _center(picture, 'sky')[0] < _center(picture, 'sea')[0]


def test_the_direction_of_an_arrow_can_be_seen():
  forward = draw_graph(SceneGraph(('sky', 'sea'), ((0, 'above', 1),)))
  backward = draw_graph(SceneGraph(('sea', 'sky'), ((0, 'above', 1),)))
  assert _center(forward, 'sky')[0] < _center(forward, 'sea')[0]
  assert _center(backward, 'sea')[0] < _center(backward, 'sky')[0]


def test_a_predicate_is_written():
  short, long = (draw_graph(SceneGraph(('sky', 'sea'), ((0, predicate, 1),))) for predicate in ('on', 'standing on it'))
  assert long.width > short.width


def test_loops_and_parallel_arrows_each_have_their_label():
  one = SceneGraph(('sky', 'sea'), ((0, 'above', 1),))
  many = SceneGraph(('sky', 'sea'), ((0, 'above', 1), (0, 'above', 1), (1, 'above', 0), (0, 'next to', 0)))
  assert draw_graph(many).width > draw_graph(one).width


def test_a_large_graph_is_drawn():
  rng = np.random.default_rng(0)
  relationships = tuple((int(rng.integers(60)), 'left of', int(rng.integers(60))) for _ in range(120))
  picture = draw_graph(SceneGraph(('person',) * 60, relationships))
  assert picture.width > 800


def test_a_graph_is_drawn_the_same_each_time():
  graph = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
  np.testing.assert_array_equal(np.asarray(draw_graph(graph)), np.asarray(draw_graph(graph)))

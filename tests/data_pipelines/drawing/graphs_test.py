import numpy as np
import pytest

from data_pipelines.drawing.graphs import draw_graph, place_graph
from data_pipelines.drawing.style import class_color
from data_pipelines.scene_graphs.graph import SceneGraph


def _center(picture, name):
  distance = np.abs(np.asarray(picture).astype(int) - np.array(class_color(name))).sum(-1)
  rows, columns = np.nonzero(distance < 60)
  assert len(rows), f'no outline in the colour of {name}'
  return rows.mean(), columns.mean()


def test_every_object_is_drawn_in_its_color():
  picture = draw_graph(
    SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
  )
  for name in ('sky', 'grass', 'sheep'):
    _center(picture, name)


def test_graphs_without_relationships_are_drawn():
  assert draw_graph(SceneGraph(('sheep',), ())).width > 50
  assert draw_graph(SceneGraph(('sheep', 'boat', 'sea'), ())).width > 150


@pytest.mark.parametrize(
  'relationship', [(0, 'above', 1), (1, 'below', 0), (0, 'behind', 1), (1, 'in front of', 0)]
)
def test_what_is_above_or_behind_is_drawn_higher(relationship):
  picture = draw_graph(SceneGraph(('sky', 'sea'), (relationship,)))
  assert _center(picture, 'sky')[0] < _center(picture, 'sea')[0]


def test_the_direction_of_an_arrow_can_be_seen():
  forward = draw_graph(SceneGraph(('sky', 'sea'), ((0, 'above', 1),)))
  backward = draw_graph(SceneGraph(('sea', 'sky'), ((0, 'above', 1),)))
  assert _center(forward, 'sky')[0] < _center(forward, 'sea')[0]
  assert _center(backward, 'sea')[0] < _center(backward, 'sky')[0]


def test_names_and_arrows_have_places():
  placed = place_graph(SceneGraph(('sky', 'sheep', 'boat'), ((0, 'above', 1), (2, 'below', 0))))
  picture = draw_graph(SceneGraph(('sky', 'sheep', 'boat'), ((0, 'above', 1), (2, 'below', 0))))
  assert picture.size == (int(placed.width), int(placed.height))
  assert [node.name for node in placed.objects] == ['sky', 'sheep', 'boat']
  assert [node.name for node in placed.predicates] == ['above', 'below']
  for node in placed.objects:
    for edge in (node.x - node.width / 2, node.x + node.width / 2):
      pixels = np.asarray(picture).astype(int)[round(node.y), round(edge) - 2 : round(edge) + 3]
      assert np.abs(pixels - class_color(node.name)).sum(-1).min() < 60, node.name
  for (subject, object_), predicate, arrows in zip(
    ((0, 1), (2, 0)), placed.predicates, placed.arrows, strict=True
  ):
    subject, object_ = placed.objects[subject], placed.objects[object_]
    (tip,) = (head[0] for arrow in arrows for head in arrow.heads)
    assert _is_on_edge(tip, object_)
    ends = [arrow.curve[end] for arrow in arrows for end in (0, -1)]
    assert sum(_is_on_edge(end, subject) for end in ends) == 1
    assert sum(_is_on_edge(end, predicate) for end in ends) == 2


def _is_on_edge(point, node):
  beyond = abs(point[0] - node.x) - node.width / 2, abs(point[1] - node.y) - node.height / 2
  return -2 < max(beyond) < 2


def test_a_predicate_is_written():
  short, long = (
    draw_graph(SceneGraph(('sky', 'sea'), ((0, predicate, 1),)))
    for predicate in ('on', 'standing on it')
  )
  assert long.width > short.width


def test_loops_and_parallel_arrows_each_have_their_label():
  one = SceneGraph(('sky', 'sea'), ((0, 'above', 1),))
  many = SceneGraph(
    ('sky', 'sea'), ((0, 'above', 1), (0, 'above', 1), (1, 'above', 0), (0, 'next to', 0))
  )
  assert draw_graph(many).width > draw_graph(one).width


def test_a_large_graph_is_drawn():
  rng = np.random.default_rng(0)
  relationships = tuple(
    (int(rng.integers(60)), 'left of', int(rng.integers(60))) for _ in range(120)
  )
  picture = draw_graph(SceneGraph(('person',) * 60, relationships))
  assert picture.width > 800


def test_a_graph_is_drawn_the_same_each_time():
  graph = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
  np.testing.assert_array_equal(np.asarray(draw_graph(graph)), np.asarray(draw_graph(graph)))

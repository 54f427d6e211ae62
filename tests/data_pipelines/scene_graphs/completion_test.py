"""Completion of graphs by counts of others."""

import collections
import json

import pytest

from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph

MEADOW = SceneGraph(
  ('sky', 'grass', 'sheep', 'sheep'), ((2, 'on', 1), (3, 'on', 1), (0, 'above', 1))
)
SEA = SceneGraph(('sky', 'sea', 'boat'), ((2, 'in', 1), (0, 'above', 1)))
STATISTICS = GraphStatistics.of_graphs([MEADOW] * 60 + [SEA] * 40)


def test_counts():
  assert STATISTICS.num_scenes == 100
  assert STATISTICS.classes == {'sky': 100, 'grass': 60, 'sheep': 60, 'sea': 40, 'boat': 40}
  assert STATISTICS.pairs['sheep', 'sheep'] == 60 and ('boat', 'sheep') not in STATISTICS.pairs
  assert STATISTICS.relations['sheep', 'on', 'grass'] == 120
  written = json.loads(json.dumps(STATISTICS.to_dict()))
  assert GraphStatistics.from_dict(written) == STATISTICS


def test_what_goes_together_is_likely():
  assert sum(STATISTICS.likelihoods(['sheep']).values()) == pytest.approx(1)
  likely = STATISTICS.likelihoods(['sheep'])
  # P(c) P(c, sheep) / (P(c) P(sheep)): sky, grass and a second sheep are in all scenes with one.
  assert likely['grass'] == pytest.approx(likely['sky']) and likely['sheep'] > 0.2
  assert likely['boat'] < 0.002 and likely['sea'] < 0.002
  assert STATISTICS.likelihoods(['boat'])['sheep'] < 0.002
  assert STATISTICS.likelihoods(['sheep', 'unicorn']) == likely  # says nothing of what it has not


def test_what_is_said_of_the_scene_counts():
  day = SceneGraph(('sky', 'sea'), (), (), ('day',))
  night = SceneGraph(('night sky', 'sea'), (), (), ('night',))
  statistics = GraphStatistics.of_graphs([day] * 90 + [night] * 10)
  assert statistics.likelihoods(['sea'])['sky'] > 0.4
  at_night = statistics.likelihoods(['sea'], ['night'])
  assert at_night['night sky'] > 0.9 and at_night['sky'] < 0.01
  graph, _ = statistics.complete(SceneGraph(('sea',), (), (), ('night',)), 1)
  assert graph.objects == ('sea', 'night sky') and graph.scene == ('night',)
  assert statistics.likelihoods(['sea'], ['stormy']) == statistics.likelihoods(['sea'])
  assert GraphStatistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


def test_a_sheep_becomes_a_meadow():
  graph, added = STATISTICS.complete(SceneGraph(('sheep',), (), (('white',),)), 2, seed=1)
  assert graph.objects[0] == 'sheep' and len(graph.objects) == 3 == 1 + len(added)
  assert graph.attributes == (('white',), (), ())
  assert not {'sea', 'boat'} & set(graph.objects)
  assert [addition.name for addition in added] == list(graph.objects[1:])
  names = {
    (graph.objects[subject], predicate, graph.objects[other])
    for subject, predicate, other in graph.relationships
  }
  assert names <= {('sheep', 'on', 'grass'), ('sky', 'above', 'grass')}


def test_drawn_classes_follow_the_likelihoods():
  drawn = collections.Counter(
    STATISTICS.complete(SceneGraph(('boat',), ()), 1, seed)[0].objects[1] for seed in range(300)
  )
  likely = STATISTICS.likelihoods(['boat'])
  for name, count in drawn.items():
    assert count / 300 == pytest.approx(likely[name], abs=0.09)
  same = [STATISTICS.complete(SceneGraph(('boat',), ()), 3, 5)[0] for _ in range(2)]
  assert same[0] == same[1]


def test_a_relation_that_is_rare_is_not_added():
  graphs = [SceneGraph(('sky', 'sea'), ())] * 19 + [SceneGraph(('sky', 'sea'), ((0, 'above', 1),))]
  statistics = GraphStatistics.of_graphs(graphs)
  graph, (addition,) = statistics.complete(SceneGraph(('sea',), ()), 1)
  assert addition.relationship is None and graph.relationships == ()
  with pytest.raises(UserError, match='no scenes to complete graphs from'):
    GraphStatistics.of_graphs([]).complete(SceneGraph(('sea',), ()), 1)


DAY = SceneGraph(('sky', 'sun', 'grass'), ((1, 'in', 0), (0, 'above', 2)), (), ('day',))
NIGHT = SceneGraph(('night sky', 'moon', 'grass'), ((1, 'in', 0), (0, 'above', 2)), (), ('night',))
TIMES = GraphStatistics.of_graphs([DAY] * 60 + [NIGHT] * 40)


def test_most_scenes_have_what_is_implied():
  graph, added = TIMES.implied(SceneGraph(('grass',), (), (), ('night',)))
  assert set(graph.objects[1:]) == {'night sky', 'moon'} and graph.scene == ('night',)
  assert [one.name for one in added] == list(graph.objects[1:])
  assert {one.relationship for one in added} - {None} == set(graph.relationships)
  assert TIMES.implied(DAY) == (DAY, [])
  unknown = SceneGraph(('zebra',), ())
  assert unknown.objects[0] not in TIMES.classes and TIMES.implied(unknown)[1] == []


def test_counterparts():
  assert TIMES.counterparts() == {
    'day': {'night sky': 'sky', 'moon': 'sun'},
    'night': {'sky': 'night sky', 'sun': 'moon'},
  }


def test_attributes_that_exclude_each_other():
  graphs = [
    SceneGraph(('boat', 'boat'), (), (('red', 'small'), ('blue', 'small')), (time,))
    for time in ('day', 'night')
    for _ in range(20)
  ]
  found = GraphStatistics.of_graphs(graphs)
  assert found.excluding_attributes() == [('day', 'night'), ('blue', 'red')]
  assert found.attributes_of('boat') == {'small': 80, 'red': 40, 'blue': 40}
  few = GraphStatistics.of_graphs(graphs[:2])  # of which nothing can be said
  assert few.excluding_attributes() == []
  assert GraphStatistics.from_dict(found.to_dict()) == found


def test_what_most_scenes_are():
  clear, foggy = (SceneGraph(('sky',), (), scene=(name,)) for name in ('clear', 'foggy'))
  assert GraphStatistics.of_graphs([clear, clear, foggy]).usual_scene() == ('clear',)
  assert GraphStatistics.of_graphs([clear, foggy]).usual_scene() == ()

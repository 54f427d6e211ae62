"""Counts, slots and padding of splits small enough to count by hand."""

import numpy as np
import pytest

from data_pipelines.pipeline import input_pipeline, prepared, split_statistics
from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.graph import SceneGraph

IMAGE = np.zeros((4, 4, 3), np.uint8)


def make_scene(names, relationships, boxes, masks=None):
  return PreparedScene(
    'id', IMAGE, SceneGraph(names, relationships), np.array(boxes, np.float32), masks
  )


SCENES = [
  make_scene(
    ('sky', 'sheep'),
    ((0, 'above', 1),),
    [[0, 0, 1, 0.5], [0.5, 0.5, 1, 1]],
    np.stack([np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8)]),
  ),
  make_scene(('sky',), (), [[0, 0, 1, 1]]),
]


def test_counts():
  statistics = split_statistics.count(iter(SCENES))
  assert statistics.num_objects.tolist() == [2, 1]
  assert statistics.num_relations.tolist() == [1, 0]
  assert statistics.class_counts == {'sky': 2, 'sheep': 1}
  assert statistics.predicate_counts == {'above': 1}
  np.testing.assert_array_equal(statistics.areas, [0.5, 0.25, 1])
  assert (statistics.num_with_masks, statistics.num_empty_masks) == (1, 1)
  assert statistics.object_slots.tolist() == [3, 2]
  assert statistics.triple_slots.tolist() == [3, 1]


@pytest.mark.parametrize(
  ('share', 'slots'), [(1, 100), (0.99, 99), (0.985, 99), (0.5, 50), (0.01, 1)]
)
def test_smallest_slots(share, slots):
  needed = np.random.default_rng(0).permutation(np.arange(1, 101))
  assert split_statistics.smallest_slots(needed, share) == slots
  assert (needed <= slots).mean() >= share > (needed <= slots - 1).mean()


def test_padding_share():
  needed = np.array([2, 4])
  assert split_statistics.padding_share(needed, 4) == 0.25
  assert split_statistics.padding_share(needed, 8) == 0.625
  assert split_statistics.padding_share(needed, 2) == 0


@pytest.mark.parametrize('relations', prepared.RELATIONS)
def test_slots_are_what_the_batches_fill(coco_root, settings, relations):
  builder = prepared.open_data_set(str(coco_root / 'prepared'))
  visits = prepared.SplitVisits(
    builder, 'train', relations, *prepared.whole_slots(builder, relations), seed=0
  )
  statistics = split_statistics.count(visits.scenes())
  settings = settings.replace(relations=relations, max_objects=7, max_triples=12)
  batches = list(
    input_pipeline.evaluation_batches(
      builder, settings, visits.vocabulary, split='train', batch_size=1, seed=0
    )
  )
  padding = [
    1 - np.mean([batch[name].mean() for batch in batches])
    for name in ('object_mask', 'triple_mask')
  ]
  found = [
    split_statistics.padding_share(needed, slots)
    for needed, slots in ((statistics.object_slots, 7), (statistics.triple_slots, 12))
  ]
  np.testing.assert_allclose(found, padding, rtol=1e-6)


def test_report_of_whole_scenes(coco_root):
  builder = prepared.open_data_set(str(coco_root / 'prepared'))
  visits = prepared.SplitVisits(builder, 'val', 'geometric', 6, 12, seed=0)
  report = split_statistics.report(split_statistics.count(visits.scenes()), visits)
  assert report.startswith('4 scenes, ')
  assert 'scenes with masks: 100.0 %; objects with an empty mask: 0.0 %' in report
  max_objects, max_triples = prepared.whole_slots(builder, 'geometric')
  assert f'recommended: data.max_objects={max_objects} data.max_triples={max_triples};' in report
  for name in ('sky', 'person', 'car'):
    assert f'  {name} ' in report
  assert 'classes: 3 of ' in report


def test_report_of_cut_scenes_recommends_nothing(coco_root):
  builder = prepared.open_data_set(str(coco_root / 'prepared'))
  visits = prepared.SplitVisits(builder, 'val', 'none', 3, 2, seed=0)
  report = split_statistics.report(split_statistics.count(visits.scenes()), visits)
  assert '3 (0.0 %)' in report
  assert 'recommended:' not in report
  assert 'predicates: 0 of 6 occur' in report


def test_many_names_and_many_values_are_shortened(coco_root):
  names = tuple(f'class {index}' for index in range(40) for _ in range(index + 1))
  scenes = [
    make_scene(names[:length], (), np.tile([0, 0, 0.5, 0.5], (length, 1)))
    for length in range(780, 821)
  ]
  builder = prepared.open_data_set(str(coco_root / 'prepared'))
  visits = prepared.SplitVisits(builder, 'val', 'none', 1000, 1000, seed=0)
  lines = split_statistics.report(split_statistics.count(scenes), visits).splitlines()
  assert sum('#' in line for line in lines) <= 20
  assert any(line.startswith('  780-784 ####') for line in lines)
  assert any(line.startswith('      820 ') for line in lines)
  assert any(line.startswith('  class 38 ') and 'class 0 ' in line for line in lines)
  assert not any('class 20' in line for line in lines)
  assert any(line.startswith('scenes with masks: 0.0 %') for line in lines)

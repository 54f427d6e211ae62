"""Prepared directories are found by name, and their scenes are those of evaluation_batches."""

import dataclasses
import shutil

import numpy as np
import pytest

from data_pipelines import preparation
from data_pipelines.pipeline import input_pipeline, prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IN_IMAGE_PREDICATE
from data_pipelines.storybook.scenes import draw_scene
from tests.data_pipelines import tiny_storybook


@pytest.fixture(scope='module')
def storybook_dir(tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('storybook')
  tiny_storybook.prepare(data_dir)
  return data_dir


@pytest.fixture
def two_data_sets(storybook_dir, coco_root, tmp_path):
  shutil.copytree(storybook_dir, tmp_path, dirs_exist_ok=True)
  shutil.copytree(coco_root / 'prepared', tmp_path, dirs_exist_ok=True)
  return tmp_path


def make_visits(data_dir, relations='mixed', **changes) -> prepared.SplitVisits:
  builder = prepared.open_data_set(str(data_dir))
  return dataclasses.replace(
    prepared.SplitVisits(
      builder, 'val', relations, *prepared.whole_slots(builder, relations), seed=0
    ),
    **changes,
  )


def test_the_only_data_set_needs_no_name(storybook_dir):
  builder = prepared.open_data_set(str(storybook_dir))
  assert builder.name == 'storybook'
  assert prepared.open_data_set(str(builder.data_dir)).data_dir == builder.data_dir
  assert prepared.open_data_set(str(storybook_dir / 'storybook')).data_dir == builder.data_dir


def test_several_data_sets_are_chosen_by_a_part_of_the_path(two_data_sets):
  with pytest.raises(
    UserError,
    match=r'dataset must choose one of 2 data sets: coco_stuff/24x32-.*, storybook/32x32-',
  ):
    prepared.open_data_set(str(two_data_sets))
  assert prepared.open_data_set(str(two_data_sets), 'storybook').name == 'storybook'
  assert prepared.open_data_set(str(two_data_sets), 'coco_stuff/24x32').name == 'coco_stuff'
  with pytest.raises(
    UserError,
    match="dataset is 'flowers', which is in the path of no data sets; choose one: coco_stuff/",
  ):
    prepared.open_data_set(str(two_data_sets), 'flowers')


def test_the_newest_whole_version_is_opened(storybook_dir, tmp_path):
  shutil.copytree(storybook_dir, tmp_path, dirs_exist_ok=True)
  (configuration,) = (tmp_path / 'storybook').iterdir()
  (version,) = configuration.iterdir()
  shutil.copytree(version, configuration / '1.10.0')
  shutil.copytree(version, configuration / 'incomplete.XYZ_3.0.0')
  assert prepared.open_data_set(str(tmp_path)).data_dir == str(version)
  shutil.rmtree(version)
  shutil.copytree(configuration / '1.10.0', configuration / '1.9.0')
  assert prepared.open_data_set(str(tmp_path)).data_dir == str(configuration / '1.10.0')


def test_directories_without_records_are_named(tmp_path, storybook_dir):
  with pytest.raises(UserError, match='no prepared data set in it'):
    prepared.open_data_set(str(tmp_path / 'nowhere'))
  shutil.copytree(storybook_dir, tmp_path, dirs_exist_ok=True)
  (metadata,) = tmp_path.rglob('metadata.json')
  metadata.write_text('{}')
  with pytest.raises(UserError, match='not a data set of scene graphs'):
    prepared.open_data_set(str(tmp_path))
  (info,) = tmp_path.rglob('dataset_info.json')
  info.write_text('{')
  with pytest.raises(UserError, match='cannot be read'):
    prepared.open_data_set(str(tmp_path))


def test_ids_are_those_of_the_images(storybook_dir):
  scenes = list(make_visits(storybook_dir).scenes())
  assert len(scenes) == len({scene.image_id for scene in scenes}) == tiny_storybook.NUM_VAL
  for scene in scenes:
    seed, index = map(int, scene.image_id.split('-'))
    drawn = draw_scene(seed, index, tiny_storybook.IMAGE_SIDE)
    np.testing.assert_array_equal(scene.image, drawn.image)
    np.testing.assert_array_equal(scene.boxes, drawn.boxes)
    assert scene.graph.objects == tuple(drawn.names)
    assert len(scene.masks) == len(drawn.names)


@pytest.mark.parametrize('relations', prepared.RELATIONS)
def test_graphs_are_those_of_evaluation_whatever_its_slots(storybook_dir, relations):
  # with more slots than the scenes need
  settings = tiny_storybook.make_settings(storybook_dir)
  settings = settings.replace(relations=relations, max_triples=60)
  builder = preparation.prepare(settings)
  names = input_pipeline.stored_vocabulary(builder)
  batches = input_pipeline.evaluation_batches(
    builder, settings, names, split='val', batch_size=8, seed=5
  )
  expected = [
    [
      (subject - 1, names.predicate_names[predicate], object_ - 1)
      for subject, predicate, object_ in triples[valid]
      if names.predicate_names[predicate] != IN_IMAGE_PREDICATE
    ]
    for batch in batches
    for triples, valid in zip(batch['triples'], batch['triple_mask'], strict=True)
  ]
  visits = make_visits(storybook_dir, relations, seed=5)
  assert settings.max_objects > visits.max_objects
  assert [list(scene.graph.relationships) for scene in visits.scenes()] == expected


def test_seed_and_number_of_scenes(storybook_dir):
  graphs, again, other = (
    [scene.graph for scene in make_visits(storybook_dir, seed=seed).scenes()] for seed in (0, 0, 1)
  )
  assert graphs == again
  assert graphs != other
  assert [scene.graph for scene in make_visits(storybook_dir).scenes(3)] == graphs[:3]
  assert len(list(make_visits(storybook_dir).scenes(1000))) == tiny_storybook.NUM_VAL


def test_fewer_slots_cut_scenes_and_too_few_triples_are_an_error(storybook_dir):
  visits = make_visits(storybook_dir, max_objects=4, max_triples=6)
  assert max(len(scene.graph.objects) for scene in visits.scenes()) == 3
  with pytest.raises(UserError, match='data.max_triples is 5, .* set data.max_triples=6'):
    next(dataclasses.replace(visits, max_triples=5).scenes())


def test_scenes_without_masks(coco_root, monkeypatch):
  visits = make_visits(coco_root / 'prepared', 'geometric')
  whole = next(visits.scenes())
  assert whole.masks.shape == (len(whole.graph.objects), 8, 8)
  original = input_pipeline.evaluation_batches

  def without_masks(*args, **kwargs):
    return (
      {name: values for name, values in batch.items() if name != 'masks'}
      for batch in original(*args, **kwargs)
    )

  monkeypatch.setattr(input_pipeline, 'evaluation_batches', without_masks)
  scene = next(visits.scenes())
  assert scene.masks is None
  assert scene.graph == whole.graph

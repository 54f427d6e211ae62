"""Exported graphs are those of evaluation, the same bytes each time, and can be read back."""

import pytest

from data_pipelines import export
from data_pipelines.pipeline import prepared
from data_pipelines.pipeline.graph_export import write_graphs
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.scene_graphs.graph import load_scene_graphs
from tests.data_pipelines import tiny_storybook, without_jax


@pytest.fixture(scope='module')
def storybook_visits(tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('storybook')
  tiny_storybook.prepare(data_dir)
  return make_visits(data_dir, 'mixed')


def make_visits(data_dir, relations, seed=0):
  builder = prepared.open_data_set(str(data_dir))
  return prepared.SplitVisits(
    builder, 'val', relations, *prepared.whole_slots(builder, relations), seed=seed
  )


def test_reading_back_gives_the_same_graphs_and_ids(storybook_visits, tmp_path):
  path = tmp_path / 'graphs.json'
  assert write_graphs(storybook_visits, str(path)) == (
    tiny_storybook.NUM_VAL,
    tmp_path / 'graphs.ids.txt',
  )
  scenes = list(storybook_visits.scenes())
  assert load_scene_graphs(path) == [scene.graph for scene in scenes]
  assert (tmp_path / 'graphs.ids.txt').read_text().splitlines() == [
    scene.image_id for scene in scenes
  ]


def test_a_seed_gives_the_same_bytes_and_another_seed_other_graphs(coco_root, tmp_path):
  contents = []
  for name, seed in (('a', 0), ('b', 0), ('c', 1)):
    path = tmp_path / f'{name}.json'
    assert (
      write_graphs(make_visits(coco_root / 'prepared', 'geometric', seed), str(path), 3)[0] == 3
    )
    assert len(load_scene_graphs(path)) == 3
    contents.append((path.read_bytes(), (tmp_path / f'{name}.ids.txt').read_bytes()))
  assert contents[0] == contents[1]
  assert contents[0][0] != contents[2][0]
  assert contents[0][1] == contents[2][1]  # the images stay the same


def test_graphs_without_relations(coco_root, tmp_path):
  write_graphs(make_visits(coco_root / 'prepared', 'none'), str(tmp_path / 'graphs.json'))
  graphs = load_scene_graphs(tmp_path / 'graphs.json')
  assert all(graph.objects and not graph.relationships for graph in graphs)


def test_a_file_that_cannot_be_written(coco_root, tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(SettingsError, match='output is .*file, which cannot be written'):
    write_graphs(
      make_visits(coco_root / 'prepared', 'none'), str(tmp_path / 'file' / 'graphs.json')
    )


@pytest.mark.slow
def test_command_needs_no_jax(coco_root, tmp_path):
  flags = [
    f'--data_dir={coco_root / "prepared"}',
    f'--output={tmp_path / "graphs.json"}',
    '--num_graphs=2',
    '--seed=3',
  ]
  result = without_jax.run('data_pipelines.export', *flags)
  assert result.returncode == 0, result.stderr
  assert result.stdout.startswith(f'{tmp_path / "graphs.json"}: 2 graphs of ')
  # By default relations as in coco64: COCO stores none.
  assert load_scene_graphs(tmp_path / 'graphs.json') == [
    scene.graph for scene in make_visits(coco_root / 'prepared', 'geometric', seed=3).scenes(2)
  ]


def test_command_reports_a_mistake_in_one_line(tmp_path):
  result = without_jax.run('data_pipelines.export', '--relations=some')
  assert (result.returncode, result.stdout) == (2, '')
  assert result.stderr.startswith(
    'error: flag --relations=some: value should be one of <geometric|'
  )
  assert len(result.stderr.splitlines()) == 1
  with pytest.raises(UserError, match=f'^{tmp_path}: no prepared data set'):
    export.export(export.ExportOptions(data_dir=str(tmp_path)))

"""Exported graphs are those of evaluation, the same bytes each time, and can be read back."""

import subprocess
import sys

import pytest

from data_pipelines import export
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import load_scene_graphs
from tests.data_pipelines import tiny_storybook

# TensorFlow imports jax if it can, so the command must do its work where nobody can.
WITHOUT_JAX = """
import runpy, sys
sys.modules['jax'] = sys.modules['sg2im_jax'] = None
sys.argv = ['export', *sys.argv[1:]]
runpy.run_module('data_pipelines.export', run_name='__main__', alter_sys=True)
"""


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
  export.export(storybook_visits, str(path), None)
  scenes = list(storybook_visits.scenes())
  assert load_scene_graphs(path) == [scene.graph for scene in scenes]
  assert (tmp_path / 'graphs.ids.txt').read_text().splitlines() == [
    scene.image_id for scene in scenes
  ]


def test_a_seed_gives_the_same_bytes_and_another_seed_other_graphs(coco_root, tmp_path, capsys):
  contents = []
  for name, seed in (('a', 0), ('b', 0), ('c', 1)):
    path = tmp_path / f'{name}.json'
    export.export(make_visits(coco_root / 'prepared', 'geometric', seed), str(path), 3)
    assert len(load_scene_graphs(path)) == 3
    contents.append((path.read_bytes(), (tmp_path / f'{name}.ids.txt').read_bytes()))
  assert contents[0] == contents[1]
  assert contents[0][0] != contents[2][0]
  assert contents[0][1] == contents[2][1]  # the images stay the same
  assert f'{tmp_path / "a.json"}: 3 graphs of ' in capsys.readouterr().out


def test_graphs_without_relations(coco_root, tmp_path):
  export.export(make_visits(coco_root / 'prepared', 'none'), str(tmp_path / 'graphs.json'), None)
  graphs = load_scene_graphs(tmp_path / 'graphs.json')
  assert all(graph.objects and not graph.relationships for graph in graphs)


def test_a_file_that_cannot_be_written(coco_root, tmp_path):
  with pytest.raises(UserError, match='--output=.*cannot be written'):
    export.export(
      make_visits(coco_root / 'prepared', 'none'), str(tmp_path / 'nowhere' / 'graphs.json'), None
    )


def test_command_needs_no_jax(coco_root, tmp_path):
  flags = [
    f'--data_dir={coco_root / "prepared"}',
    f'--output={tmp_path / "graphs.json"}',
    '--num_graphs=2',
    '--seed=3',
  ]
  result = subprocess.run(
    [sys.executable, '-c', WITHOUT_JAX, *flags], capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr
  # By default relations as in coco64: COCO stores none.
  assert load_scene_graphs(tmp_path / 'graphs.json') == [
    scene.graph for scene in make_visits(coco_root / 'prepared', 'geometric', seed=3).scenes(2)
  ]


def test_command_reports_a_mistake_in_one_line(tmp_path):
  result = subprocess.run(
    [sys.executable, '-m', 'data_pipelines.export', f'--data_dir={tmp_path}'],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 2
  assert result.stderr.startswith(f'error: {tmp_path}: no prepared data set')
  assert len(result.stderr.splitlines()) == 1

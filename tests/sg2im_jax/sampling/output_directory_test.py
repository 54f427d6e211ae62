import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.graphs import GraphSamples
from sg2im_jax.sampling.output_directory import OutputDirectory, State

SKY = SceneGraph(('sky', 'grass'), ((0, 'above', 1),))
SHEEP = SceneGraph(('sky', 'sheep'), ((0, 'above', 1),))


@pytest.fixture
def files(tmp_path):
  return OutputDirectory(
    tmp_path / 'out',
    num_graphs=3,
    samples_per_graph=2,
    drawings=False,
    facts={'seed': 0, 'stretch': False},
  )


def _samples(index=0, graph=SKY, num_samples=2, value=0):
  pictures = np.full((num_samples, 16, 16, 3), value, np.uint8)
  count = len(graph.objects)
  boxes = np.linspace(0, 1, 4 * count, dtype=np.float32).reshape(-1, 4)
  return GraphSamples(
    index,
    graph,
    pictures,
    np.repeat(boxes[None], num_samples, 0),
    np.ones((num_samples, count, 4, 4), np.float32),
    latents=None,
    image_latents=None,
  )


def test_a_graph_is_complete_once_it_is_written(files):
  assert files.state(0, SKY) is State.MISSING
  files.write(_samples())
  assert files.state(0, SKY) is State.COMPLETE
  assert files.state(1, SKY) is State.MISSING
  assert sorted(os.listdir(files.folder(0))) == ['graph.json', 'sample_0.png', 'sample_1.png']


def test_graph_json(files):
  files.write(_samples(index=2))
  text = (files.folder(2) / 'graph.json').read_text()
  assert json.loads(text) == {
    'objects': [
      {'name': 'sky', 'box': [0.0, 0.14286, 0.28571, 0.42857]},
      {'name': 'grass', 'box': [0.57143, 0.71429, 0.85714, 1.0]},
    ],
    'relationships': [[0, 'above', 1]],
    'samples': ['sample_0.png', 'sample_1.png'],
    'graph': 2,
    'seed': 0,
    'stretch': False,
  }
  assert len(text.splitlines()) == 16  # an object, a relationship or a picture a line


@pytest.mark.parametrize(
  'change',
  [
    {'samples_per_graph': 1},
    {'drawings': True},
    {'facts': {'seed': 1, 'stretch': False}},
    {'facts': {'seed': 0}},
  ],
)
def test_what_was_sampled_with_other_settings_is_outdated(files, change):
  files.write(_samples())
  other = dataclasses.replace(files, **change)
  assert other.state(0, SKY) is State.OUTDATED
  other.write(_samples(num_samples=other.samples_per_graph))
  assert other.state(0, SKY) is State.COMPLETE
  assert ('sample_1.png' in os.listdir(files.folder(0))) == (other.samples_per_graph == 2)


def test_more_than_was_asked_for_is_complete(files):
  dataclasses.replace(files, drawings=True).write(_samples())
  assert files.state(0, SKY) is State.COMPLETE


def test_another_graph_is_outdated(files):
  files.write(_samples())
  assert files.state(0, SHEEP) is State.OUTDATED
  assert files.state(0, dataclasses.replace(SKY, relationships=())) is State.OUTDATED


@pytest.mark.parametrize(
  'content', ['', '{"objects"', '[]', '{}', '{"objects": [1]}', '{"objects": 1}', b'\xff\xfe']
)
def test_a_damaged_graph_json_is_outdated(files, content):
  files.write(_samples())
  (files.folder(0) / 'graph.json').write_bytes(
    content if isinstance(content, bytes) else content.encode()
  )
  assert files.state(0, SKY) is State.OUTDATED


def test_a_missing_picture_is_noticed(files):
  files.write(_samples())
  (files.folder(0) / 'sample_1.png').unlink()
  assert files.state(0, SKY) is State.OUTDATED


@pytest.mark.parametrize('last', ['sample_0.png', 'sample_1.png', 'graph.json'])
def test_stopped_while_a_graph_is_replaced_it_is_not_complete(files, monkeypatch, last):
  files.write(_samples(value=1))
  other, replace = dataclasses.replace(files, facts={'seed': 1}), os.replace

  def stop(source, target):
    if pathlib.Path(target).name == last:
      raise KeyboardInterrupt
    replace(source, target)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(os, 'replace', stop)
    other.write(_samples(value=2))
  assert files.state(0, SKY) is other.state(0, SKY) is State.MISSING
  other.write(_samples(value=2))
  assert other.state(0, SKY) is State.COMPLETE
  assert sorted(os.listdir(files.folder(0))) == [
    'graph.json',
    'sample_0.png',
    'sample_1.png',
  ]  # nothing half written
  assert np.asarray(Image.open(files.folder(0) / 'sample_0.png')).max() == 2


def test_files_that_are_not_ours_stay(files):
  files.write(_samples())
  (files.folder(0) / 'notes.txt').write_text('mine')
  (files.folder(0) / 'sample_best.png').write_text('mine')
  files.write(_samples())
  assert {'notes.txt', 'sample_best.png'} < set(os.listdir(files.folder(0)))


@pytest.mark.parametrize(
  'num_graphs, name',
  [(1, 'graph_007'), (1000, 'graph_007'), (1001, 'graph_0007'), (10_001, 'graph_00007')],
)
def test_names_of_folders_sort(files, num_graphs, name):
  assert dataclasses.replace(files, num_graphs=num_graphs).folder(7).name == name


@pytest.mark.parametrize(
  'num_graphs, names', [(3, ['overview.png']), (21, ['overview_0.png', 'overview_1.png'])]
)
def test_overviews(files, num_graphs, names):
  files = dataclasses.replace(files, num_graphs=num_graphs, drawings=True)
  files.write(_samples())
  for index in range(1, num_graphs):  # drawing each of them would take long
    files.folder(index).symlink_to(files.folder(0))
  assert [path.name for path in files.write_overviews()] == names
  heights = [Image.open(files.directory / name).height for name in names]
  assert heights[0] > 3 * 256 and heights == sorted(heights, reverse=True)

"""Exports of untrained models: they are what the model is, and are refused where they are not."""

import contextlib
import dataclasses
import json
import os
import re

import jaxtyping
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.exporting import exporter, programs, verification
from sg2im_jax.sampling.trained_model import TrainedModel
from tests.small_scenes import VOCABULARY, tiny_config, tiny_token_config
from tests.training_runs import start, write_untrained

of_tokens = pytest.mark.parametrize('workdir', ['tokens'], indirect=True)
of_published = pytest.mark.parametrize('workdir', ['published'], indirect=True)

GRAPHS = [
  SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'above', 1))),
  SceneGraph(('sheep',), (), (('red',),), ('red',)),
]
CONFIGS = {'published': tiny_config, 'tokens': tiny_token_config}


@pytest.fixture(autouse=True)
def symbols_in_shapes():
  """The checker of shapes does not know the symbols of programs that are exported."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


@pytest.fixture(scope='module', params=CONFIGS)
def workdir(request, tmp_path_factory):
  config = CONFIGS[request.param]()
  config.data.max_attributes = 4
  return write_untrained(tmp_path_factory.mktemp('run'), config, VOCABULARY)


@pytest.fixture(scope='module')
def model(workdir):
  return TrainedModel.load(workdir)


def test_programs_are_the_model(model):
  """Graphs of several sizes in one call, with padding, beside `sample` of each."""
  graphs = model.understood(GRAPHS)
  for program in programs.programs(model)[:2]:
    arrays = programs.encode_graphs(program, model.vocabulary, graphs, [3, 4])
    outputs = program.function(model.variables, arrays)
    for row, (seed, graph) in enumerate(zip((3, 4), graphs)):
      expected = model.sample(graph, samples=1, seed=seed)
      difference = np.abs(np.int32(outputs['pictures'][row]) - expected.pictures[0])
      assert difference.max() <= 1
      count = len(graph.objects)
      np.testing.assert_allclose(outputs['found_boxes'][row, :count], expected.boxes[0], atol=1e-5)


def test_what_is_given_is_used(model):
  program = programs.programs(model)[1]
  arrays = programs.encode_graphs(program, model.vocabulary, model.understood(GRAPHS), [0, 0])
  open_ = np.asarray(program.function(model.variables, arrays)['pictures'])
  arrays['boxes'][0, 2] = 0.1, 0.1, 0.3, 0.3
  given = np.asarray(program.function(model.variables, arrays)['pictures'])
  assert (given[0] != open_[0]).any()
  np.testing.assert_array_equal(given[1], open_[1])


@of_tokens
def test_appearances_are_those_of_the_model(model):
  program = programs.programs(model)[2]
  size = (1, *model.settings.data.image_size, 3)
  picture = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
  boxes = np.array([[[0, 0, 1, 0.5], [0.2, 0.3, 0.7, 0.9]]], np.float32)
  padded = np.concatenate([boxes, np.full((1, 1, 4), np.nan, np.float32)], 1)
  found = program.function(model.variables, {'pictures': picture, 'boxes': padded})
  # The whole picture is an object there, and its appearance is of the others, too.
  whole = model.encode(picture[0], np.concatenate([[[0, 0, 1, 1]], boxes[0]]))
  np.testing.assert_allclose(found['found_scene_latents'][0], whole[0], atol=1e-4)
  np.testing.assert_allclose(found['found_latents'][0, :2], whole[1:], atol=1e-4)


@pytest.mark.parametrize(
  ('workdir', 'format'),
  [('tokens', 'stablehlo'), ('published', 'stablehlo'), ('tokens', 'saved_model')],
  indirect=['workdir'],
)
def test_an_export_is_tried_and_its_client_runs(workdir, model, format, tmp_path):
  described = exporter.export(workdir, format, tmp_path / 'exported')
  assert described['verification']['largest_difference'] <= 1
  assert described['fingerprint'] == model.fingerprint
  assert json.loads((tmp_path / 'exported/model.json').read_text()) == described
  card = (tmp_path / 'exported/README.md').read_text()
  (client,) = re.findall(r'^```python\n(.*?)^```', card, re.M | re.S)
  with contextlib.chdir(tmp_path / 'exported'):
    exec(client, {})
    picture = Image.open('picture.png')
  height, width = model.settings.data.image_size
  assert picture.size == (width, height)
  if format == 'stablehlo':
    content = (tmp_path / 'exported/sample.stablehlo').read_bytes()
    assert jax_export.deserialize(bytearray(content)).platforms == ('cpu', 'cuda', 'tpu')


@of_published
def test_an_export_that_differs_is_refused(model):
  found = programs.programs(model)

  def other(name, arrays):
    (program,) = (one for one in found if one.name == name)
    outputs = program.function(model.variables, arrays)
    return {key: 255 - np.asarray(array) for key, array in outputs.items()}

  with pytest.raises(UserError, match='draws other pictures than the model: pixels differ by up'):
    verification.compare(model, found, other, 1)


@of_published
def test_refuses_a_folder_with_something_in_it(workdir, tmp_path):
  (tmp_path / 'mine.txt').write_text('mine')
  with pytest.raises(UserError, match='where something is already; choose another folder'):
    exporter.export(workdir, 'stablehlo', tmp_path)
  assert os.listdir(tmp_path) == ['mine.txt']


@of_published
def test_leaves_nothing_when_it_fails(workdir, tmp_path, monkeypatch):
  def fail(*arguments):
    raise OSError(28, 'No space left on device')

  monkeypatch.setitem(
    exporter._FORMATS,
    'stablehlo',
    dataclasses.replace(exporter._FORMATS['stablehlo'], write=fail),
  )
  with pytest.raises(UserError, match='No space left on device'):
    exporter.export(workdir, 'stablehlo', tmp_path / 'exported')
  assert not any(tmp_path.iterdir())


@of_published
def test_names_what_is_to_be_installed(workdir, tmp_path, monkeypatch):
  monkeypatch.setattr(exporter.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(
    UserError, match=re.escape("needs jax2onnx, onnxruntime: pip install -e '.[on")
  ):
    exporter.export(workdir, 'onnx', tmp_path / 'exported')


@pytest.mark.slow
@of_published
def test_the_command(workdir, tmp_path):
  process = start(
    'export', f'--workdir={workdir}', '--format=stablehlo', f'--output={tmp_path / "exported"}'
  )
  output, errors = process.communicate()
  assert process.returncode == 0, errors
  assert 'pictures beside those of the model' in output
  again = start(
    'export', f'--workdir={workdir}', '--format=stablehlo', f'--output={tmp_path / "exported"}'
  )
  _, errors = again.communicate()
  assert again.returncode == 2 and 'choose another folder' in errors

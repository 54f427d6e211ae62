"""A work directory of an earlier version: it loads, samples, resumes and is scored as then."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from data_pipelines.scene_graphs.graph import load_scene_graphs
from data_pipelines.storybook.weather import CHANCES
from sg2im_jax.evaluation.evaluation import evaluate
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.sampling.bulk import sample_to_directory
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.storage import work_directory
from sg2im_jax.training.loop import train
from tests.training_runs import ROOT, records

pytestmark = pytest.mark.slow

RECORDED = pathlib.Path(__file__).parent / 'work_directory'


@pytest.fixture(scope='module')
def model():
  return TrainedModel.load(RECORDED / 'run')


def test_it_loads(model):
  expected = json.loads((RECORDED / 'evaluation.json').read_text())['model']
  assert model.step == expected['step'] == 3
  assert model.fingerprint == expected['fingerprint']
  assert list(model.settings.data.image_size) == expected['image_size']


def test_it_samples_the_same_pixels(model, tmp_path):
  graphs = load_scene_graphs(ROOT / 'examples/sheep.json')
  sample_to_directory(model, graphs, tmp_path, samples=2, seed=3, pictures='samples')
  names = sorted(path.relative_to(RECORDED / 'pictures') for path in RECORDED.rglob('sample_*.png'))
  assert len(names) == 2 * len(graphs) == 14
  for name in names:
    recorded, found = (
      np.asarray(Image.open(directory / name)).astype(int)
      for directory in (RECORDED / 'pictures', tmp_path)
    )
    assert np.abs(recorded - found).max() <= 1, name
  for recorded in (RECORDED / 'pictures').rglob('graph.json'):
    expected = json.loads(recorded.read_text())
    found = json.loads((tmp_path / recorded.relative_to(RECORDED / 'pictures')).read_text())
    for one, other in zip(expected.pop('objects'), found.pop('objects'), strict=True):
      assert other['name'] == one['name']
      assert other['box'] == pytest.approx(one['box'], abs=2e-5)  # five decimals
    assert found == expected


def test_complete_samples_are_still_recognised(model, tmp_path, reported):
  out = shutil.copytree(RECORDED / 'pictures', tmp_path / 'out')
  graphs = load_scene_graphs(ROOT / 'examples/sheep.json')
  sample_to_directory(model, graphs, out, samples=2, seed=3, pictures='samples')
  assert f'{len(graphs)} of {len(graphs)} graphs are there already' in reported()


def test_it_resumes_with_the_same_losses(tmp_path, monkeypatch):
  for weather in CHANCES:  # there was none then
    monkeypatch.setitem(CHANCES, weather, float(weather == 'clear'))
  workdir = shutil.copytree(RECORDED / 'run', tmp_path / 'run')
  settings = work_directory.load_settings(workdir).with_data(str(tmp_path / 'data'))
  train(settings.replace(num_steps=6), workdir)
  recorded = [json.loads(line) for line in (RECORDED / 'resumed.jsonl').read_text().splitlines()]
  found = records(workdir)
  for record in found:
    for metric in ('sg_iou', 'relation_iou'):  # there were none then
      record.pop(metric, None)
  assert [record.pop('split') for record in found] == [record.pop('split') for record in recorded]
  assert found == [pytest.approx(record, rel=1e-5) for record in recorded]


def test_its_layouts_have_the_same_scores(directory, tmp_path):
  results = evaluate(
    RECORDED / 'run',
    Protocol(num_graphs=8),
    backbone='none',
    data_dir=str(directory / 'data'),
    output_dir=tmp_path,
  )
  expected = json.loads((RECORDED / 'evaluation.json').read_text())
  assert results['layout'].keys() == expected['layout'].keys()
  for name, scores in expected['layout'].items():
    for metric, value in scores.items():
      assert results['layout'][name][metric] == pytest.approx(value, rel=1e-5, abs=1e-7), metric
  assert results['protocol'].items() >= expected['protocol'].items()

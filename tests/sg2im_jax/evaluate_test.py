"""The command from a work directory to its files, with a backbone that is made up and quick."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from data_pipelines import preparation
from data_pipelines.configs import debug
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.storybook import builder as storybook
from sg2im_jax import evaluate
from sg2im_jax.evaluation import backbones, pictures, report, scores
from sg2im_jax.evaluation.backbones import Activations
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training.state import create_train_state

PROTOCOL = Protocol(samples_per_graph=2, num_splits=2)


class FakeBackbone:
  """Features are the colours of 2 x 2 parts; class probabilities the mean colour."""

  name, weights, sha256, resize, num_features = 'fake', 'fake.pth', '0' * 64, 'not at all', 12

  def __init__(self):
    self.seen = []

  def __call__(self, images):
    self.seen.append(images)
    parts = images.reshape(len(images), 2, images.shape[1] // 2, 2, images.shape[2] // 2, 3).mean(
      (2, 4)
    )
    colours = 1 + parts.mean((1, 2))
    return Activations(
      parts.reshape(len(images), -1).astype(np.float32),
      (colours / colours.sum(1, keepdims=True)).astype(np.float32),
    )


class FakeClassifier:
  """Is right about every object that it has learned the class of."""

  def __init__(self, crops, num_classes, seed):
    assert 0 <= crops.object_class.min() and crops.object_class.max() < num_classes
    self._known = crops.object_class

  def accuracy(self, crops):
    return float(np.isin(crops.object_class, self._known).mean())


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A work directory with an untrained model."""
  directory, config = tmp_path_factory.mktemp('run'), debug.get_config()
  config.data.data_dir = str(tmp_path_factory.mktemp('data'))
  config.data.options.num_train, config.data.options.num_val = 6, 9
  config.model.gconv_num_layers, config.model.refinement_dims = 1, (8,)
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  work_directory.save_config(directory, config)
  work_directory.save_vocabulary(directory, storybook.VOCABULARY)
  with checkpoints.Checkpoints(directory, keep=1) as saved:
    saved.save(jax.jit(lambda: create_train_state(config, storybook.VOCABULARY))())
    saved.wait()
  return directory


@pytest.fixture
def backbone(monkeypatch, tmp_path):
  fake = FakeBackbone()
  monkeypatch.setattr(backbones, 'load_backbone', lambda name, weights: fake)
  monkeypatch.setattr(scores, 'Classifier', FakeClassifier)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return fake


@pytest.fixture
def builder(workdir):
  return preparation.prepare(work_directory.load_config(workdir).data)


def test_everything_is_written_and_comes_out_the_same_again(workdir, backbone, tmp_path):
  results = evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  assert json.loads((tmp_path / 'evaluation.json').read_text()) == results
  assert (tmp_path / 'evaluation.md').read_text() == report.markdown(results)
  assert Image.open(tmp_path / 'evaluation.png').height > 9 * 128  # nine graphs
  assert results['protocol']['num_graphs'] == 9 and results['images']['drawn']['num_pictures'] == 18
  assert results['images']['real']['num_pictures'] == 6  # the train split has no more
  assert results['layout']['ground truth']['box_iou'] == pytest.approx(1)
  objects = results['objects']
  assert (
    objects['num_drawn']
    == 2 * objects['num_real']
    == 2 * results['layout']['predicted']['num_objects']
  )
  assert objects['drawn_to_real'] == 1.0
  assert evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path) == results
  assert (
    evaluate.evaluate(workdir, dataclasses.replace(PROTOCOL, seed=1), output_dir=tmp_path)
    != results
  )


def test_every_image_once_and_real_ones_only_the_first_time(workdir, backbone, builder, tmp_path):
  evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  drawn, real, other = backbone.seen
  assert len(drawn) == 18 and len(other) == 6
  expected = [
    scene.image for scene in prepared.SplitVisits(builder, 'val', 'mixed', 12, 24, 0).scenes()
  ]
  np.testing.assert_array_equal(real, expected)
  backbone.seen.clear()
  evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  assert [len(images) for images in backbone.seen] == [18]
  for path in (tmp_path / 'cache' / 'sg2im_jax' / 'real_images').iterdir():
    path.write_bytes(path.read_bytes()[:100])
  evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  assert [len(images) for images in backbone.seen] == [18, 18, 9, 6]


def test_chosen_images_are_drawn_as_when_all_are(workdir, backbone, builder, tmp_path):
  evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  of_all = backbone.seen[0].reshape(9, 2, *backbone.seen[0].shape[1:])
  ids = list(prepared.image_ids(builder, 'val'))
  chosen = dataclasses.replace(PROTOCOL, image_ids=tuple(ids[index] for index in (7, 2, 3, 5)))
  backbone.seen.clear()
  results = evaluate.evaluate(workdir, chosen, output_dir=tmp_path)
  difference = backbone.seen[0].reshape(4, 2, *of_all.shape[2:]).astype(int) - of_all[[2, 3, 5, 7]]
  assert np.abs(difference).max() <= 1
  assert results['protocol']['image_ids_sha256'] is not None


def test_ground_truth_layouts_and_sizes(workdir, backbone, tmp_path):
  evaluate.evaluate(workdir, PROTOCOL, output_dir=tmp_path)
  predicted = backbone.seen[0]
  backbone.seen.clear()
  given = dataclasses.replace(
    PROTOCOL, boxes='ground_truth', masks='ground_truth', image_size=(16, 48)
  )
  results = evaluate.evaluate(workdir, given, output_dir=tmp_path)
  assert {images.shape[1:] for images in backbone.seen} == {(16, 48, 3)}
  assert np.abs(backbone.seen[0].astype(int) - pictures.resized(predicted, (16, 48))).max() > 20
  assert 'drawn with ground-truth boxes and masks' in report.markdown(results)
  assert 'at 16 x 48 pixels' in report.markdown(results)


def test_layout_alone_needs_no_backbone(workdir, monkeypatch, tmp_path):
  monkeypatch.setattr(backbones, 'load_backbone', lambda *_: pytest.fail('a backbone is loaded'))
  results = evaluate.evaluate(workdir, PROTOCOL, backbone='none', output_dir=tmp_path)
  assert 'images' not in results and '## Images' not in report.markdown(results)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'num_graphs': 3}, '3 graphs of split val to evaluate, expected at least 4'),
    ({'num_splits': 10}, '9 graphs of split val to evaluate, expected at least 10'),
    ({'image_ids': ('1', '2')}, '2 of 2 image ids are not in split val'),
    ({'split': 'tset'}, "no split 'tset'"),
  ],
)
def test_mistakes(workdir, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    evaluate.evaluate(
      workdir, dataclasses.replace(PROTOCOL, **changes), backbone='none', output_dir=tmp_path
    )
  assert not list(tmp_path.iterdir())


def test_lists_of_ids(tmp_path):
  path = tmp_path / 'ids.txt'
  path.write_text('7\n000012\n')
  assert evaluate.load_image_ids(path) == ('7', '000012')
  path.write_text('\n')
  with pytest.raises(UserError, match='is empty'):
    evaluate.load_image_ids(path)
  with pytest.raises(UserError, match='cannot be read'):
    evaluate.load_image_ids(tmp_path / 'none.txt')

"""From a model to the files of its evaluation, with a backbone that is made up and quick."""

import json

import numpy as np
import pytest
from PIL import Image

from data_pipelines import preparation
from data_pipelines.configs import debug
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.storybook import builder as storybook
from sg2im_jax.evaluation import backbones, classification, pictures, report
from sg2im_jax.evaluation.backbones import Activations, Backbone
from sg2im_jax.evaluation.classification import Classifier
from sg2im_jax.evaluation.evaluation import evaluate
from sg2im_jax.evaluation.protocol import Protocol, load_image_ids
from sg2im_jax.sampling.trained_model import TrainedModel
from tests.training_runs import write_untrained

pytestmark = pytest.mark.slow

PROTOCOL = Protocol(samples_per_graph=2, num_splits=2, scene_crops=0)


class FakeBackbone(Backbone):
  """Features are the colours of 2 x 2 parts; class probabilities the mean colour."""

  name, weights, sha256, resize, num_features = 'fake', 'fake.pth', '0' * 64, 'not at all', 12
  input_size = 16

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


class FakeClassifier(Classifier):
  """Is right about every object that it has learned the class of."""

  def __init__(self, crops, num_classes, seed):
    assert 0 <= crops.object_class.min() and crops.object_class.max() < num_classes
    self._known, self.num_learned = crops.object_class, len(crops)

  def accuracy(self, crops):
    return float(np.isin(crops.object_class, self._known).mean())


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A work directory with an untrained model."""
  config = debug.get_config()
  config.data.data_dir = str(tmp_path_factory.mktemp('data'))
  config.data.options.num_train, config.data.options.num_val = 6, 9
  config.model.gconv_num_layers, config.model.refinement_dims = 1, (8,)
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  return write_untrained(tmp_path_factory.mktemp('run'), config, storybook.VOCABULARY)


@pytest.fixture(scope='module')
def model(workdir):
  """That model, whose programs are compiled once for all tests."""
  return TrainedModel.load(workdir)


@pytest.fixture
def backbone(monkeypatch, tmp_path):
  fake = FakeBackbone()
  monkeypatch.setattr(backbones, 'load_backbone', lambda name, weights: fake)
  monkeypatch.setattr(classification, 'Classifier', FakeClassifier)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return fake


@pytest.fixture(scope='module')
def builder(model):
  return preparation.prepare(model.settings.data)


@pytest.mark.exhaustive
def test_everything_is_written_and_comes_out_the_same_again(workdir, model, backbone, tmp_path):
  results = evaluate(workdir, PROTOCOL, output_dir=tmp_path)
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

  again = evaluate(model, PROTOCOL)
  assert results['model'] == {**again['model'], 'workdir': str(workdir)}
  assert again == {**results, 'model': again['model']}
  assert evaluate(model, PROTOCOL.replace(seed=1)) != again


def test_every_image_once_and_real_ones_only_the_first_time(model, backbone, builder, tmp_path):
  evaluate(model, PROTOCOL)
  sampled, perturbed, real, other = backbone.seen
  assert len(sampled) == 18 and len(perturbed) == 9 and len(other) == 6
  visits = prepared.SplitVisits(builder, 'val', 'mixed', 12, 24, 0)
  np.testing.assert_array_equal(real, [scene.image for scene in visits.scenes()])
  backbone.seen.clear()
  evaluate(model, PROTOCOL)
  assert [len(images) for images in backbone.seen] == [18, 9]
  for path in (tmp_path / 'cache' / 'sg2im_jax' / 'real_images').iterdir():
    path.write_bytes(path.read_bytes()[:100])
  evaluate(model, PROTOCOL)
  assert [len(images) for images in backbone.seen] == [18, 9, 18, 9, 9, 6]


def test_crops_of_objects_of_each_graph(model, backbone, builder):
  asked = PROTOCOL.replace(scene_crops=2, num_graphs=6)
  results = evaluate(model, asked)
  crops = [images for images in backbone.seen if images.shape[1:] == (16, 16, 3)]
  visits = prepared.SplitVisits(builder, 'val', 'mixed', 12, 24, 0)
  counts = [min(len(scene.boxes), 2) for scene in visits.scenes()]
  others = prepared.SplitVisits(builder, 'train', 'mixed', 12, 24, 0)
  expected = 2 * sum(counts[:6]) + sum(min(len(scene.boxes), 2) for scene in others.scenes())
  assert sum(map(len, crops)) == expected
  assert results['images']['drawn']['scene_fid'] > 0 < results['images']['real']['scene_fid']
  assert results['images']['perturbed']['scene_fid'] is None
  backbone.seen.clear()
  assert evaluate(model, asked)['images'] == results['images']  # real ones from the cache
  assert sum(len(images) for images in backbone.seen if images.shape[1] == 16) == sum(counts[:6])
  given = asked.replace(seed=1)
  assert evaluate(model, given)['images']['real']['scene_fid'] != pytest.approx(
    results['images']['real']['scene_fid']
  )


def test_several_splits(model):
  together = evaluate(model, PROTOCOL.replace(split='val+train'), backbone='none')
  assert together['protocol']['num_graphs'] == 9 + 6
  num_objects = [
    evaluate(model, PROTOCOL.replace(split=split), backbone='none')['layout']['predicted'][
      'num_objects'
    ]
    for split in ('val', 'train')
  ]
  assert together['layout']['predicted']['num_objects'] == sum(num_objects)


@pytest.mark.exhaustive
def test_chosen_images_are_sampled_as_when_all_are(model, backbone, builder):
  evaluate(model, PROTOCOL)
  of_all = backbone.seen[0].reshape(9, 2, *backbone.seen[0].shape[1:])
  ids = list(prepared.image_ids(builder, 'val'))
  chosen = PROTOCOL.replace(image_ids=tuple(ids[index] for index in (7, 2, 3, 5)))
  backbone.seen.clear()
  results = evaluate(model, chosen)
  difference = backbone.seen[0].reshape(4, 2, *of_all.shape[2:]).astype(int) - of_all[[2, 3, 5, 7]]
  assert np.abs(difference).max() <= 1
  assert results['protocol']['image_ids_sha256'] is not None


def test_ground_truth_layouts_and_sizes(model, backbone):
  evaluate(model, PROTOCOL)
  predicted = backbone.seen[0]
  backbone.seen.clear()
  given = PROTOCOL.replace(boxes='ground_truth', masks='ground_truth', image_size=(16, 48))
  results = evaluate(model, given)
  assert {images.shape[1:] for images in backbone.seen} == {(16, 48, 3)}
  assert np.abs(backbone.seen[0].astype(int) - pictures.resized(predicted, (16, 48))).max() > 20
  assert 'sampled with ground-truth boxes and masks' in report.markdown(results)
  assert 'at 16 x 48 pixels' in report.markdown(results)


def test_layout_alone_needs_no_backbone(model, monkeypatch):
  monkeypatch.setattr(backbones, 'load_backbone', lambda *_: pytest.fail('a backbone is loaded'))
  results = evaluate(model, PROTOCOL, backbone='none')
  assert 'images' not in results and '## Images' not in report.markdown(results)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'num_graphs': 3}, '3 graphs of split val to evaluate, expected at least 4'),
    ({'num_splits': 10}, '9 graphs of split val to evaluate, expected at least 10'),
    ({'image_ids': ('1', '2')}, '2 of 2 image ids are not in split val'),
    ({'split': 'tset'}, "no split 'tset'"),
    ({'split': 'val+tset'}, "no split 'tset'"),
    ({'name': 'lostgan'}, 'this model is of storybook'),
  ],
)
def test_mistakes(model, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    evaluate(model, PROTOCOL.replace(**changes), backbone='none', output_dir=tmp_path)
  assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_written(model, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='output_dir is .*file, which cannot be written'):
    evaluate(model, PROTOCOL, backbone='none', output_dir=tmp_path / 'file')


def test_lists_of_ids(tmp_path):
  path = tmp_path / 'ids.txt'
  path.write_text('7\n000012\n')
  assert load_image_ids(path) == ('7', '000012')
  path.write_text('\n')
  with pytest.raises(UserError, match='is empty'):
    load_image_ids(path)
  with pytest.raises(UserError, match='cannot be read'):
    load_image_ids(tmp_path / 'none.txt')

"""What validation scores, on a few storybook scenes and an untrained model."""

import jax
import numpy as np
import pytest

from data_pipelines import preparation
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.storybook import builder as storybook
from sg2im_jax.evaluation import backbones
from sg2im_jax.evaluation.backbones import Activations
from sg2im_jax.metrics import image_metrics
from sg2im_jax.runtime import sharding
from sg2im_jax.settings import Settings
from sg2im_jax.training import validation
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.validation import Validation
from tests.training_runs import small_config

pytestmark = pytest.mark.slow


class MeanColour:
  """A backbone whose features are mean colours; it keeps what it has seen."""

  def __init__(self):
    self.seen = []

  def __call__(self, images):
    self.seen.append(images)
    return Activations(images.mean((1, 2)), None)


@pytest.fixture
def config(directory):
  config = small_config(directory).unlock()
  config.batch_size, config.num_eval_examples = 3, 7  # the last batch is not full
  return config


@pytest.fixture(scope='module')
def generator(directory):
  training = AdversarialTraining.build(
    Settings.from_config(small_config(directory)), storybook.VOCABULARY
  )
  return jax.jit(lambda: training.init().sampling_variables())()


def make_validation(config):
  settings = Settings.from_config(config)
  training = AdversarialTraining.build(settings, storybook.VOCABULARY)
  builder = preparation.prepare(settings.data)
  return Validation(training, storybook.VOCABULARY, builder, sharding.make_mesh())


def test_losses_and_layouts(config, generator):
  scores = make_validation(config).scores(generator)
  assert set(scores) == {
    'l1_pixel',
    'bbox',
    'predicate',
    'mask',
    'box_iou',
    'recall_at_0.3',
    'recall_at_0.5',
    'sigma_x',
    'sigma_area',
    'relation_accuracy',
    'sg_iou',
    'relation_iou',
  }
  assert all(np.isfinite(list(scores.values())))


def test_without_relations_none_are_kept(config, generator):
  config.data.relations = 'none'
  assert np.isnan(make_validation(config).scores(generator)['relation_accuracy'])


def test_kid_is_of_every_scene_and_real_ones_are_seen_once(config, generator, monkeypatch):
  backbone = MeanColour()
  monkeypatch.setattr(backbones, 'load_backbone', lambda name: backbone)
  config.eval_backbone = 'efficientnet-lite0'
  validated = make_validation(config)
  first = validated.scores(generator)
  sampled, real = (np.concatenate(backbone.seen[start::2]) for start in (0, 1))
  assert len(sampled) == len(real) == 7
  expected, _ = image_metrics.kernel_distance(sampled.mean((1, 2)), real.mean((1, 2)))
  assert first['kid'] == pytest.approx(expected, rel=1e-5)
  backbone.seen.clear()
  assert validated.scores(generator) == first
  assert [len(images) for images in backbone.seen] == [3, 3, 1]


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'best_metric': 'iou'}, "best_metric is 'iou', expected one of box_iou, recall_at_0.3"),
    ({'best_metric': 'kid'}, 'needs an eval_backbone, such as efficientnet-lite0'),
    ({'best_metric': 'mask', 'model.mask_size': 0}, 'predicts no masks'),
  ],
)
def test_a_metric_that_there_will_not_be(config, settings, message):
  config.update_from_flattened_dict(settings)
  with pytest.raises(SettingsError, match=message):
    Settings.from_config(config)


def test_too_few_scenes_for_kid(config):
  config.eval_backbone, config.num_eval_examples = 'efficientnet-lite0', 3
  with pytest.raises(UserError, match='3 scenes to validate on, expected at least 4 for KID'):
    make_validation(config)


def test_means_weigh_by_count():
  batches = [{'a': (np.float32(3), 2), 'b': (0.0, 0)}, {'a': (np.float32(1), 6), 'b': (0.0, 0)}]
  expected = pytest.approx({'a': 0.5, 'b': float('nan')}, nan_ok=True)
  assert validation._means(batches) == expected

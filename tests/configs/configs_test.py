"""The full-size configs are the published models."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines.storybook import VOCABULARY as STORYBOOK
from data_pipelines.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.train_state import create_train_state
from sg2im_jax.train_step import make_train_step

COCO = Vocabulary(('__image__', *(f'class {i}' for i in range(1, 184))), COCO_PREDICATES)
VISUAL_GENOME = Vocabulary(('__image__', *(f'class {i}' for i in range(1, 179))),
                           ('__in_image__', *(f'predicate {i}' for i in range(1, 46))))


def config_named(name: str) -> ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config()


def num_parameters(network) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(network.params))


@pytest.mark.parametrize('name, vocabulary, size', [
    ('coco64', COCO, (64, 64)), ('coco128', COCO, (128, 128)),
    ('vg64', VISUAL_GENOME, (64, 64)), ('vg128', VISUAL_GENOME, (128, 128))])
def test_full_size_models_initialise(name, vocabulary, size):
  config = config_named(name)
  assert config.data.image_size == size
  state = jax.jit(lambda: create_train_state(config, vocabulary))()
  if vocabulary is COCO:
    assert num_parameters(state.generator) == pytest.approx(28.16e6, abs=5e3)
    assert num_parameters(state.object_discriminator) == pytest.approx(1.11e6, abs=5e3)
    assert num_parameters(state.image_discriminator) == pytest.approx(0.66e6, abs=5e3)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.generator.params))
  kernel = state.generator.params['refinement']['module_0']['conv_0']['kernel']
  assert float(jnp.std(kernel)) == pytest.approx(np.sqrt(2 / (9 * (128 + 32 + 1))), rel=0.02)


@pytest.mark.parametrize('name', ['coco64', 'coco128', 'vg64', 'vg128', 'storybook', 'debug'])
def test_every_config_has_the_keys_of_the_base_and_no_others(name):
  def keys(config, prefix=''):
    for key, value in config.items():
      if isinstance(value, ConfigDict) and key != 'options':  # the options are those of the data set
        yield from keys(value, f'{prefix}{key}.')
      else:
        yield f'{prefix}{key}'

  assert set(keys(config_named(name))) == set(keys(config_named('coco64')))


def test_published_hyper_parameters():
  config = config_named('coco64')
  assert (config.batch_size, config.num_steps, config.freeze_batch_norm_after) == (32, 1_000_000, 100_000)
  assert config.optimizer.to_dict() == {'learning_rate': 1e-4, 'schedule': 'constant', 'b1': 0.9, 'b2': 0.999,
                                        'eps': 1e-8}
  assert config.losses.to_dict() == {
      'gan_type': 'gan', 'l1_pixel_weight': 1.0, 'bbox_weight': 10.0, 'mask_weight': 0.1, 'predicate_weight': 0.0,
      'gan_weight': 0.01, 'image_gan_weight': 1.0, 'object_gan_weight': 1.0, 'auxiliary_class_weight': 0.1}
  assert config_named('vg64').losses.mask_weight == 0


def test_the_storybook_config_fits_its_vocabulary():
  assert make_train_step(config_named('storybook'), STORYBOOK)

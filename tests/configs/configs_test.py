"""The full-size configs are the published models."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines.configs import ablations, of_workdir
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from data_pipelines.storybook.builder import VOCABULARY as STORYBOOK
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.storage import work_directory
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.build import build_training

COCO = Vocabulary(('__image__', *(f'class {i}' for i in range(1, 184))), COCO_PREDICATES)
VISUAL_GENOME = Vocabulary(
  ('__image__', *(f'class {i}' for i in range(1, 179))),
  ('__in_image__', *(f'predicate {i}' for i in range(1, 46))),
)


def config_named(name: str) -> ConfigDict:
  return importlib.import_module(f'data_pipelines.configs.{name}').get_config()


def settings_named(name: str) -> Settings:
  return Settings.from_config(config_named(name))


def num_parameters(network) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(network.params))


def training_named(name: str, vocabulary: Vocabulary) -> AdversarialTraining:
  return AdversarialTraining.build(settings_named(name), vocabulary)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize('name, vocabulary', [('coco64', COCO), ('vg64', VISUAL_GENOME)])
def test_full_size_models_initialise(name, vocabulary):
  training = training_named(name, vocabulary)
  assert training.settings.data.image_size == (64, 64)
  state = jax.jit(training.init)()
  if vocabulary is COCO:
    assert num_parameters(state.generator) == pytest.approx(28.16e6, abs=5e3)
    assert num_parameters(state.object_discriminator) == pytest.approx(1.11e6, abs=5e3)
    assert num_parameters(state.image_discriminator) == pytest.approx(0.66e6, abs=5e3)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.generator.params))
  kernel = state.generator.params['refinement']['module_0']['conv_0']['kernel']
  assert float(jnp.std(kernel)) == pytest.approx(np.sqrt(2 / (9 * (128 + 32 + 1))), rel=0.02)


@pytest.mark.parametrize(
  'name, smaller, vocabulary', [('coco128', 'coco64', COCO), ('vg128', 'vg64', VISUAL_GENOME)]
)
def test_models_of_larger_images_initialise_alike(name, smaller, vocabulary):
  training = training_named(name, vocabulary)
  assert training.settings.data.image_size == (128, 128)
  assert training.settings.seed == settings_named(smaller).seed
  # Initial values are a function of the seed, the names and these shapes alone.
  found, expected = (
    jax.eval_shape(one.init) for one in (training, training_named(smaller, vocabulary))
  )
  assert found == expected


def keys(config, prefix=''):
  for key, value in config.items():
    if isinstance(value, ConfigDict) and key != 'options':  # the options are those of the data set
      yield from keys(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'


@pytest.mark.parametrize(
  'name', ['coco64', 'coco128', 'vg64', 'vg128', 'storybook_published', 'debug']
)
def test_every_config_has_the_keys_of_the_base_and_no_others(name):
  assert set(keys(config_named(name))) == set(keys(config_named('coco64')))


TOKEN_MODELS = {
  'coco64_tokens': COCO,
  'coco128_tokens': COCO,
  'vg64_tokens': VISUAL_GENOME,
  'vg128_tokens': VISUAL_GENOME,
  'storybook': STORYBOOK,
  'storybook_long': STORYBOOK,
}


@pytest.mark.parametrize(
  'name, vocabulary',
  [
    pytest.param(*model, marks=() if model[0] == 'coco64_tokens' else pytest.mark.exhaustive)
    for model in TOKEN_MODELS.items()
  ],
)
def test_token_models_initialise_and_step(name, vocabulary):
  assert set(keys(config_named(name))) == set(keys(config_named('coco64_tokens')))
  settings = settings_named(name)
  training = build_training(settings, vocabulary)
  state = jax.eval_shape(training.init)
  stepped, metrics = jax.eval_shape(
    training.train_step, state, scenes(settings), jax.eval_shape(lambda: jax.random.key(0))
  )
  assert stepped == state and 'prior/flow_matching' in metrics
  if name == 'coco64_tokens':
    assert num_parameters(state.painter) == pytest.approx(33.57e6, abs=5e3)
    assert num_parameters(state.prior) == pytest.approx(12.81e6, abs=5e3)
    assert num_parameters(state.discriminator) == pytest.approx(1.13e6, abs=5e3)


@pytest.mark.parametrize('row', ablations.ROWS)
@pytest.mark.parametrize('prefix, base', [('', 'coco64'), ('vg64_', 'vg64')])
def test_ablations_change_what_they_name(prefix, base, row):
  full = {
    'no_gconv': {'model.gconv_num_layers': (5, 0)},
    'no_relationships': {'data.relations': ('geometric', 'none')},
    'no_discriminators': {
      'image_discriminator.enabled': (True, False),
      'object_discriminator.enabled': (True, False),
    },
    'no_object_discriminator': {'object_discriminator.enabled': (True, False)},
    'no_image_discriminator': {'image_discriminator.enabled': (True, False)},
    'full': {},
    'gt_layout': {'losses.bbox_weight': (10.0, 0.0), 'losses.mask_weight': (0.1, 0.0)},
    'gt_layout_no_gconv': {
      'losses.bbox_weight': (10.0, 0.0),
      'losses.mask_weight': (0.1, 0.0),
      'model.gconv_num_layers': (5, 0),
    },
  }[row]
  if base == 'vg64':  # has no masks to learn from, and stored relations
    full.pop('losses.mask_weight', None)
    full = {
      name: ('stored', 'none') if name == 'data.relations' else values
      for name, values in full.items()
    }
  settings = Settings.from_config(ablations.get_config(prefix + row))
  assert work_directory.changed_settings(settings_named(base), settings) == full


@pytest.mark.parametrize('row', ablations.ROWS)
def test_ablations_build_their_training_step(row):
  settings = Settings.from_config(ablations.get_config(row))
  training = AdversarialTraining.build(settings, COCO)
  state = jax.eval_shape(training.init)
  assert (state.object_discriminator is None) == (
    row in ('no_discriminators', 'no_object_discriminator')
  )
  assert (state.image_discriminator is None) == (
    row in ('no_discriminators', 'no_image_discriminator')
  )
  batch = jax.eval_shape(lambda: scenes(settings))
  _, metrics = jax.eval_shape(training.train_step, state, batch, jax.random.key(0))
  assert ('generator/object_gan' in metrics) == (state.object_discriminator is not None)
  assert ('generator/image_gan' in metrics) == (state.image_discriminator is not None)


def scenes(settings: Settings) -> SceneBatch:
  """Two padded scenes as the settings have them."""
  data = settings.data
  slots, size = data.max_objects, data.mask_size
  return SceneBatch(
    object_class=jnp.zeros((2, slots), jnp.int32),
    object_mask=jnp.ones((2, slots), bool),
    triples=jnp.zeros((2, data.max_triples, 3), jnp.int32),
    triple_mask=jnp.ones((2, data.max_triples), bool),
    boxes=jnp.zeros((2, slots, 4)),
    masks=None if size is None else jnp.ones((2, slots, size, size), jnp.uint8),
    image=jnp.zeros((2, *data.image_size, 3), jnp.uint8),
  )


@pytest.mark.parametrize('name', ['', 'no_gcon', 'vg64_', 'coco64_no_gconv'])
def test_unknown_rows_of_the_table(name):
  with pytest.raises(ValueError, match='name one of no_gconv, no_relationships, '):
    ablations.get_config(name)


def test_the_config_of_a_work_directory(tmp_path):
  settings = settings_named('debug')
  work_directory.save(tmp_path, settings, STORYBOOK)
  config = of_workdir.get_config(str(tmp_path))
  assert config.to_dict() == config_named('debug').to_dict()
  assert Settings.from_config(config) == settings


def test_keys_that_a_work_directory_lacks_are_backward_compatible():
  values = json.loads(config_named('debug').to_json_best_effort())
  del values['sampling'], values['optimizer']['schedule'], values['data']['flip']
  config = of_workdir.from_json(values)
  assert config.to_dict() == config_named('debug').to_dict()
  assert config.is_locked
  del values['data']['options']['scene_seed']  # has no default: each data set has its own options
  assert 'scene_seed' not in of_workdir.from_json(values).data.options


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    (
      None,
      'is not a work directory: it has no config.json; train first: python -m sg2im_jax.train',
    ),
    ('{', 'config.json is not JSON: .*; restore it, or train into another work directory'),
    ('[1]', 'config.json holds a list; expected a JSON object'),
  ],
)
def test_work_directories_that_cannot_be_read(tmp_path, text, expected):
  if text is not None:
    (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match=expected):
    of_workdir.get_config(str(tmp_path))


def test_a_config_file_that_cannot_be_opened(tmp_path):
  (tmp_path / 'config.json').mkdir()
  with pytest.raises(ValueError, match='cannot read .*config.json: Is a directory'):
    of_workdir.get_config(str(tmp_path))


def test_published_hyper_parameters():
  config = config_named('coco64')
  assert (config.batch_size, config.num_steps, config.freeze_batch_norm_after) == (
    32,
    1_000_000,
    100_000,
  )
  assert config.optimizer.to_dict() == {
    'learning_rate': 1e-4,
    'schedule': 'constant',
    'b1': 0.9,
    'b2': 0.999,
    'eps': 1e-8,
  }
  assert config.losses.to_dict() == {
    'gan_type': 'gan',
    'l1_pixel_weight': 1.0,
    'bbox_weight': 10.0,
    'mask_weight': 0.1,
    'predicate_weight': 0.0,
    'gan_weight': 0.01,
    'image_gan_weight': 1.0,
    'object_gan_weight': 1.0,
    'auxiliary_class_weight': 0.1,
    # Of token models.
    'composite_weight': 0.0,
    'l1_gradient_weight': 0.0,
    'divergence_weight': 0.0,
    'feature_matching_weight': 0.0,
  }
  assert config_named('vg64').losses.mask_weight == 0


def test_the_storybook_config_fits_its_vocabulary():
  assert AdversarialTraining.build(settings_named('storybook_published'), STORYBOOK)

"""The table of names against the module tree."""

import jax
import pytest

from data_pipelines.configs import ablations, coco64, debug, storybook_published, vg64
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.published import array_table
from sg2im_jax.published import checkpoint as published_checkpoint
from sg2im_jax.settings import Settings
from sg2im_jax.training.adversarial import AdversarialTraining
from tests.published_files import RECORDINGS, checkpoint_path

VOCABULARY = Vocabulary(('__image__', 'sky', 'sheep'), COCO_PREDICATES)


def with_changes(**changes):
  config = coco64.get_config()
  config.update_from_flattened_dict(changes)
  return config


CONFIGS = {
  'coco64': coco64.get_config(),
  'vg64': vg64.get_config(),
  'storybook': storybook_published.get_config(),
  'debug': debug.get_config(),
  'no_gconv': ablations.get_config('no_gconv'),
  'no_discriminators': ablations.get_config('no_discriminators'),
  'classifier': with_changes(**{'image_discriminator.classifier': True}),
  'many tokens': with_changes(
    **{
      'object_discriminator.arch': 'R,C3-8-2,R,U2,P2,FC-2048-8,FC-8-4',
      'object_discriminator.padding': 'same',
      'image_discriminator.arch': 'I3,C3-8,R,P2,C5-4-2',
      'image_discriminator.padding': 'same',
      'image_discriminator.normalization': 'instance',
    }
  ),
}


def paths(tree):
  return {
    tuple(key.key for key in path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
  }


def check_table(settings, vocabulary):
  state = jax.eval_shape(AdversarialTraining.build(settings, vocabulary).init)
  tables = array_table.tables(settings)
  for name in ('generator', 'image_discriminator', 'object_discriminator'):
    network = getattr(state, name)
    assert (network is None) == (name not in tables)
    if network is not None:
      arrays = list(array_table.arrays_of(tables[name]))
      assert sorted((array.collection, *array.path) for array in arrays) == sorted(
        paths(network.variables)
      )
      assert len({array.published for array in arrays}) == len(arrays)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_array_of_a_network_is_in_its_table_once(name):
  check_table(Settings.from_config(CONFIGS[name]), VOCABULARY)


@pytest.mark.parametrize('recording', RECORDINGS)
def test_every_array_of_a_recorded_model_is_in_its_table_once(recording, tmp_path):
  published = published_checkpoint.read(checkpoint_path(recording, tmp_path))
  check_table(published.settings, published.vocabulary)


def test_published_names_of_the_full_model():
  settings = Settings.from_config(CONFIGS['coco64'])
  rows = {row.here: (row.published, row.kind) for row in array_table.generator_table(settings)}
  assert rows['graph_convolution_0/triple_mlp/dense_1'] == ('gconv.net1.2', 'linear')
  assert rows['graph_convolution_4/object_mlp/dense_0'] == ('gconv_net.gconvs.3.net2.0', 'linear')
  assert rows['mask_head/norm_3'] == ('mask_net.13', 'norm')
  assert rows['mask_head/logits'] == ('mask_net.16', 'conv')
  assert rows['refinement/module_4/norm_1'] == ('refinement_net.refinement_modules.4.net.4', 'norm')
  assert rows['refinement/rgb'] == ('refinement_net.output_conv.2', 'conv')
  rows = {row.here: row.published for row in array_table.object_discriminator_table(settings)}
  assert rows['cnn/norm_2'] == 'discriminator.cnn.0.4'
  assert rows['score'] == 'discriminator.real_classifier'

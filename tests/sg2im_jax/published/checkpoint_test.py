"""Reading what the published code saves, and refusing what it does not."""

import collections
import copy
import os
import pickle
import sys

import hypothesis
import jax
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.published import array_table
from sg2im_jax.published import checkpoint as published_checkpoint
from tests.mutations import SEARCH, draw_changed
from tests.published_files import (
  GOLDEN,
  PUBLISHED_FILES,
  RECORDINGS,
  checkpoint_of,
  checkpoint_path,
  to_published,
)

pytestmark = pytest.mark.slow

STATES = {
  'generator': 'model_state',
  'image_discriminator': 'd_img_state',
  'object_discriminator': 'd_obj_state',
}


def read(checkpoint, tmp_path, **options):
  path = tmp_path / 'checkpoint.pt'
  torch.save(checkpoint, path, **options)
  return published_checkpoint.read(path)


def assert_equal(first, second):
  assert jax.tree.structure(first) == jax.tree.structure(second)
  jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize('recording', RECORDINGS)
def test_import_export_import_is_the_identity(recording, tmp_path):
  path = checkpoint_path(recording, tmp_path)
  published = published_checkpoint.read(path)
  original = checkpoint_of(recording)
  exported = copy.copy(original)
  for network, table in array_table.tables(published.settings).items():
    state = to_published(published.variables[network], table)
    exported[STATES[network]] = state
    left_out = original[STATES[network]].keys() - state.keys()
    assert all(
      name.endswith('num_batches_tracked') or name.startswith('classifier.') for name in left_out
    )
    assert state.keys() <= original[STATES[network]].keys()
    for name, array in state.items():
      assert torch.equal(array, original[STATES[network]][name]), name
  again = read(exported, tmp_path)
  assert_equal(again.variables, published.variables)
  assert again.vocabulary == published.vocabulary
  assert again.settings.model == published.settings.model


@pytest.mark.parametrize('recording', PUBLISHED_FILES)
def test_the_settings_are_those_of_the_checkpoint(recording):
  published = published_checkpoint.read(GOLDEN / f'{recording}.pt')
  kwargs = checkpoint_of(recording)['model_kwargs']
  settings = published.settings
  assert settings.data.image_size == kwargs.pop('image_size')
  vocabulary = kwargs.pop('vocab')
  assert {name: getattr(settings.model, name) for name in kwargs} == kwargs
  assert published.vocabulary.object_names == tuple(vocabulary['object_idx_to_name'])
  assert published.step == (0 if recording == 'vg' else 7)  # that one is stripped
  assert (
    settings.model.align_corners and settings.sampling.stretch and settings.model.initial_box == 0
  )


def test_what_is_left_out_is_said():
  notes = published_checkpoint.read(GOLDEN / 'vg.pt').notes
  assert any('retired arguments are ignored: vec_noise_dim=0' in note for note in notes)
  assert any('classifier, which the published code never applies' in note for note in notes)
  assert any('steps count from 0' in note for note in notes)


def test_histories_and_prefixes_and_the_older_format(tmp_path):
  plain = checkpoint_of('first_residual')
  histories = collections.defaultdict(
    list, total_loss=[3.0, np.float64(2.5)], other=[np.float32(1)]
  )
  full = {
    **plain,
    'losses': histories,
    'val_losses': collections.defaultdict(list),
    'val_iou': [np.float64(0.5)],
    'best_t': [],
    'val_samples': [{'gt_img': torch.zeros(1, 3, 2, 2, dtype=torch.uint8)}],
    'model_best_state': None,
    'losses_ts': [np.int64(10)],
  }
  for name in STATES.values():
    full[name] = collections.OrderedDict(
      (f'module.{key}', value) for key, value in plain[name].items()
    )
  for options in ({}, {'_use_new_zipfile_serialization': False}):
    assert_equal(read(full, tmp_path, **options).variables, read(plain, tmp_path).variables)


def test_training_arguments_become_settings(tmp_path):
  checkpoint = checkpoint_of('first_residual')
  checkpoint['args'] = {
    'dataset': 'vg',
    'batch_size': 16,
    'num_iterations': 500_000,
    'learning_rate': 2e-4,
    'eval_mode_after': -1,
    'gan_loss_type': 'wgan',
    'mask_loss_weight': 0,
    'l1_pixel_loss_weight': 2.0,
    'bbox_pred_loss_weight': 10,
    'predicate_pred_loss_weight': 0.5,
    'discriminator_loss_weight': 0.02,
    'd_obj_weight': 0.5,
    'd_img_weight': 0.25,
    'ac_loss_weight': 0.2,
    'include_relationships': False,
    'd_clip': None,
    'output_dir': 'somewhere',
  }
  settings = read(checkpoint, tmp_path).settings
  assert (settings.data.name, settings.data.relations) == ('visual_genome', 'none')
  assert (settings.batch_size, settings.num_steps, settings.optimizer.learning_rate) == (
    16,
    500_000,
    2e-4,
  )
  assert settings.freeze_batch_norm_after > 10**8  # never
  assert settings.losses.model_dump() == {
    'gan_type': 'wgan',
    'l1_pixel_weight': 2.0,
    'bbox_weight': 10.0,
    'mask_weight': 0.0,
    'predicate_weight': 0.5,
    'gan_weight': 0.02,
    'image_gan_weight': 0.25,
    'object_gan_weight': 0.5,
    'auxiliary_class_weight': 0.2,
    'composite_weight': 0.0,
    'l1_gradient_weight': 0.0,
    'divergence_weight': 0.0,
    'feature_matching_weight': 0.0,
  }
  checkpoint['args'] = {
    'dataset': 'coco',
    'min_object_size': 0.05,
    'min_objects_per_image': 2,
    'coco_include_other': True,
    'num_val_samples': 100,
    'stuff_whitelist': ['grass', 'sky'],
    'instance_whitelist': None,
  }
  data = read(checkpoint, tmp_path).settings.data
  assert (data.name, data.relations) == ('coco_stuff', 'geometric')
  assert (data.options.stuff_whitelist, data.options.instance_whitelist) == (('grass', 'sky'), ())
  assert (
    data.options.min_object_area,
    data.options.min_objects,
    data.options.include_other,
    data.options.num_val,
  ) == (0.05, 2, True, 100)
  checkpoint['args'] = {'dataset': 'coco', 'min_object_size': 0.02}  # older than the argument
  assert read(checkpoint, tmp_path).settings.data.options.include_other
  assert not read(checkpoint_of('first_residual'), tmp_path).settings.data.options.include_other


def test_arguments_that_a_checkpoint_leaves_out_are_the_published_defaults(tmp_path):
  checkpoint = checkpoint_of('coco')
  for name in ('gconv_pooling', 'mlp_normalization', 'normalization', 'gconv_num_layers'):
    del checkpoint['model_kwargs'][name]
  checkpoint['model_kwargs']['refinement_dims'] = [32, 16, 8]
  model = read(checkpoint, tmp_path).settings.model
  assert (model.gconv_pooling, model.mlp_normalization, model.normalization) == (
    'avg',
    'none',
    'batch',
  )
  assert model.gconv_num_layers == 5
  assert model.refinement_dims == (32, 16, 8)


def test_names_of_activations_are_taken_as_the_published_code_takes_them(tmp_path):
  checkpoint = checkpoint_of('coco')
  checkpoint['model_kwargs']['activation'] = 'ELU'
  checkpoint['d_img_kwargs']['activation'] = 'LeakyReLU-0.3'
  settings = read(checkpoint, tmp_path).settings
  assert settings.model.activation == 'leakyrelu'  # whatever is asked for, LeakyReLU is built
  assert settings.image_discriminator.activation == 'leakyrelu-0.3'


@pytest.mark.parametrize('kwargs, state', [({}, None), (None, None), ('absent', 'absent')])
def test_a_discriminator_may_be_missing(tmp_path, kwargs, state):
  checkpoint = checkpoint_of('coco')
  checkpoint['d_obj_kwargs'], checkpoint['d_obj_state'] = kwargs, state
  if kwargs == 'absent':
    del checkpoint['d_obj_kwargs'], checkpoint['d_obj_state']
  published = read(checkpoint, tmp_path)
  assert set(published.variables) == {'generator', 'image_discriminator'}
  assert (
    not published.settings.object_discriminator.enabled
    and published.settings.image_discriminator.enabled
  )
  assert any('there is no object discriminator' in note for note in published.notes)


class Hostile:
  """A pickle that leaves a file behind when it is loaded."""

  def __init__(self, marker, function=os.system):
    self.marker, self.function = marker, function

  def __reduce__(self):
    command = (
      f'touch {self.marker}' if self.function is os.system else f'open({str(self.marker)!r}, "w")'
    )
    return self.function, (command,)


@pytest.mark.parametrize('older_format', [False, True])
@pytest.mark.parametrize('function, name', [(os.system, '(posix|nt).system'), (eval, 'eval')])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, older_format, function, name):
  checkpoint = {
    **checkpoint_of('first_residual'),
    'args': {'batch_size': Hostile(tmp_path / 'marker', function)},
  }
  with pytest.raises(UserError, match=f'refused, for it names {name}, .* nothing of it was run'):
    read(checkpoint, tmp_path, _use_new_zipfile_serialization=not older_format)
  assert not (tmp_path / 'marker').exists()
  with pytest.raises(UserError):  # and without PyTorch's wrapping
    path = tmp_path / 'bare.pt'
    path.write_bytes(pickle.dumps(Hostile(tmp_path / 'marker', function), protocol=2))
    published_checkpoint.read(path)
  assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize('recording', ['coco', 'vg'])  # one in each format
@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, recording, share):
  whole = (GOLDEN / f'{recording}.pt').read_bytes()
  path = tmp_path / 'cut.pt'
  path.write_bytes(whole[: int(share * len(whole))])
  with pytest.raises(
    UserError, match=r'cut.pt: no whole PyTorch checkpoint .*download it again'
  ) as error:
    published_checkpoint.read(path)
  assert '\n' not in str(error.value)


def set_state(state, name, value):
  def change(checkpoint):
    if value is None:
      del checkpoint[state][name]
    else:
      checkpoint[state][name] = value

  return change


def set_key(section, key, value):
  def change(checkpoint):
    (checkpoint[section] if section else checkpoint)[key] = value

  return change


@pytest.mark.parametrize(
  'change, message',
  [
    (set_state('model_state', 'box_net.2.weight', None), 'model_state: missing box_net.2.weight$'),
    (
      set_state('d_obj_state', 'discriminator.cnn.0.1.running_var', None),
      'd_obj_state: missing discriminator.cnn.0.1.running_var$',
    ),
    (
      set_state('d_img_state', 'cnn.0.bias', torch.zeros(9)),
      r'd_img_state: cnn.0.bias is \(9,\), expected \(8,\)$',
    ),
    (
      set_state('model_state', 'gconv.net1.0.weight', torch.zeros(24, 35)),
      r'model_state: gconv.net1.0.weight is \(24, 35\), expected \(24, 36\)$',
    ),
    (
      set_state('model_state', 'box_net.9.weight', torch.zeros(2)),
      'model_state: unexpected box_net.9.weight$',
    ),
    (set_state('model_state', 'box_net.2.weight', 3), 'model_state: expected tensors by name'),
    (
      set_key('model_kwargs', 'embedding_dim', 13),
      r'obj_embeddings.weight is \(15, 12\), expected \(15, 13\)',
    ),
    (
      set_key('model_kwargs', 'mask_size', 12),
      'model.mask_size is 12, expected 0 or a power of two',
    ),
    (set_key('model_kwargs', 'image_size', (30, 32)), 'data.image_size is 30x32'),
    (
      set_key('model_kwargs', 'gconv_dim', 'wide'),
      r"""\["gconv_dim"\] is 'wide', expected something like 128""",
    ),
    (set_key('model_kwargs', 'gconv_dim', -1), 'model.gconv_dim is -1, expected 1 or more'),
    (
      set_key('model_kwargs', 'normalization', 'layer'),
      "model.normalization is 'layer', expected one of batch, instance, none",
    ),
    (
      set_key('d_img_kwargs', 'pooling', 'max'),
      'd_img_kwargs: pooling is "max"; only avg can be converted',
    ),
    (set_key('d_img_kwargs', 'arch', None), 'd_img_kwargs: has no "arch"'),
    (set_key('d_img_kwargs', 'arch', 'C4-8-2,X3'), "token 2 is 'X3'"),
    (set_key('args', 'batch_size', 'many'), r"""args\["batch_size"\] is 'many'"""),
    (
      set_key('model_kwargs', 'vocab', {'object_idx_to_name': ['sky']}),
      'vocabulary: "object_idx_to_name"',
    ),
    (set_key('model_kwargs', 'vocab', 3), 'has no vocabulary'),
    (set_key(None, 'counters', [7]), 'counters is of type list, expected values by name'),
    (
      set_key(None, 'model_state', None),
      'a training but no model; take the file "..._with_model.pt"',
    ),
    (set_key(None, 'model_kwargs', None), 'no checkpoint of the published code'),
  ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
  checkpoint = checkpoint_of('coco')
  change(checkpoint)
  with pytest.raises(UserError, match=message) as error:
    read(checkpoint, tmp_path)
  assert '\n' not in str(error.value)


@pytest.mark.exhaustive
@SEARCH
@hypothesis.given(data=st.data())
def test_one_changed_value_is_read_or_refused(tmp_path_factory, data):
  checkpoint, _ = draw_changed(data, checkpoint_of('coco'))
  path = tmp_path_factory.getbasetemp() / 'changed.pt'
  torch.save(checkpoint, path)
  try:
    found = published_checkpoint.read(path)
  except UserError as error:
    assert '\n' not in str(error) and len(str(error)) < 2000
  else:
    leaves = jax.tree.leaves(found.variables)
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_weights_that_are_not_finite_are_named(tmp_path):
  checkpoint = checkpoint_of('coco')
  for name in ('box_net.2.weight', 'box_net.0.bias'):
    checkpoint['model_state'][name].view(-1)[3] = float('nan')
  with pytest.raises(
    UserError, match=r'not finite, .*model_state: box_net.0.bias, model_state: box_net.2.weight\)'
  ):
    read(checkpoint, tmp_path)


def test_a_prefix_of_all_names_is_said_once(tmp_path):
  checkpoint = checkpoint_of('coco')
  state = checkpoint['model_state']
  checkpoint['model_state'] = {f'net.model.{name}': array for name, array in state.items()}
  with pytest.raises(UserError, match='model_state: all names begin with "net.model."') as error:
    read(checkpoint, tmp_path)
  assert len(str(error.value)) < 400


def test_at_most_five_names_are_listed(tmp_path):
  checkpoint = checkpoint_of('coco')
  checkpoint['model_state'] = dict(list(checkpoint['model_state'].items())[:-9])
  with pytest.raises(UserError, match=r'model_state: missing (\S+, ){4}\S+ and \d+ more'):
    read(checkpoint, tmp_path)


@pytest.mark.parametrize('value', [np.int64(5), np.float32(0.25), np.dtype('>i4').type(5)])
def test_arguments_may_be_numbers_of_numpy(tmp_path, value):
  checkpoint = checkpoint_of('coco')
  name = 'num_iterations' if value == 5 else 'l1_pixel_loss_weight'
  checkpoint['args'][name] = value
  settings = read(checkpoint, tmp_path).settings
  assert (settings.num_steps if value == 5 else settings.losses.l1_pixel_weight) == value


def test_several_faults_are_named_at_once(tmp_path):
  checkpoint = checkpoint_of('coco')
  del checkpoint['model_state']['box_net.0.weight'], checkpoint['model_state']['box_net.0.bias']
  checkpoint['d_img_state']['cnn.0.weight'] = torch.zeros(8, 3, 3, 3)
  with pytest.raises(
    UserError,
    match=r'model_state: missing box_net.0.weight, box_net.0.bias; '
    r'd_img_state: cnn.0.weight is \(8, 3, 3, 3\), expected \(8, 3, 4, 4\)',
  ):
    read(checkpoint, tmp_path)


@pytest.mark.parametrize('checkpoint', [torch.zeros(3), [1, 2], {'state_dict': {}}])
def test_other_checkpoints(tmp_path, checkpoint):
  with pytest.raises(UserError, match='no checkpoint of the published code'):
    read(checkpoint, tmp_path)


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'a Git LFS pointer, .* pull'),
    (b'\n<!DOCTYPE html><html></html>', 'a web page, not a checkpoint'),
  ],
)
def test_what_is_often_saved_in_place_of_a_checkpoint(tmp_path, content, expected):
  path = tmp_path / 'model.pt'
  path.write_bytes(content)
  with pytest.raises(UserError, match=expected):
    published_checkpoint.read(path)


def test_files_that_are_not_there(tmp_path):
  for path in (tmp_path / 'missing.pt', tmp_path):
    with pytest.raises(UserError, match='cannot be read .*expected a published checkpoint'):
      published_checkpoint.read(path)


def test_a_missing_torch_is_said(monkeypatch):
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(UserError, match=r"PyTorch is needed .* pip install -e '.\[convert\]'"):
    published_checkpoint.read(GOLDEN / 'vg.pt')

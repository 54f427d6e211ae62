"""Settings that make no networks: those of a value by its type, the rest by `models.faults`."""

import pytest

from data_pipelines.scene_graphs.errors import SettingsError
from sg2im_jax import models
from tests.small_scenes import tiny_settings, tiny_token_settings


def faults(values, settings=tiny_settings):
  """The faults that are found in the tiny settings with these values."""
  with pytest.raises(SettingsError) as raised:
    settings(values)
  return [fault.text(str) for fault in raised.value.faults]


def test_settings_without_faults():
  assert models.faults(tiny_settings()) == []


@pytest.mark.parametrize(
  'setting, value, problem',
  [
    ('dtype', 'float16', "is 'float16', expected one of float32, bfloat16"),
    ('data.image_size', (18, 16), 'is 18x16, expected multiples of 4 for 2 refinement modules'),
    ('model.refinement_dims', (), 'is empty, expected one refinement module or more'),
    ('model.mask_size', 12, 'is 12, expected 0 or a power of two'),
    ('model.mask_size', -4, 'is -4, expected 0 or more'),
    ('model.gconv_pooling', 'max', "is 'max', expected one of avg, sum"),
    ('model.mlp_normalization', 'instance', "is 'instance', expected one of none, batch"),
    ('model.normalization', 'layer', "is 'layer', expected one of batch, instance, none"),
    ('model.activation', 'gelu', "is 'gelu', expected relu, leakyrelu or leakyrelu-SLOPE"),
    ('image_discriminator.padding', 'full', "is 'full', expected one of valid, same"),
    ('image_discriminator.normalization', '', "is '', expected one of batch, instance, none"),
    ('object_discriminator.activation', 'x', "is 'x', expected relu, leakyrelu or leakyrelu-SLOPE"),
    ('object_discriminator.crop_size', 1, 'is 1, expected 2 or more'),
  ],
)
def test_one_fault(setting, value, problem):
  assert faults({setting: value}) == [f'{setting} {problem}']


def test_an_arch_is_checked_for_the_size_of_its_images():
  tiny_settings({'image_discriminator.arch': 'C4-4-2,C4-4-2,C2-4'})
  arch = 'C4-4-2,C4-4-2,C3-4'
  assert faults(
    {'image_discriminator.arch': arch, 'object_discriminator.arch': 'C4-4-2,C3-4,C2-4'}
  ) == [
    f'image_discriminator.arch is {arch!r}: token 3 has a kernel of 3x3, but gets a map of 2x2',
    "object_discriminator.arch is 'C4-4-2,C3-4,C2-4': token 3 has a kernel of 2x2, "
    'but gets a map of 1x1',
  ]


def test_a_classifier_needs_a_map():
  (fault,) = faults(
    {'image_discriminator.arch': 'FC-768-2', 'image_discriminator.classifier': True}
  )
  assert fault.startswith('image_discriminator.classifier is True')
  assert fault.endswith('set image_discriminator.classifier=False')


def test_all_faults_are_told_at_once():
  values = {'dtype': 'half', 'model.mask_size': 3, 'image_discriminator.arch': 'X'}
  assert len(faults(values)) == 3


def test_ablated_discriminators_are_not_checked():
  values = {'image_discriminator.arch': 'X', 'object_discriminator.arch': 'Y'}
  assert len(faults(values)) == 2
  tiny_settings(
    {**values, 'image_discriminator.enabled': False, 'object_discriminator.enabled': False}
  )


def test_settings_of_tokens_without_faults():
  assert models.faults(tiny_token_settings()) == []


@pytest.mark.parametrize(
  'setting, value, problem',
  [
    (
      'tokens.sprite_dims',
      (8, 8, 8),
      'has 3 numbers, but model.mask_size is 8; expected 2 numbers',
    ),
    ('tokens.sprite_dims', (), 'has 0 numbers, but model.mask_size is 8; expected 2 numbers'),
    (
      'tokens.crop_size',
      10,
      'is 10, expected a multiple of 4, which is halved for each of tokens.encoder_dims, one '
      'number or more',
    ),
    (
      'tokens.discriminator_dims',
      (4,) * 5,
      'has 5 numbers, each of which halves the image; expected 2 to 4',
    ),
    ('tokens.prior.features', 18, 'is 18, expected a multiple of 4'),
    ('tokens.prior.sampling_steps', 0, 'is 0, expected 1 or more'),
    ('tokens.painted_from_own_masks', 1.5, 'is 1.5, expected 1 or less'),
  ],
)
def test_one_fault_of_tokens(setting, value, problem):
  assert faults({setting: value}, tiny_token_settings) == [f'{setting} {problem}']


def test_masks_of_the_data_and_of_sprites_have_one_size():
  (fault,) = faults({'data.mask_size': 16}, tiny_token_settings)
  assert fault == (
    'model.mask_size is 8, but the masks of the data have data.mask_size=16; expected the same'
  )


def test_a_token_model_without_masks_has_no_sprites():
  assert faults({'model.mask_size': 0, 'data.mask_size': None}, tiny_token_settings) == [
    'tokens.sprite_dims has 2 numbers, but model.mask_size is 0; expected one number for 4, two '
    'for 8, three for 16'
  ]

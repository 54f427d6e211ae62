import pytest

from sg2im_jax import models
from tests.small_scenes import tiny_config


def faults(**values):
  config = tiny_config()
  config.update_from_flattened_dict(values)
  return [fault.text(lambda setting: setting) for fault in models.faults(config)]


def test_a_config_without_faults():
  assert faults() == []


@pytest.mark.parametrize(
  'setting, value, problem',
  [
    ('dtype', 'float16', "is 'float16', expected float32 or bfloat16"),
    ('data.image_size', (18, 16), 'is 18x16, expected multiples of 4 for 2 refinement modules'),
    ('model.refinement_dims', (), 'is empty, expected one refinement module or more'),
    ('model.mask_size', 12, 'is 12, expected 0 or a power of two'),
    ('model.mask_size', -4, 'is -4, expected 0 or a power of two'),
    ('model.gconv_pooling', 'max', "is 'max', expected avg or sum"),
    ('model.mlp_normalization', 'instance', "is 'instance', expected none or batch"),
    ('model.normalization', 'layer', "is 'layer', expected batch, instance or none"),
    ('model.activation', 'gelu', "is 'gelu', expected relu, leakyrelu or leakyrelu-SLOPE"),
    ('image_discriminator.padding', 'full', "is 'full', expected valid or same"),
    ('image_discriminator.normalization', '', "is '', expected batch, instance or none"),
    ('object_discriminator.activation', 'x', "is 'x', expected relu, leakyrelu or leakyrelu-SLOPE"),
    ('object_discriminator.crop_size', 1, 'is 1, expected 2 or more pixels'),
  ],
)
def test_one_fault(setting, value, problem):
  assert faults(**{setting: value}) == [f'{setting} {problem}']


def test_an_arch_is_checked_for_the_size_of_its_images():
  arch = 'C4-4-2,C4-4-2,C3-4'
  assert faults(**{'image_discriminator.arch': 'C4-4-2,C4-4-2,C2-4'}) == []
  assert faults(
    **{'image_discriminator.arch': arch, 'object_discriminator.arch': 'C4-4-2,C3-4,C2-4'}
  ) == [
    f'image_discriminator.arch is {arch!r}: token 3 has a kernel of 3x3, but gets a map of 2x2',
    "object_discriminator.arch is 'C4-4-2,C3-4,C2-4': token 3 has a kernel of 2x2, "
    'but gets a map of 1x1',
  ]


def test_a_classifier_needs_a_map():
  values = {'image_discriminator.arch': 'FC-768-2', 'image_discriminator.classifier': True}
  (fault,) = faults(**values)
  assert fault.startswith('image_discriminator.classifier is True')
  assert fault.endswith('set image_discriminator.classifier=False')


def test_all_faults_are_told_at_once():
  assert (
    len(faults(**{'dtype': 'half', 'model.mask_size': 3, 'image_discriminator.arch': 'X'})) == 3
  )


def test_ablated_discriminators_are_not_checked():
  values = {'image_discriminator.arch': 'X', 'object_discriminator.crop_size': 0}
  assert len(faults(**values)) == 2
  ablated = {'image_discriminator.enabled': False, 'object_discriminator.enabled': False}
  assert faults(**values, **ablated) == []

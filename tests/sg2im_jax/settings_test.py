import hypothesis
import pydantic
import pytest
from hypothesis import strategies as st

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import SettingsError
from sg2im_jax.settings import Settings
from tests.mutations import SEARCH, draw_changed
from tests.small_scenes import tiny_config


def settings_of(**changes):
  config = tiny_config()
  config.update_from_flattened_dict(changes)
  return Settings.from_config(config)


def test_every_key_of_a_config_is_a_setting():
  config = debug.get_config()
  assert Settings.from_config(config).model_dump() == config.to_dict()


def test_settings_cannot_be_changed():
  settings = settings_of()
  with pytest.raises(pydantic.ValidationError, match='frozen'):
    settings.num_steps = 3
  assert settings.replace(num_steps=3).num_steps == 3


@pytest.mark.parametrize(
  'key, value, message',
  [
    ('dtype', 'float16', "dtype is 'float16', expected one of float32, bfloat16"),
    ('losses.gan_type', 'hinge', "losses.gan_type is 'hinge', expected one of gan, lsgan, wgan"),
    (
      'optimizer.schedule',
      'linear',
      "optimizer.schedule is 'linear', expected one of constant, cosine",
    ),
    (
      'data.image_size',
      (18, 16),
      'data.image_size is 18x16, expected multiples of 4 for 2 refinement modules',
    ),
    ('model.mask_size', 12, 'model.mask_size is 12, expected 0 or a power of two'),
    ('model.gconv_pooling', 'max', "model.gconv_pooling is 'max', expected one of avg, sum"),
    ('batch_size', 0, 'batch_size is 0, expected 1 or more'),
    ('num_steps', 2.5, 'num_steps is 2.5, expected a whole number'),
    ('data.name', 'imagenet', "data.name is 'imagenet', expected one of storybook, coco_stuff, "),
  ],
)
def test_one_fault(key, value, message):
  config = tiny_config()
  with config.ignore_type():
    config.update_from_flattened_dict({key: value})
  with pytest.raises(SettingsError, match=message) as error:
    Settings.from_config(config)
  (fault,) = error.value.faults
  assert fault.setting == key


@SEARCH
@hypothesis.given(data=st.data())
def test_one_changed_value_is_a_setting_or_a_fault(data):
  values, path = draw_changed(data, debug.get_config().to_dict())
  try:
    settings = Settings.from_config(values)
  except SettingsError as error:
    assert '\n' not in str(error)
    assert any(
      fault.setting.startswith(str(path[0])) or path[0] not in values for fault in error.faults
    )
  else:
    assert Settings.from_config(settings.model_dump()) == settings


def test_all_faults_are_told_at_once():
  config = tiny_config()
  config.update_from_flattened_dict(
    {
      'batch_size': 0,
      'losses.gan_type': 'hinge',
      'model.mask_size': 12,
      'best_metric': 'kid',
      'steps_per_dispatch': 3,
      'data.relations': 'some',
    }
  )
  config.lerning_rate = 1.0
  del config.optimizer.b1
  with pytest.raises(SettingsError, match='settings are wrong: ') as error:
    Settings.from_config(config)
  named = {fault.setting for fault in error.value.faults}
  assert named == {
    'batch_size',
    'losses.gan_type',
    'model.mask_size',
    'best_metric',
    'data.relations',
    'lerning_rate',
    'optimizer.b1',
    # 1,000,000 steps in all, and the other numbers of steps, are no multiples of three
    *('num_steps', 'log_every', 'eval_every', 'image_grid_every', 'checkpoint_every'),
    'freeze_batch_norm_after',
  }


def test_data_in_other_directories():
  settings = settings_of()
  assert settings.with_data() == settings
  moved = settings.with_data('elsewhere', 'files')
  assert (moved.data.data_dir, moved.data.source_dir) == ('elsewhere', 'files')

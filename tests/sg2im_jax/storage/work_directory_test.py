import pytest

from data_pipelines.configs import coco64, debug
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.storage import work_directory


def test_a_config_comes_back_as_it_was(tmp_path):
  config = debug.get_config()
  work_directory.save_config(tmp_path, config)
  loaded = work_directory.load_config(tmp_path)
  assert loaded.to_dict() == config.to_dict()
  assert loaded.data.image_size == (32, 32)
  assert work_directory.check_same_model(tmp_path, config) == {}


def test_a_config_that_is_older_than_some_settings(tmp_path):
  config = debug.get_config()
  del config.sampling, config.model.align_corners, config.data.subsample
  work_directory.save_config(tmp_path, config)
  assert work_directory.load_config(tmp_path).to_dict() == debug.get_config().to_dict()
  assert work_directory.check_same_model(tmp_path, debug.get_config()) == {}


def test_other_settings_may_change_but_not_the_model(tmp_path):
  work_directory.save_config(tmp_path, coco64.get_config())
  config = coco64.get_config()
  config.optimizer.learning_rate, config.num_steps = 1e-5, 2_000_000
  changed = work_directory.check_same_model(tmp_path, config)
  assert changed == {'optimizer.learning_rate': (1e-4, 1e-5), 'num_steps': (1_000_000, 2_000_000)}
  config.model.refinement_dims, config.data.image_size = (1024, 512, 256, 128, 64, 64), (128, 128)
  with pytest.raises(UserError) as error:
    work_directory.check_same_model(tmp_path, config)
  assert 'data.image_size (64, 64) (now (128, 128))' in str(error.value)
  assert (
    'model.refinement_dims (1024, 512, 256, 128, 64) (now (1024, 512, 256, 128, 64, 64))'
    in str(error.value)
  )
  assert 'learning_rate' not in str(error.value)


def test_where_nothing_can_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot write .*config.json: File exists'):
    work_directory.save_config(tmp_path / 'file', debug.get_config())

import subprocess
import sys

import pytest

from data_pipelines.configs import coco64, debug
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.settings import Settings
from sg2im_jax.storage import work_directory
from tests.training_runs import ROOT

VOCABULARY = Vocabulary(('__image__', 'sky', 'sheep'), COCO_PREDICATES)


def settings_of(config):
  return Settings.from_config(config)


def save(workdir, config):
  work_directory.save(workdir, settings_of(config), VOCABULARY)


def test_settings_and_vocabulary_come_back_as_they_were(tmp_path):
  settings = settings_of(debug.get_config())
  work_directory.save(tmp_path, settings, VOCABULARY)
  loaded = work_directory.load_settings(tmp_path)
  assert loaded == settings
  assert loaded.model_dump() == debug.get_config().to_dict()
  assert loaded.data.image_size == (32, 32)
  assert work_directory.load_vocabulary(tmp_path) == VOCABULARY
  assert work_directory.check_same_model(tmp_path, settings) == {}


def test_a_config_that_is_older_than_some_settings(tmp_path):
  values = debug.get_config().to_dict()
  del values['sampling'], values['model']['align_corners'], values['data']['subsample']
  work_directory.write_json(tmp_path / 'config.json', values)
  settings = settings_of(debug.get_config())
  assert work_directory.load_settings(tmp_path) == settings
  assert work_directory.check_same_model(tmp_path, settings) == {}


def test_other_settings_may_change_but_not_the_model(tmp_path):
  save(tmp_path, coco64.get_config())
  config = coco64.get_config()
  config.optimizer.learning_rate, config.num_steps = 1e-5, 2_000_000
  changed = work_directory.check_same_model(tmp_path, settings_of(config))
  assert changed == {'optimizer.learning_rate': (1e-4, 1e-5), 'num_steps': (1_000_000, 2_000_000)}
  config.model.refinement_dims, config.data.image_size = (1024, 512, 256, 128, 64, 64), (128, 128)
  with pytest.raises(UserError) as error:
    work_directory.check_same_model(tmp_path, settings_of(config))
  assert 'data.image_size (64, 64) (now (128, 128))' in str(error.value)
  assert (
    'model.refinement_dims (1024, 512, 256, 128, 64) (now (1024, 512, 256, 128, 64, 64))'
    in str(error.value)
  )
  assert 'learning_rate' not in str(error.value)


def test_where_nothing_can_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot write .*: File exists'):
    save(tmp_path / 'file', debug.get_config())
  with (
    pytest.raises(UserError, match=r'cannot write to .*file: File exists; choose a work'),
    work_directory.locked(tmp_path / 'file'),
  ):
    pass


@pytest.fixture
def holder(tmp_path):
  """A process that holds the lock of `tmp_path/run/new`."""
  process = subprocess.Popen(
    [sys.executable, '-m', 'tests.processes.hold_lock', tmp_path / 'run/new'],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'holds it\n'
  yield process
  process.kill()
  process.communicate()


def enter(workdir):
  with work_directory.locked(workdir):
    assert workdir.is_dir()


def test_one_process_at_a_time_holds_a_work_directory(holder, tmp_path):
  workdir = tmp_path / 'run/new'
  for _ in range(2):
    with pytest.raises(
      UserError, match='run/new is in use by another training, which holds .*lock'
    ):
      enter(workdir)
  holder.communicate('end\n')
  assert list(tmp_path.iterdir()) == []  # it has removed what it has made
  enter(workdir)
  assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
  holder.kill()
  holder.communicate()
  workdir = tmp_path / 'run/new'
  assert [path.name for path in workdir.iterdir()] == ['training.lock']
  enter(workdir)
  assert list(workdir.iterdir()) == []


def test_a_used_directory_stays_when_the_lock_ends(tmp_path):
  workdir = tmp_path / 'run/new'
  with work_directory.locked(workdir):
    (workdir / 'notes.txt').write_text('mine')
  assert [path.name for path in workdir.iterdir()] == ['notes.txt']

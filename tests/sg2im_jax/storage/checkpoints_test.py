import functools
import logging
import resource
import subprocess
import sys

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.metrics import best_metric
from sg2im_jax.runtime import quiet_orbax
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.storage.checkpoints import CheckpointWriter
from sg2im_jax.training.state import NetworkState, TrainState
from tests import environment
from tests.snapshots import unchanged
from tests.training_runs import ROOT

VOCABULARY = Vocabulary(('__image__', 'sky', 'NONE', 'sheep'), ('__in_image__', 'above'))


def make_state(step, num_values=1000):
  """A state whose every array depends on the step; without image discriminator, and one network
  without BatchNorm.
  """

  def network(batch_stats):
    params = {
      'dense': {
        'kernel': jax.random.normal(jax.random.key(step), (num_values,)),
        'bias': jnp.full(3, step),
      }
    }
    return NetworkState(params, batch_stats, optax.adam(1e-3).init(params))

  return TrainState(
    jnp.int32(step), network({'norm': {'mean': jnp.full(3, step + 0.5)}}), None, network({})
  )


def assert_equal(state, expected):
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, state, expected)


def open_writer(workdir, keep=3, best='box_iou', damaged=()):
  quality = functools.partial(best_metric.quality, best)
  return CheckpointWriter(workdir, keep=keep, quality=quality, damaged=damaged)


def save(workdir, states, scores=None, **options):
  with open_writer(workdir, **options) as writer:
    for state in states:
      score = (scores or {}).get(int(state.step))
      metrics = None if score is None else {'box_iou': score, 'bbox': 1.0}
      writer.save(int(state.step), state.to_items(), metrics)


def restore(workdir, abstract=None):
  """The checkpoint, its tree a state again."""
  restored = checkpoints.restore_newest(workdir, (abstract or make_state(0)).to_items())
  return restored and restored._replace(tree=TrainState.from_items(restored.tree))


@pytest.fixture
def workdir(tmp_path):
  """With checkpoints of steps 1 and 2, config and vocabulary."""
  work_directory.save(tmp_path, Settings.from_config(debug.get_config()), VOCABULARY)
  save(tmp_path, [make_state(1), make_state(2)], {2: 0.25})
  return tmp_path


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def data_file(workdir, step, item):
  return max(
    (workdir / f'checkpoints/{step}/{item}').rglob('*'),
    key=lambda path: path.is_file() * path.stat().st_size,
  )


def test_round_trip(workdir):
  restored = restore(workdir)
  assert_equal(restored.tree, make_state(2))
  assert (restored.step, restored.damaged) == (2, ())


def test_nothing_to_restore(tmp_path):
  assert restore(tmp_path) is None
  assert checkpoints.steps(tmp_path / 'missing') == []


def test_donated_arrays_are_saved_as_they_were(tmp_path):
  step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
  with open_writer(tmp_path, keep=1) as writer:
    state = make_state(7, num_values=1_000_000)
    writer.save(7, state.to_items())
    for _ in range(3):
      state = step(state)
  restored = restore(tmp_path, make_state(0, num_values=1_000_000))
  assert_equal(restored.tree, make_state(7, num_values=1_000_000))


def test_relative_work_directory(workdir, monkeypatch):
  monkeypatch.chdir(workdir.parent)
  assert_equal(restore(workdir.name).tree, make_state(2))
  assert checkpoints.load_generator(workdir.name).step == 2


def test_newest_and_best_are_kept(tmp_path):
  save(tmp_path, map(make_state, range(1, 8)), {2: 0.5, 4: 0.25, 6: float('nan')}, keep=2)
  assert checkpoints.steps(tmp_path) == [2, 6, 7]
  with open_writer(tmp_path, keep=2) as writer:
    assert not writer.is_best({'box_iou': 0.4})
    assert writer.is_best({'box_iou': 0.6})


def test_the_best_can_be_told_by_another_metric(tmp_path):
  kid_of_step = {1: 0.5, 2: 0.25, 3: 0.75, 5: 1.0}  # of checkpoint 4 it is not known
  with open_writer(tmp_path, keep=1, best='kid') as writer:
    for step in range(1, 6):
      kid = {'kid': kid_of_step[step]} if step in kid_of_step else {}
      writer.save(step, make_state(step).to_items(), {'box_iou': step / 10} | kid)
  assert checkpoints.steps(tmp_path) == [2, 5]
  with open_writer(tmp_path, keep=1, best='kid') as writer:
    assert (
      writer.is_best({'kid': 0.2})
      and not writer.is_best({'kid': 0.3})
      and not writer.is_best({'box_iou': 1.0})
    )
  with open_writer(tmp_path, keep=1, best='box_iou') as writer:
    assert writer.is_best({'box_iou': 0.6}) and not writer.is_best({'box_iou': 0.4})
    writer.save(6, make_state(6).to_items())
  assert checkpoints.steps(tmp_path) == [5, 6]


def test_a_saved_step_is_not_saved_again(workdir):
  save(workdir, [make_state(2)])
  assert checkpoints.steps(workdir) == [1, 2]


def test_generator_alone(workdir):
  found = checkpoints.load_generator(workdir)
  expected = make_state(2).generator
  assert_equal(found.tree, {'params': expected.params, 'batch_stats': expected.batch_stats})
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found.tree))
  assert (found.step, found.damaged) == (2, ())
  assert checkpoints.load_generator(workdir, step=1).step == 1
  with pytest.raises(UserError, match=r'no checkpoint of step 5; there are 1, 2'):
    checkpoints.load_generator(workdir, step=5)


def test_saved_on_one_device_restored_on_four(workdir):
  result = subprocess.run(
    [sys.executable, '-m', 'tests.processes.restore_on_four_devices', workdir],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=environment.with_devices(4),
  )
  assert result.returncode == 0, result.stderr
  assert_equal(restore(workdir).tree, make_state(3))  # and from four on one
  assert checkpoints.load_generator(workdir).step == 3


@pytest.mark.parametrize('item', ['generator', 'training'])
def test_damaged_newest_falls_back_to_the_one_before(workdir, item, reported, capfd):
  truncate(data_file(workdir, 2, item))
  with unchanged(workdir):
    restored = restore(workdir)
  assert_equal(restored.tree, make_state(1))
  assert (restored.step, restored.damaged) == (1, (2,))
  warning = reported()
  assert f'the checkpoint of step 2 in {workdir} is damaged' in warning
  assert warning.count('\n') == 1
  save(workdir, [make_state(2)], damaged=restored.damaged)  # the step is free again
  warning = reported()
  assert 'the checkpoint of step 2 cannot be read; it is now' in warning
  assert warning.count('\n') == 1 and 'Traceback' not in capfd.readouterr().err
  assert_equal(restore(workdir).tree, make_state(2))


@pytest.mark.parametrize(
  'name',
  ['generator/_METADATA', 'generator/manifest.ocdbt', 'training/_METADATA'],
)
def test_any_damaged_file_is_noticed(workdir, name, capfd):
  truncate(workdir / 'checkpoints/2' / name)
  assert_equal(restore(workdir).tree, make_state(1))
  assert 'Traceback' not in capfd.readouterr().err


def test_damaged_metrics_leave_the_arrays_but_set_the_checkpoint_aside(workdir, capfd):
  truncate(workdir / 'checkpoints/2/metrics/metrics')
  assert_equal(restore(workdir).tree, make_state(2))
  save(workdir, [])
  assert_equal(restore(workdir).tree, make_state(1))
  assert (workdir / 'checkpoints/2.unreadable').is_dir()
  assert 'Traceback' not in capfd.readouterr().err


def test_damaged_generator_when_sampling(workdir, reported):
  truncate(data_file(workdir, 2, 'generator'))
  assert checkpoints.load_generator(workdir).step == 1
  assert reported().count('\n') == 1
  truncate(data_file(workdir, 1, 'generator'))
  with pytest.raises(UserError, match=r'checkpoint of step 1 .* is damaged .* no older one'):
    checkpoints.load_generator(workdir)
  with pytest.raises(UserError, match=r'checkpoint of step 1 .* is damaged .* no older one'):
    restore(workdir)


def test_a_model_without_training_state_is_not_called_damaged(tmp_path):
  with open_writer(tmp_path) as writer:
    writer.save(1, {'generator': make_state(1).to_items()['generator']})
  with (
    unchanged(tmp_path),
    pytest.raises(UserError, match='have no training state: they can'),
  ):
    restore(tmp_path)
  assert checkpoints.load_generator(tmp_path).step == 1


@pytest.mark.parametrize(
  'error',
  [
    PermissionError(13, 'Permission denied'),
    ValueError('PERMISSION_DENIED: Error reading local file "d/1": Permission denied'),
    ValueError('UNAVAILABLE: Error reading "d/1"'),
    OSError(24, 'Too many open files'),
    RuntimeError("Unable to initialize backend 'cuda'"),
    UnicodeEncodeError('latin-1', '\N{SNOWMAN}', 0, 1, 'ordinal not in range'),
    MemoryError(),
  ],
)
def test_what_cannot_be_read_now_is_not_called_damaged(workdir, error, monkeypatch, reported):
  def fail(_):
    raise error

  monkeypatch.setattr(checkpoints, '_check_readable', fail)
  with unchanged(workdir):
    for load in (restore, checkpoints.load_generator):
      with pytest.raises(UserError, match='step 2 in .* cannot be read .*; nothing was changed'):
        load(workdir)
  assert not reported()


def test_a_path_that_the_locale_spells_otherwise(workdir, tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoints.os, 'fsencode', lambda path: path.encode('latin-1'))
  assert checkpoints.steps(workdir) == [1, 2]
  with pytest.raises(UserError, match='letters beyond ASCII, .* set PYTHONUTF8=1'):
    checkpoints.steps(tmp_path / 'Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}')


def test_weights_that_are_not_finite_are_refused(tmp_path):
  settings = Settings.from_config(debug.get_config())
  work_directory.save(tmp_path, settings, VOCABULARY)
  state = make_state(1)
  params = state.generator.params
  params['dense']['kernel'] = params['dense']['kernel'].at[1].set(jnp.nan)
  save(tmp_path, [state])
  with pytest.raises(UserError, match='the weights of step 1 are not finite .params/dense/kernel'):
    TrainedModel.load(tmp_path)


def test_unfinished_save_is_no_checkpoint(workdir):
  (workdir / 'checkpoints/2').rename(workdir / 'checkpoints/2.orbax-checkpoint-tmp')
  assert checkpoints.steps(workdir) == [1]
  assert_equal(restore(workdir).tree, make_state(1))


@pytest.fixture
def quiet_as_commands():
  """What commands do against orbax's own messages, undone at the end."""
  handlers = [absl.logging.get_absl_handler(), logging.getLogger('asyncio')]
  filters, hook = [list(handler.filters) for handler in handlers], sys.unraisablehook
  quiet_orbax.enable()
  yield
  sys.unraisablehook = hook
  for handler, before in zip(handlers, filters, strict=True):
    handler.filters = before


def test_full_disk_loses_nothing(workdir, capfd, quiet_as_commands):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
  try:
    with pytest.raises(
      UserError, match=r'cannot write a checkpoint to .*; complete ones: 1, 2; free space'
    ):
      save(workdir, [make_state(3, num_values=1_000_000)], keep=1)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert 'Traceback' not in capfd.readouterr().err
  assert_equal(restore(workdir).tree, make_state(2))


def test_work_directory_without_a_run(tmp_path):
  with pytest.raises(
    UserError, match=r'is not a work directory: it has no config.json; train first'
  ):
    TrainedModel.load(tmp_path)
  work_directory.save(tmp_path, Settings.from_config(debug.get_config()), VOCABULARY)
  with pytest.raises(UserError, match=r'has no checkpoint yet'):
    TrainedModel.load(tmp_path)
  truncate(tmp_path / 'config.json')
  with pytest.raises(UserError, match=r'config.json is not JSON'):
    TrainedModel.load(tmp_path)

import os
import pathlib
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.storage.checkpoints import Checkpoints
from sg2im_jax.training.state import NetworkState, TrainState
from tests.training_runs import ENVIRONMENT

ROOT = pathlib.Path(__file__).parents[2]
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


def save(workdir, states, scores=None, keep=3):
  with Checkpoints(workdir, keep) as saved:
    for state in states:
      score = (scores or {}).get(int(state.step))
      saved.save(state, None if score is None else {'box_iou': score, 'bbox': 1.0})


def restore(workdir):
  with Checkpoints(workdir, 3) as saved:
    return saved.restore_latest(make_state(0))


@pytest.fixture
def workdir(tmp_path):
  """With checkpoints of steps 1 and 2, config and vocabulary."""
  work_directory.save_config(tmp_path, debug.get_config())
  work_directory.save_vocabulary(tmp_path, VOCABULARY)
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
  assert_equal(restore(workdir), make_state(2))


def test_nothing_to_restore(tmp_path):
  assert restore(tmp_path) is None
  assert checkpoints.steps(tmp_path / 'missing') == []


def test_donated_arrays_are_saved_as_they_were(tmp_path):
  step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
  with Checkpoints(tmp_path, 1) as saved:
    state = make_state(7, num_values=1_000_000)
    saved.save(state)
    for _ in range(3):
      state = step(state)
  with Checkpoints(tmp_path, 1) as saved:
    assert_equal(
      saved.restore_latest(make_state(0, num_values=1_000_000)), make_state(7, num_values=1_000_000)
    )


def test_relative_work_directory(workdir, monkeypatch):
  monkeypatch.chdir(workdir.parent)
  assert_equal(restore(workdir.name), make_state(2))
  assert checkpoints.load_generator(workdir.name)[3] == 2


def test_newest_and_best_are_kept(tmp_path):
  save(tmp_path, map(make_state, range(1, 8)), {2: 0.5, 4: 0.25, 6: float('nan')}, keep=2)
  assert checkpoints.steps(tmp_path) == [2, 6, 7]
  with Checkpoints(tmp_path, 2) as saved:
    assert not saved.is_best({'box_iou': 0.4})
    assert saved.is_best({'box_iou': 0.6})


def test_the_best_can_be_told_by_another_metric(tmp_path):
  with Checkpoints(tmp_path, 1, 'kid') as saved:
    for step, kid in enumerate(
      (0.5, 0.25, 0.75, None, 1.0), 1
    ):  # of one checkpoint it is not known
      saved.save(make_state(step), {'box_iou': step / 10} | ({} if kid is None else {'kid': kid}))
  assert checkpoints.steps(tmp_path) == [2, 5]
  with Checkpoints(tmp_path, 1, 'kid') as saved:
    assert (
      saved.is_best({'kid': 0.2})
      and not saved.is_best({'kid': 0.3})
      and not saved.is_best({'box_iou': 1.0})
    )
  with Checkpoints(tmp_path, 1, 'box_iou') as saved:
    assert saved.is_best({'box_iou': 0.6}) and not saved.is_best({'box_iou': 0.4})
    saved.save(make_state(6))
  assert checkpoints.steps(tmp_path) == [5, 6]


def test_a_saved_step_is_not_saved_again(workdir):
  save(workdir, [make_state(2)])
  assert checkpoints.steps(workdir) == [1, 2]


def test_generator_alone(workdir):
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  expected = make_state(2).generator
  assert_equal(variables, {'params': expected.params, 'batch_stats': expected.batch_stats})
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(variables))
  assert (vocabulary, step) == (VOCABULARY, 2)
  assert (
    config.data.image_size == (32, 32)
    and config.model.refinement_dims == debug.get_config().model.refinement_dims
  )
  assert checkpoints.load_generator(workdir, step=1)[3] == 1
  with pytest.raises(UserError, match=r'no checkpoint of step 5; there are 1, 2'):
    checkpoints.load_generator(workdir, step=5)


def test_saved_on_one_device_restored_on_four(workdir):
  program = f"""
import jax, numpy as np
from sg2im_jax import checkpoints, sharding
from tests.sg2im_jax.checkpoints_test import assert_equal, make_state
replicated = sharding.replicated(sharding.make_mesh())
assert len(jax.devices()) == 4
abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated), make_state(0))
with checkpoints.Checkpoints({str(workdir)!r}, 3) as saved:
  state = saved.restore_latest(abstract)
  assert_equal(state, make_state(2))
  assert all(leaf.sharding == replicated for leaf in jax.tree.leaves(state))
  saved.save(jax.device_put(make_state(3), replicated))
"""
  result = subprocess.run(
    [sys.executable, '-c', program],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, **ENVIRONMENT, 'XLA_FLAGS': '--xla_force_host_platform_device_count=4'},
  )
  assert result.returncode == 0, result.stderr
  assert_equal(restore(workdir), make_state(3))  # and from four on one
  assert checkpoints.load_generator(workdir)[3] == 3


@pytest.mark.parametrize('item', ['generator', 'training'])
def test_damaged_newest_falls_back_to_the_one_before(workdir, item, capfd):
  truncate(data_file(workdir, 2, item))
  assert_equal(restore(workdir), make_state(1))
  errors = capfd.readouterr().err
  assert f'the checkpoint of step 2 in {workdir} is damaged' in errors and 'Traceback' not in errors
  assert len(errors.splitlines()) == 2
  save(workdir, [make_state(2)])  # the step is free again
  assert_equal(restore(workdir), make_state(2))


@pytest.mark.parametrize(
  'name',
  ['generator/_METADATA', 'generator/manifest.ocdbt', 'training/_METADATA', 'metrics/metrics'],
)
def test_any_damaged_file_is_noticed(workdir, name, capfd):
  truncate(workdir / 'checkpoints/2' / name)
  assert_equal(restore(workdir), make_state(1))
  assert 'Traceback' not in capfd.readouterr().err


def test_damaged_generator_when_sampling(workdir, capfd):
  truncate(data_file(workdir, 2, 'generator'))
  assert checkpoints.load_generator(workdir)[3] == 1
  assert len(capfd.readouterr().err.splitlines()) == 1
  truncate(data_file(workdir, 1, 'generator'))
  with pytest.raises(UserError, match=r'checkpoint of step 1 .* is damaged .* no older one'):
    checkpoints.load_generator(workdir)
  with pytest.raises(UserError, match=r'checkpoint of step 1 .* is damaged .* no older one'):
    restore(workdir)


def test_unfinished_save_is_no_checkpoint(workdir):
  (workdir / 'checkpoints/2').rename(workdir / 'checkpoints/2.orbax-checkpoint-tmp')
  assert checkpoints.steps(workdir) == [1]
  assert_equal(restore(workdir), make_state(1))


def test_full_disk_loses_nothing(workdir, capfd):
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
  assert_equal(restore(workdir), make_state(2))


def test_work_directory_without_a_run(tmp_path):
  with pytest.raises(
    UserError, match=r'is not a work directory: it has no config.json; train first'
  ):
    checkpoints.load_generator(tmp_path)
  work_directory.save_config(tmp_path, debug.get_config())
  work_directory.save_vocabulary(tmp_path, VOCABULARY)
  with pytest.raises(UserError, match=r'has no checkpoint yet'):
    checkpoints.load_generator(tmp_path)
  truncate(tmp_path / 'config.json')
  with pytest.raises(UserError, match=r'config.json is not JSON'):
    checkpoints.load_generator(tmp_path)

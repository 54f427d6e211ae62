"""Whatever is refused, and whatever has nothing to do, leaves the work directory byte for byte."""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.published.conversion import convert
from sg2im_jax.runtime import sharding
from sg2im_jax.storage import checkpoints
from sg2im_jax.training.loop import train
from tests.published_files import GOLDEN
from tests.snapshots import snapshot, unchanged
from tests.training_runs import ROOT, small_config

pytestmark = pytest.mark.slow

STEP = 3  # of the work directory


@pytest.fixture
def workdir(tmp_path):
  """A copy of the work directory in tests/golden: a training of three steps."""
  return shutil.copytree(GOLDEN / 'work_directory/run', tmp_path / 'run')


def make_config(directory, **changes):
  """The config of that training, to be continued to step 4."""
  config = small_config(directory).unlock()
  config.update(
    {
      'num_steps': STEP + 1,
      'checkpoint_every': 3,
      'eval_every': 3,
      'image_grid_every': 100,
      'freeze_batch_norm_after': 100,
    }
  )
  with config.ignore_type():
    config.update_from_flattened_dict(changes)
  return config


@dataclasses.dataclass(frozen=True)
class Refusal:
  """Settings that are refused.

  Attributes:
    name: of the test.
    changes: of the settings, by dotted name.
    messages: regular expressions, all of which match the error.
    also_new: whether they are refused for a new work directory, too.
    damage: what is done to the work directory first.
  """

  name: str
  changes: dict
  messages: tuple[str, ...]
  also_new: bool = True
  damage: Callable[[pathlib.Path], None] = lambda workdir: None


def rename_a_word(workdir):
  path = workdir / 'vocabulary.json'
  path.write_text(path.read_text().replace('"night sky"', '"nightfall"'))


def truncate_config(workdir):
  path = workdir / 'config.json'
  path.write_bytes(path.read_bytes()[:200])


def truncate_checkpoint(workdir, step=STEP):
  files = [path for path in (workdir / f'checkpoints/{step}').rglob('*') if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:1000])


REFUSALS = (
  Refusal(
    'another model',
    {'model.gconv_dim': 8},
    (r'of another model, with model.gconv_dim 16 \(now 8\); use another work directory',),
    also_new=False,
  ),
  Refusal('no batch', {'batch_size': 0}, ('batch_size is 0, expected 1 or more',)),
  Refusal(
    'no step',
    {'steps_per_dispatch': 0},
    ('steps_per_dispatch is 0, expected 1 or more',),
  ),
  Refusal(
    'several faults',
    {'batch_size': 0, 'losses.gan_type': 'hinge', 'data.name': 'imagenet', 'model.mask_size': 12},
    (
      '4 settings are wrong: ',
      'batch_size is 0, expected 1 or more',
      "losses.gan_type is 'hinge', expected one of gan, lsgan, wgan",
      "data.name is 'imagenet', expected one of ",
      'model.mask_size is 12, expected 0 or a power of two',
    ),
  ),
  Refusal(
    'no multiple of the steps of a dispatch',
    {'steps_per_dispatch': 2, 'num_steps': 26},
    ('log_every is 1, expected a multiple of steps_per_dispatch, 2',),
  ),
  Refusal(
    'a checkpoint between the steps of a dispatch',
    {
      'steps_per_dispatch': 2,
      'num_steps': 6,
      'log_every': 2,
      'eval_every': 2,
      'checkpoint_every': 2,
    },
    ('the newest checkpoint in .* is of step 3, expected a multiple of steps_per_dispatch, 2',),
    also_new=False,
  ),
  Refusal('too few slots', {'data.max_objects': 3}, ('data.max_objects is 3, ',)),
  Refusal('an unknown data set', {'data.name': 'imagenet'}, ("data.name is 'imagenet'",)),
  Refusal('an unknown GAN', {'losses.gan_type': 'hinge'}, ("losses.gan_type is 'hinge'",)),
  Refusal(
    'an unknown schedule', {'optimizer.schedule': 'linear'}, ("optimizer.schedule is 'linear'",)
  ),
  Refusal('an unknown dtype', {'dtype': 'float16'}, ("dtype is 'float16'",)),
  Refusal(
    'KID without a backbone',
    {'best_metric': 'kid'},
    ('best_metric is kid, which needs an eval_backbone',),
  ),
  Refusal(
    'too few scenes for KID',
    {'eval_backbone': 'efficientnet-lite0', 'num_eval_examples': 3},
    ('3 scenes to validate on, expected at least 4 for KID',),
  ),
  Refusal(
    'an image size that does not fit',
    {'data.image_size': (30, 32)},
    ('data.image_size is 30x32, expected multiples of 4',),
  ),
  Refusal('an arch that does not fit', {'image_discriminator.arch': 'C4-8-2,X3'}, ('X3',)),
  Refusal('an unknown key', {'data.options.num_test': 3}, ('data.options.num_test is unknown',)),
  Refusal(
    'another data set than the model knows',
    {},
    ('1 of the object names of the data set are not .* of the model: "night sky"; ',),
    also_new=False,
    damage=rename_a_word,
  ),
  Refusal(
    'a damaged config', {}, ('config.json is not JSON',), also_new=False, damage=truncate_config
  ),
  Refusal(
    'a damaged checkpoint',
    {},
    ('the checkpoint of step 3 in .* is damaged .* and there is no older one',),
    also_new=False,
    damage=truncate_checkpoint,
  ),
)


def named(refusals):
  return [pytest.param(refusal, id=refusal.name) for refusal in refusals]


def check_refused(action, messages):
  with pytest.raises(UserError) as error:
    action()
  text = str(error.value)
  assert [message for message in messages if not re.search(message, text)] == [], text
  assert '\n' not in text


@pytest.mark.parametrize('refusal', named(REFUSALS))
def test_a_refused_training_changes_nothing(refusal, workdir, directory):
  refusal.damage(workdir)
  config = make_config(directory, **refusal.changes)
  with unchanged(workdir):
    check_refused(lambda: train(config, workdir), refusal.messages)


@pytest.mark.parametrize('refusal', named(refusal for refusal in REFUSALS if refusal.also_new))
def test_a_refused_training_makes_no_directory(refusal, tmp_path, directory):
  config = make_config(directory, **refusal.changes)
  with unchanged(tmp_path):
    check_refused(lambda: train(config, tmp_path / 'some/new'), refusal.messages)


def test_nothing_to_do_changes_nothing(workdir, directory, reported):
  config = make_config(directory, num_steps=STEP, seed=7, **{'optimizer.learning_rate': 1.0})
  with unchanged(workdir):
    train(config, workdir)
  assert f'nothing to do: {workdir} is at step 3 of 3; raise num_steps to train on' in reported()


def test_nothing_to_do_beside_a_damaged_checkpoint_changes_nothing(workdir, directory, reported):
  shutil.copytree(workdir / 'checkpoints/3', workdir / 'checkpoints/6')
  truncate_checkpoint(workdir, 6)
  with unchanged(workdir):
    train(make_config(directory, num_steps=STEP), workdir)
  said = reported()
  assert f'the checkpoint of step 6 in {workdir} is damaged' in said and 'nothing to do' in said
  assert checkpoints.steps(workdir) == [3, 6]


@pytest.fixture
def holder(workdir):
  """A process that holds the lock of the work directory."""
  process = subprocess.Popen(
    [sys.executable, '-m', 'tests.processes.hold_lock', workdir],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'holds it\n'
  yield process
  process.kill()
  process.communicate()


def test_a_second_training_is_refused_until_the_first_is_killed(workdir, directory, holder):
  config = make_config(directory, num_steps=STEP)
  with unchanged(workdir):
    check_refused(lambda: train(config, workdir), ['is in use by another training, which holds '])
  holder.kill()
  holder.communicate()
  before = snapshot(workdir)
  assert before.pop('training.lock') is not None  # left by the killed process
  train(config, workdir)
  assert snapshot(workdir) == before


@pytest.mark.parametrize('batch_size, enough', [(6, 8), (1, 4)])
def test_a_batch_that_does_not_fit_the_devices(workdir, directory, batch_size, enough, monkeypatch):
  @dataclasses.dataclass(frozen=True)
  class Device:
    id: int
    process_index: int = 0

  mesh = sharding.make_mesh([Device(number) for number in range(4)])
  monkeypatch.setattr(sharding, 'make_mesh', lambda: mesh)
  config = make_config(directory, batch_size=batch_size)
  with unchanged(workdir):
    with pytest.raises(UserError) as error:
      train(config, workdir)
  assert error.value.text(lambda setting: f'--config.{setting}') == (
    f'--config.batch_size is {batch_size}, which cannot be split evenly over 4 devices; '
    f'set --config.batch_size={enough}'
  )


def cut_off(directory):
  path = directory / 'cut.pt'
  path.write_bytes((GOLDEN / 'vg.pt').read_bytes()[:200_000])
  return {'path': path}


def with_a_difference(directory):
  """A recording without a step, one array of which differs."""
  with np.load(GOLDEN / 'vg.npz') as file:
    arrays = {name: array for name, array in file.items() if not name.startswith('train/')}
  arrays['state/model/box_net.0.bias'] = arrays['state/model/box_net.0.bias'] + 1
  np.savez(directory / 'vectors.npz', **arrays)
  return {'path': GOLDEN / 'vg.pt', 'vectors': directory / 'vectors.npz'}


@pytest.mark.parametrize(
  'arguments_in, message',
  [
    (cut_off, 'no whole PyTorch checkpoint'),
    (lambda directory: {'path': directory / 'missing.pt'}, 'cannot be read'),
    (
      lambda _: {'path': GOLDEN / 'vg.pt', 'vectors': GOLDEN / 'first_residual.npz'},
      'recorded from another model',
    ),
    (
      with_a_difference,
      'out of tolerance, state/model/box_net.0.bias the first of them; nothing was written',
    ),
  ],
  ids=['a file that is cut off', 'no file', 'vectors of another model', 'vectors that differ'],
)
@pytest.mark.parametrize('exists', [False, True])
def test_a_refused_conversion_changes_nothing(arguments_in, message, exists, tmp_path):
  (tmp_path / 'files').mkdir()
  arguments, workdir = arguments_in(tmp_path / 'files'), tmp_path / 'run'
  if exists:
    workdir.mkdir()
    (workdir / 'notes.txt').write_text('mine')
  with unchanged(tmp_path):
    check_refused(lambda: convert(workdir=workdir, **arguments), [message])


def test_a_used_directory_is_not_converted_into(workdir):
  with unchanged(workdir):
    check_refused(
      lambda: convert(GOLDEN / 'coco.pt', workdir),
      ['run holds checkpoints already; choose another work directory'],
    )

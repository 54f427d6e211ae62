import shutil
import signal

import jax
import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.storage import checkpoints
from sg2im_jax.train import train
from tests.training_runs import (
  NUM_STEPS,
  SCHEDULE,
  records,
  small_config,
  start_training,
  start_two_processes,
  wait_for_step,
)


def test_what_a_run_says_and_writes(finished_run):
  workdir, printed = finished_run.workdir, finished_run.printed
  assert '32 scenes to train on, 8 to validate' in printed
  assert 'images/s' in printed and 'left' in printed and 'waiting for input' in printed
  assert f'done: step {NUM_STEPS}, saved in' in printed
  written = records(workdir)
  assert [record['step'] for record in written if record['split'] == 'train'] == list(
    range(1, NUM_STEPS + 1)
  )
  assert [record['step'] for record in written if record['split'] == 'val'] == [8, 16, 24]
  assert written[0]['generator/total'] > written[-2]['generator/total'] > 0
  assert all(
    0 <= written[-1][name] <= 1 for name in ('box_iou', 'recall_at_0.3', 'relation_accuracy')
  )
  assert {'config.json', 'vocabulary.json', 'metrics.jsonl', 'tensorboard', 'checkpoints'} == {
    path.name for path in workdir.iterdir()
  }
  assert checkpoints.steps(workdir)[-1] == NUM_STEPS


def test_tensorboard_has_scalars_and_the_grid(finished_run):
  from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

  events = EventAccumulator(str(finished_run.workdir / 'tensorboard'), size_guidance={'tensors': 0})
  events.Reload()
  assert {
    'train/generator/total',
    'train/image_discriminator/gan',
    'val/box_iou',
    'val/scenes',
  } <= set(events.Tags()['tensors'])
  assert [event.step for event in events.Tensors('val/scenes')] == [12, 24]


def test_stopped_and_killed_run_equals_the_uninterrupted_one(finished_run, directory):
  workdir = directory / 'interrupted'
  settings = {'num_steps': NUM_STEPS, **SCHEDULE}

  process = start_training(workdir, directory, **settings)
  wait_for_step(process, 4)
  process.send_signal(signal.SIGTERM)
  printed, errors = process.communicate(timeout=120)
  assert process.returncode == 128 + signal.SIGTERM, errors
  stopped_at = checkpoints.steps(workdir)[-1]
  assert f'stopped at step {stopped_at}; run the same command to continue' in printed

  process = start_training(workdir, directory, **settings)
  wait_for_step(process, 13)
  process.kill()
  process.communicate(timeout=120)
  with (workdir / 'metrics.jsonl').open('a') as log:
    log.write('{"step": 14, "split": "tr')  # torn by the kill

  process = start_training(workdir, directory, **settings)
  printed, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  assert records(workdir) == records(finished_run.workdir)


def test_two_killed_processes_equal_one(finished_run, directory):
  workdir = directory / 'two processes'
  settings = {'num_steps': NUM_STEPS, **SCHEDULE}
  processes = start_two_processes(workdir, directory, **settings)
  wait_for_step(processes[0], 5)
  for process in processes:
    process.kill()
    process.communicate(timeout=120)
  assert checkpoints.steps(workdir) and len(records(workdir)) < NUM_STEPS

  processes = start_two_processes(workdir, directory, **settings)
  outputs = [process.communicate(timeout=500) for process in processes]
  for process, (_, errors) in zip(processes, outputs, strict=True):
    assert process.returncode == 0, errors
  assert f'done: step {NUM_STEPS}, saved in' in outputs[0][0]
  assert all(
    line.startswith('[Gloo]') for line in outputs[1][0].splitlines()
  )  # which the runtime prints, not we
  for record, expected in zip(records(workdir), records(finished_run.workdir), strict=True):
    assert record.pop('split') == expected.pop('split')
    assert record == pytest.approx(expected, rel=1e-5)
  (_, _, variables, step), (_, _, expected, _) = map(
    checkpoints.load_generator, (workdir, finished_run.workdir)
  )
  assert step == NUM_STEPS
  jax.tree.map(
    lambda *pair: np.testing.assert_allclose(*pair, rtol=1e-4, atol=1e-5), variables, expected
  )


@pytest.fixture
def compiled_programs(directory):
  """The compilation cache of the other processes, for this one."""
  jax.config.update('jax_compilation_cache_dir', str(directory / 'compiled'))
  yield
  jax.config.update('jax_compilation_cache_dir', None)


def test_twelve_and_twelve_steps_equal_twenty_four(finished_run, directory, compiled_programs):
  workdir = directory / 'in two'
  for num_steps in (12, NUM_STEPS):  # the batch statistics are frozen just where the run is cut
    config = small_config(directory)
    config.update({**SCHEDULE, 'num_steps': num_steps})
    assert train(config, str(workdir)) == 0
  _, _, at_once, _ = checkpoints.load_generator(finished_run.workdir)
  _, _, in_two, step = checkpoints.load_generator(workdir)
  assert step == NUM_STEPS
  assert all(jax.tree.leaves(jax.tree.map(np.array_equal, at_once, in_two)))


def test_two_steps_a_dispatch_equal_single_ones(finished_run, directory, compiled_programs):
  workdir = directory / 'two a dispatch'
  config = small_config(directory)
  config.update(
    {**SCHEDULE, 'num_steps': 4, 'log_every': 2, 'checkpoint_every': 4, 'steps_per_dispatch': 2}
  )
  assert train(config, str(workdir)) == 0
  written = [record for record in records(workdir) if record.pop('split') == 'train']
  expected = [
    record for record in records(finished_run.workdir)[:4] if record.pop('split') == 'train'
  ][1::2]
  assert [record['step'] for record in written] == [2, 4]
  assert written == [pytest.approx(record, rel=1e-5) for record in expected]
  config.update(
    {
      'num_steps': 6,
      'steps_per_dispatch': 3,
      'eval_every': 3,
      'log_every': 3,
      'checkpoint_every': 3,
    }
  )
  with pytest.raises(
    UserError, match=r'the newest checkpoint in .* is of step 4, expected a multiple of config'
  ):
    train(config, str(workdir))


def test_nothing_to_do_is_said(finished_run, directory, compiled_programs, capsys):
  config = small_config(directory)
  config.update({**SCHEDULE, 'num_steps': NUM_STEPS})
  assert train(config, str(finished_run.workdir)) == 0
  assert (
    f'is at step {NUM_STEPS} of {NUM_STEPS}; raise --config.num_steps to train on'
    in capsys.readouterr().out
  )


@pytest.mark.parametrize(
  'change, message',
  [
    (
      {'model.gconv_dim': 8},
      r'of another model, with model.gconv_dim 16 \(now 8\); use another --workdir',
    ),
    ({'batch_size': 0}, 'config.batch_size is 0, expected 1 or more'),
    ({'steps_per_dispatch': 0}, 'config.steps_per_dispatch is 0, expected 1 or more'),
    (
      {'steps_per_dispatch': 2, 'num_steps': 26},
      'config.log_every is 1, expected a multiple of config.steps_per_disp',
    ),
    ({'data.max_objects': 3}, 'max_objects'),
    ({'data.name': 'imagenet'}, 'imagenet'),
  ],
)
def test_refuses_what_cannot_be_continued(finished_run, directory, change, message):
  config = small_config(directory)
  config.update_from_flattened_dict({'num_steps': NUM_STEPS + 1, **change})
  with pytest.raises(UserError, match=message):
    train(config, str(finished_run.workdir))


def test_refuses_a_data_set_with_names_that_the_model_does_not_know(
  finished_run, directory, tmp_path
):
  workdir = shutil.copytree(finished_run.workdir, tmp_path / 'copy')
  path = workdir / 'vocabulary.json'
  path.write_text(path.read_text().replace('"night sky"', '"nightfall"'))
  config = small_config(directory).unlock()
  config.num_steps = NUM_STEPS + 1
  with pytest.raises(
    UserError, match='1 of the object names of the data set are not .* of the model: "night sky"; '
  ):
    train(config, str(workdir))


def test_batch_must_fit_the_devices(directory):
  process = start_training(
    directory / 'unused',
    directory,
    batch_size=6,
    environment={'XLA_FLAGS': '--xla_force_host_platform_device_count=4'},
  )
  printed, errors = process.communicate(timeout=120)
  assert (process.returncode, printed) == (2, '')
  assert errors == (
    'error: batch_size 6 cannot be split evenly over 4 devices; use a multiple, such as '
    '--config.batch_size=8\n'
  )

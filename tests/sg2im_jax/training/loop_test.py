import pathlib
import signal
import time
from typing import NamedTuple

import jax
import numpy as np
import pytest

from sg2im_jax.storage import checkpoints
from sg2im_jax.training.loop import train
from tests.training_runs import (
  NUM_STEPS,
  SCHEDULE,
  records,
  small_config,
  start_training,
  start_two_processes,
  wait_for_step,
)

pytestmark = pytest.mark.slow


class FinishedRun(NamedTuple):
  workdir: pathlib.Path
  printed: str


@pytest.fixture(scope='module')
def finished_run(directory):
  """An uninterrupted training run of NUM_STEPS, by the command that users give; only to be read."""
  workdir = directory / 'finished'
  process = start_training(workdir, directory, num_steps=NUM_STEPS, **SCHEDULE)
  printed, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  return FinishedRun(workdir, printed)


def make_config(directory, **changes):
  config = small_config(directory)
  config.update({**SCHEDULE, **changes})
  return config


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
  assert {path.name for path in workdir.iterdir()} == {
    *('config.json', 'vocabulary.json', 'graph_statistics.json', 'validation_scenes.json'),
    *('metrics.jsonl', 'tensorboard', 'checkpoints'),
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


@pytest.mark.exhaustive
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

  train(make_config(directory, **settings), workdir)
  assert records(workdir) == records(finished_run.workdir)


@pytest.mark.exhaustive
def test_two_killed_processes_equal_one(finished_run, directory):
  workdir = directory / 'two processes'
  settings = {'num_steps': NUM_STEPS, **SCHEDULE}
  processes = start_two_processes(workdir, directory, **settings)
  wait_for_step(processes[0], 5)
  while not checkpoints.steps(workdir):  # of step 3, which is written meanwhile
    assert processes[0].poll() is None
    time.sleep(0.02)
  for process in processes:
    process.kill()
    process.communicate(timeout=120)
  assert len(records(workdir)) < NUM_STEPS

  processes = start_two_processes(workdir, directory, **settings)
  outputs = [process.communicate(timeout=500) for process in processes]
  assert [process.returncode for process in processes] == [0, 0], outputs
  assert f'done: step {NUM_STEPS}, saved in' in outputs[0][0]
  assert all(
    line.startswith('[Gloo]') for line in outputs[1][0].splitlines()
  )  # which the runtime prints, not we
  for record, expected in zip(records(workdir), records(finished_run.workdir), strict=True):
    assert record.pop('split') == expected.pop('split')
    assert record == pytest.approx(expected, rel=1e-5)
  found, expected = map(checkpoints.load_generator, (workdir, finished_run.workdir))
  assert found.step == NUM_STEPS
  jax.tree.map(
    lambda *pair: np.testing.assert_allclose(*pair, rtol=1e-4, atol=1e-5), found.tree, expected.tree
  )


def test_twelve_and_twelve_steps_equal_twenty_four(finished_run, directory):
  workdir = directory / 'in two'
  for num_steps in (12, NUM_STEPS):  # the batch statistics are frozen just where the run is cut
    train(make_config(directory, num_steps=num_steps), workdir)
  at_once, in_two = map(checkpoints.load_generator, (finished_run.workdir, workdir))
  assert in_two.step == NUM_STEPS
  assert all(jax.tree.leaves(jax.tree.map(np.array_equal, at_once.tree, in_two.tree)))


@pytest.mark.exhaustive
def test_two_steps_a_dispatch_equal_single_ones(finished_run, directory, caplog):
  workdir = directory / 'two a dispatch'
  two_a_dispatch = {'log_every': 2, 'checkpoint_every': 4, 'steps_per_dispatch': 2}
  train(make_config(directory, num_steps=4, **two_a_dispatch), workdir)
  assert 'steps_per_dispatch is 2: on CPUs' in caplog.text
  written = [record for record in records(workdir) if record.pop('split') == 'train']
  expected = [
    record for record in records(finished_run.workdir)[:4] if record.pop('split') == 'train'
  ][1::2]
  assert [record['step'] for record in written] == [2, 4]
  assert written == [pytest.approx(record, rel=1e-5) for record in expected]


def test_a_run_asked_to_stop_saves_and_says_so(finished_run, directory, reported):
  class StopAtFive:
    """Asks to stop after the fifth step."""

    calls, signal = 0, None

    def agree(self):
      self.calls += 1
      if self.calls == 5:
        self.signal = signal.SIGINT
      return self.calls == 5

  workdir = directory / 'stopped'
  train(make_config(directory, num_steps=NUM_STEPS), workdir, stop=StopAtFive())
  assert checkpoints.steps(workdir) == [3, 5]
  assert records(workdir) == records(finished_run.workdir)[:5]
  assert reported().endswith('stopped at step 5; run the same command to continue\n')

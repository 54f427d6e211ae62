import json

import numpy as np
import pytest

from data_pipelines.command_line import duration
from sg2im_jax.training.log import Progress, TrainingLog


def test_pauses_do_not_count():
  now = [0.0]
  progress = Progress(num_steps=100, batch_size=4, step=10, clock=lambda: now[0])
  now[0] += 3
  with progress.waiting_for_input():
    now[0] += 1
  with progress.paused():
    now[0] += 1000
  line = progress.line(20, {'generator/total': 1.5, 'skipped': 0.0})
  assert line == 'step 20/100  loss 1.5  10 images/s  32s left  25.0% waiting for input'
  now[0] += 1
  assert 'SKIPPED 2 steps: loss not finite  4 images/s' in progress.line(21, {'skipped': 2.0})


@pytest.mark.parametrize(
  'seconds, text', [(0.4, '0s'), (59.6, '1m00s'), (3_900, '1h05m'), (93_700, '1d02h')]
)
def test_duration(seconds, text):
  assert duration(seconds) == text


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr('sg2im_jax.runtime.hosts.is_first', lambda: False)
  with TrainingLog(tmp_path, 0) as log:
    log.write(1, 'train', {'loss': 1.0})
    log.write_image(1, 'val/scenes', np.zeros((4, 4, 3), np.uint8))
  assert not list(tmp_path.iterdir())


def test_a_log_continues_where_its_checkpoint_was(tmp_path):
  with TrainingLog(tmp_path, 0) as log:
    for step in (1, 2, 3):
      log.write(step, 'train', {'loss': step / 3})
    log.write(2, 'val', {'box_iou': float('nan')})
    log.write_image(2, 'val/scenes', np.zeros((4, 4, 3), np.uint8))
  path = tmp_path / 'metrics.jsonl'
  with path.open('a') as file:
    file.write('{"step": 4, "spl')
  with TrainingLog(tmp_path, 2) as log:
    log.write(3, 'train', {'loss': 7.0})
  assert [json.loads(line) for line in path.read_text().splitlines()] == [
    {'step': 1, 'split': 'train', 'loss': 1 / 3},
    {'step': 2, 'split': 'train', 'loss': 2 / 3},
    {'step': 2, 'split': 'val', 'box_iou': None},
    {'step': 3, 'split': 'train', 'loss': 7.0},
  ]

"""The log of a training: its line of progress, metrics.jsonl and TensorBoard."""

import contextlib
import json
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from data_pipelines import atomic_files
from data_pipelines.command_line import duration
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax import losses, token_losses
from sg2im_jax.runtime import hosts

_LABELS = {**losses.PROGRESS_LABELS, **token_losses.PROGRESS_LABELS}


class Progress:
  """Times the training steps; compiling, validation and checkpoints do not count."""

  def __init__(
    self, num_steps: int, batch_size: int, step: int, clock: Callable[[], float] = time.perf_counter
  ):
    """Starts the clock.

    Args:
      num_steps: of the whole run.
      batch_size: images a step.
      step: done already.
      clock: in seconds.
    """
    self._num_steps, self._batch_size, self._clock = num_steps, batch_size, clock
    self._start_window(step)

  @contextlib.contextmanager
  def waiting_for_input(self) -> Iterator[None]:
    """A context whose time counts as waiting for input."""
    start = self._clock()
    yield
    self._waited += self._clock() - start

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """A context whose time does not count."""
    start = self._clock()
    yield
    self._start += self._clock() - start

  def line(self, step: int, values: Mapping[str, float]) -> str:
    """A line about the steps since the last one; the arrays of `step` must be computed."""
    seconds = max(self._clock() - self._start, 1e-9)
    num_steps = step - self._first
    left = (self._num_steps - step) * seconds / max(num_steps, 1)
    shown = '  '.join(
      f'{label} {values[name]:.4g}' for name, label in _LABELS.items() if name in values
    )
    skipped = (
      f'  SKIPPED {values["skipped"]:.0f} steps: loss not finite' if values.get('skipped') else ''
    )
    text = (
      f'step {step}/{self._num_steps}  {shown}{skipped}  '
      f'{num_steps * self._batch_size / seconds:.3g} images/s  '
      f'{duration(left)} left  {self._waited / seconds:.1%} waiting for input'
    )
    self._start_window(step)
    return text

  def _start_window(self, step: int):
    self._first, self._start, self._waited = step, self._clock(), 0.0


class TrainingLog:
  """WORKDIR/metrics.jsonl, a JSON object a line, and WORKDIR/tensorboard/.

  Only the first process writes.
  """

  def __init__(self, workdir: str | os.PathLike, step: int):
    """Opens the log of a run that continues after `step`; drops the records of later steps."""
    self._workdir = workdir
    self._enabled = hosts.is_first()
    if not self._enabled:
      return
    path = pathlib.Path(workdir) / 'metrics.jsonl'
    try:
      kept = [line for line in _complete_lines(path) if json.loads(line)['step'] <= step]
      atomic_files.write(path, ''.join(kept).encode())
      self._file = path.open('a')
      self._tensorboard = tf.summary.create_file_writer(str(path.with_name('tensorboard')))
    except OSError as error:
      raise UserError(f'cannot write {path}: {error.strerror}') from error

  def write(self, step: int, split: str, values: Mapping[str, float]):
    """Writes a record; a value that is not finite is null in metrics.jsonl, as JSON has none."""
    if not self._enabled:
      return
    record = {'step': step, 'split': split}
    record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
    with self._writing():
      self._file.write(json.dumps(record) + '\n')
      self._file.flush()
      with self._tensorboard.as_default(step):
        for name, value in values.items():
          tf.summary.scalar(f'{split}/{name}', value)

  def write_image(self, step: int, name: str, image: np.ndarray):
    """image: uint8[height, width, 3]."""
    if not self._enabled:
      return
    with self._writing():
      with self._tensorboard.as_default(step):
        tf.summary.image(name, image[None])

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # OSError from the file, TensorFlow's own errors from the other
      raise UserError(
        f'cannot write the logs in {self._workdir}: {str(error).split("[Op:")[0]}; free space and '
        'run '
        'the same command to continue from the newest checkpoint'
      ) from error

  def __enter__(self) -> 'TrainingLog':
    return self

  def __exit__(self, exception_type, *_):
    if not self._enabled:
      return
    try:
      with self._writing():
        self._file.close()
        self._tensorboard.close()
    except UserError:
      if exception_type is None:  # else what ends the run is already on its way to the user
        raise


def _complete_lines(path: pathlib.Path) -> Iterator[str]:
  """The lines that are whole: a killed run may have left a torn one at the end."""
  if path.exists():
    for line in path.read_text(errors='replace').splitlines(keepends=True):
      with contextlib.suppress(ValueError):
        json.loads(line)
        if line.endswith('\n'):
          yield line

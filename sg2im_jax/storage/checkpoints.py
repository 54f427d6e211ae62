"""Saving and restoring of the training state; the only file that knows orbax.

A checkpoint WORKDIR/checkpoints/<step>/ has two items: `generator`, the parameters and batch
statistics that sampling needs, and `training`, everything else of the TrainState.

The processes of a job save and restore together, all on one work directory. What is decided about
checkpoints (which can be read, which is the best) the first of them decides for all.
"""

import contextlib
import functools
import math
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.evaluation.metrics import HIGHER_IS_BETTER
from sg2im_jax.runtime import hosts
from sg2im_jax.storage import quiet_orbax, work_directory
from sg2im_jax.training.state import NetworkState, TrainState

quiet_orbax.enable()


class Checkpoints:
  """The checkpoints of a training run: written in the background, the newest `keep` and the best
  one are kept.
  """

  def __init__(self, workdir: str | os.PathLike, keep: int, best_metric: str = 'box_iou'):
    """Opens those that are there.

    Args:
      workdir: of the training run.
      keep: how many of the newest to keep.
      best_metric: which of HIGHER_IS_BETTER tells the best one.
    """
    self.directory = _directory(workdir)
    self._quality = functools.partial(_quality, best_metric)
    self._set_aside(
      lambda: [step for step in steps(workdir) if not _metrics_readable(self.directory / str(step))]
    )
    policies = ocp.checkpoint_managers
    self._manager = ocp.CheckpointManager(
      self.directory,
      options=ocp.CheckpointManagerOptions(
        best_fn=self._quality,
        preservation_policy=policies.AnyPreservationPolicy(
          [
            policies.LatestN(keep),
            policies.BestN(
              get_metric_fn=self._quality, n=1, keep_checkpoints_without_metrics=False
            ),
          ]
        ),
        cleanup_tmp_directories=True,
      ),
    )

  def save(self, state: TrainState, metrics: dict[str, float] | None = None):
    """Starts to write the state; returns when its arrays may be donated.

    Args:
      state: what to save; its step names the checkpoint, and nothing happens if there is one
      already.
      metrics: validation metrics of this very state; without any it cannot become the best
      checkpoint.
    """
    step = int(state.step)
    if step in self._manager.all_steps():
      return
    generator, training = _items(state)
    self._guard(
      lambda: self._manager.save(
        step,
        metrics=metrics,
        args=ocp.args.Composite(
          generator=ocp.args.StandardSave(generator), training=ocp.args.StandardSave(training)
        ),
      )
    )

  def is_best(self, metrics: dict[str, float]) -> bool:
    """Whether a state with these metrics is better than every saved one."""

    def is_better() -> bool:
      best_step = self._manager.best_step()
      saved = None if best_step is None else self._manager.metrics(best_step)
      return saved is None or self._quality(metrics) > self._quality(saved)

    return bool(hosts.largest(hosts.is_first() and is_better()))

  def restore_latest(self, abstract_state: TrainState) -> TrainState | None:
    """The newest readable checkpoint, None if there is no checkpoint.

    Unreadable ones are renamed to <step>.unreadable, so that their step can be saved again.

    Args:
      abstract_state: ShapeDtypeStructs (or arrays) with the shardings that the restored arrays
      shall have.
    """
    generator, training = _items(abstract_state)
    args = ocp.args.Composite(
      generator=ocp.args.StandardRestore(generator), training=ocp.args.StandardRestore(training)
    )

    def restore(step: int) -> TrainState:
      problem = _problem(self.directory / str(step)) if hosts.is_first() else None
      if hosts.largest(problem is not None):
        raise problem or ValueError('the first process cannot read it')
      restored = self._manager.restore(step, args=args)
      return _join(restored['generator'], restored['training'])

    found = steps(self.directory.parent)
    if not found:
      return None
    step, state = _newest_readable(self.directory.parent, found, restore)
    self._set_aside(lambda: found[found.index(step) + 1 :])
    self._manager.reload()
    return state

  def check(self):
    """Raises UserError if a save that was under way has failed."""
    self._guard(self._manager.check_for_errors)

  def wait(self):
    """Returns when the last save is complete; UserError if it failed."""
    self._guard(self._manager.wait_until_finished)
    self.check()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, exception_type, *_):
    if exception_type is None:
      self._guard(self._manager.close)
    else:
      with contextlib.suppress(Exception):  # what ends the run is already on its way to the user
        self._manager.close()

  def _guard(self, write):
    try:
      write()
    except (
      Exception
    ) as error:  # orbax passes on whatever its threads met: OSError, ValueError, ExceptionGroup
      complete = ', '.join(str(step) for step in steps(self.directory.parent)) or 'none'
      raise UserError(
        f'cannot write a checkpoint to {self.directory}: {_brief(error)}; complete ones: '
        f'{complete}; '
        'free space and run the same command to continue from the newest'
      ) from error

  def _set_aside(self, choose: Callable[[], list[int]]):
    """Renames the checkpoints that the first process chooses."""
    for step in choose() if hosts.is_first() else ():
      target = self.directory / f'{step}.unreadable'
      number = 1
      while target.exists():
        number += 1
        target = self.directory / f'{step}.unreadable-{number}'
      (self.directory / str(step)).rename(target)
      print(f'the checkpoint of step {step} cannot be read; it is now {target}', file=sys.stderr)
    hosts.barrier('unreadable checkpoints are set aside')


def steps(workdir: str | os.PathLike) -> list[int]:
  """The steps of the complete checkpoints of a work directory, ascending."""
  directory = _directory(workdir)
  return sorted(ocp.utils.checkpoint_steps(directory)) if directory.is_dir() else []


def load_generator(
  workdir: str | os.PathLike, step: int | None = None
) -> tuple[ConfigDict, Vocabulary, Any, int]:
  """What sampling needs of a work directory.

  Args:
    workdir: as given to train.
    step: which checkpoint; None for the newest readable one.

  Returns:
    The config, the vocabulary, the generator's variables {'params': ..., 'batch_stats': ...} as
    NumPy arrays, and the step that they were saved at.
  """
  config, vocabulary = work_directory.load_config(workdir), work_directory.load_vocabulary(workdir)
  found = steps(workdir)
  if not found:
    raise UserError(
      f'{workdir} has no checkpoint yet; train longer: '
      f'python -m sg2im_jax.train --config=configs/storybook.py --workdir={workdir}'
    )
  if step is not None and step not in found:
    raise UserError(
      f'{workdir} has no checkpoint of step {step}; there are {", ".join(map(str, found))}'
    )

  def restore(step: int) -> Any:
    directory = _directory(workdir) / str(step) / 'generator'
    _check_readable(directory)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
      # NumPy, for the devices that the arrays were saved from need not exist here.
      tree = checkpointer.metadata(directory).item_metadata.tree
      restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
      return checkpointer.restore(directory, args=ocp.args.PyTreeRestore(restore_args=restore_args))

  step, variables = _newest_readable(workdir, found if step is None else [step], restore)
  return config, vocabulary, variables, step


def _newest_readable(workdir, found: list[int], restore) -> tuple[int, Any]:
  """(step, restore(step)) for the newest step that can be restored; what had to be passed over is
  said on stderr.
  """
  for step in reversed(found):
    try:
      return step, restore(step)
    except (
      Exception
    ) as error:  # whatever orbax, tensorstore or the JSON reader make of a damaged file
      problem = f'the checkpoint of step {step} in {workdir} is damaged ({_brief(error)})'
      if step == found[0]:
        raise UserError(
          f'{problem} and there is no older one; restore it from a copy, or train into another '
          '--workdir'
        ) from error
      if hosts.is_first():
        print(f'warning: {problem}; going back to the one before it', file=sys.stderr)


def _problem(checkpoint: pathlib.Path) -> Exception | None:
  """What is met when the arrays of a checkpoint are read."""
  try:
    for item in ('generator', 'training'):
      _check_readable(checkpoint / item)
  except Exception as error:  # whatever tensorstore makes of a damaged file
    return error
  return None


def _check_readable(directory: pathlib.Path):
  """Reads every stored byte, and so raises here what would surface in orbax's threads, with a stack
  trace for each.
  """
  base = {'driver': 'file', 'path': f'{directory}/'}
  store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
  keys = store.list().result()
  if not keys:
    raise ValueError(f'no arrays in {directory.name}')
  for key in keys:
    store.read(key).result()


def _metrics_readable(checkpoint: pathlib.Path) -> bool:
  try:
    ocp.Checkpointer(ocp.JsonCheckpointHandler(filename='metrics')).restore(checkpoint / 'metrics')
  except FileNotFoundError:
    return True  # saved without
  except ValueError:
    return False
  return True


def _items(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
  generator = {'params': state.generator.params, 'batch_stats': state.generator.batch_stats}
  training = {
    'step': state.step,
    'generator_opt_state': state.generator.opt_state,
    'image_discriminator': state.image_discriminator,
    'object_discriminator': state.object_discriminator,
  }
  return generator, training


def _join(generator: dict[str, Any], training: dict[str, Any]) -> TrainState:
  return TrainState(
    step=training['step'],
    generator=NetworkState(opt_state=training['generator_opt_state'], **generator),
    image_discriminator=training['image_discriminator'],
    object_discriminator=training['object_discriminator'],
  )


def _quality(best_metric: str, metrics: dict[str, float]) -> float:
  """More is better; what validation could not score, or did not when that checkpoint was saved, is
  no best.
  """
  value = metrics.get(best_metric, float('nan'))
  return (
    (value if HIGHER_IS_BETTER[best_metric] else -value) if math.isfinite(value) else float('-inf')
  )


def _directory(workdir: str | os.PathLike) -> pathlib.Path:
  return pathlib.Path(os.path.abspath(workdir)) / 'checkpoints'  # orbax wants absolute paths


def _brief(error: BaseException) -> str:
  while isinstance(error, BaseExceptionGroup):
    error = error.exceptions[0]
  text = f'{type(error).__name__}: {error}'.split('\n')[0].split(' [tensorstore_spec')[0]
  return text if len(text) < 200 else f'{text[:60]} ... {text[-120:]}'

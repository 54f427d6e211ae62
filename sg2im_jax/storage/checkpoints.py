"""Saving and restoring of the training state; the only file that knows orbax.

A checkpoint WORKDIR/checkpoints/<step>/ has two items: `generator`, the parameters and batch
statistics that sampling needs, and `training`, everything else. `training.state` makes them.

The processes of a job save and restore together, all on one work directory. The first one decides
for all which checkpoints can be read and which is the best.
"""

import contextlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from etils import epath

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import hosts, reporting

Restored = TypeVar('Restored')

_READ_AT_ONCE = 64  # arrays of a checkpoint
_STATUSES_OF_DAMAGE = (
  'DATA_LOSS',
  'FAILED_PRECONDITION',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'OUT_OF_RANGE',
)


class Checkpoint(NamedTuple):
  """A restored checkpoint.

  Attributes:
    step: that it was saved at.
    tree: its arrays.
    damaged: newer steps whose checkpoints cannot be read.
  """

  step: int
  tree: Any
  damaged: tuple[int, ...]


class CheckpointWriter:
  """Writes checkpoints in the background; keeps the newest ones and the best one."""

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    keep: int,
    quality: Callable[[Mapping[str, float]], float],
    damaged: Sequence[int] = (),
  ):
    """Opens the directory of checkpoints, which is made if it is missing.

    Checkpoints that cannot be read are renamed to <step>.unreadable, so that their steps can be
    saved again.

    Args:
      workdir: of the training run.
      keep: number of newest checkpoints to keep.
      quality: of the validation metrics of a checkpoint; the best one has the highest.
      damaged: steps of checkpoints that cannot be read, see `restore_newest`.
    """
    self.directory = _directory(workdir)
    self._quality = quality
    if hosts.is_first():
      without_metrics = [
        step for step in steps(workdir) if not _metrics_readable(self.directory / str(step))
      ]
      for step in dict.fromkeys((*damaged, *without_metrics)):
        _set_aside(self.directory, step)
    hosts.barrier('unreadable checkpoints are set aside')
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

  def save(self, step: int, items: Mapping[str, Any], metrics: Mapping[str, float] | None = None):
    """Starts to write a checkpoint; returns when its arrays may be donated.

    Args:
      step: which names the checkpoint; a step is not saved twice.
      items: trees of arrays: `generator` and `training`.
      metrics: validation metrics of this state; without them it cannot become the best checkpoint.
    """
    if step in self._manager.all_steps():
      return
    self._guard(
      lambda: self._manager.save(
        step,
        metrics=metrics,
        args=ocp.args.Composite(
          **{name: ocp.args.StandardSave(item) for name, item in items.items()}
        ),
      )
    )

  def is_best(self, metrics: Mapping[str, float]) -> bool:
    """Whether a state with these metrics is better than every saved one."""

    def is_better() -> bool:
      best_step = self._manager.best_step()
      saved = None if best_step is None else self._manager.metrics(best_step)
      return saved is None or self._quality(metrics) > self._quality(saved)

    return bool(hosts.largest(hosts.is_first() and is_better()))

  def check(self):
    """Raises UserError if a save in the background has failed."""
    self._guard(self._manager.check_for_errors)

  def wait(self):
    """Returns when the last save is complete; UserError if it failed."""
    self._guard(self._manager.wait_until_finished)
    self.check()

  def __enter__(self) -> 'CheckpointWriter':
    return self

  def __exit__(self, exception_type, *_):
    if exception_type is None:
      self._guard(self._manager.close)
    else:
      with contextlib.suppress(Exception):  # the exception that ends the run is raised already
        self._manager.close()

  def _guard(self, write: Callable[[], Any]):
    try:
      write()
    except Exception as error:  # what orbax's threads met: OSError, ValueError, ExceptionGroup
      complete = ', '.join(str(step) for step in steps(self.directory.parent)) or 'none'
      raise UserError(
        f'cannot write a checkpoint to {self.directory}: {_brief(error)}; complete ones: '
        f'{complete}; free space and run the same command to continue from the newest'
      ) from error


def steps(workdir: str | os.PathLike) -> list[int]:
  """The steps of the complete checkpoints of a work directory, ascending."""
  directory = _directory(workdir)
  return sorted(ocp.utils.checkpoint_steps(directory)) if directory.is_dir() else []


def restore_newest(
  workdir: str | os.PathLike, abstract_items: Mapping[str, Any]
) -> Checkpoint | None:
  """The newest readable checkpoint, its tree the items by name; None if there is no checkpoint.

  Nothing on the disk changes.

  Args:
    workdir: of the training run.
    abstract_items: like the saved ones, with ShapeDtypeStructs (or arrays) that have the shardings
      of the restored arrays.

  Raises:
    UserError: no checkpoint has one of the items, or none can be read.
  """
  found = steps(workdir)
  if not found:
    return None
  for name in abstract_items:
    if not any((_directory(workdir) / str(step) / name).is_dir() for step in found):
      raise UserError(
        f'the checkpoints in {workdir} have no {name} state: they can be sampled, not trained on; '
        'train into another work directory'
      )

  def restore(step: int) -> dict[str, Any]:
    directory = _directory(workdir) / str(step)
    problem = _problem(directory, abstract_items) if hosts.is_first() else None
    if hosts.largest(problem is not None):
      raise problem or ValueError('the first process cannot read it')
    return {name: _restore(directory / name, item) for name, item in abstract_items.items()}

  return _newest_readable(workdir, found, restore)


def load_generator(workdir: str | os.PathLike, step: int | None = None) -> Checkpoint:
  """The generator of a checkpoint: {'params': ..., 'batch_stats': ...} as NumPy arrays.

  Args:
    workdir: of a training run.
    step: of the checkpoint; None for the newest readable one.

  Raises:
    UserError: there is no such checkpoint, or none that can be read.
  """
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
    handler = ocp.PyTreeCheckpointHandler()
    try:
      # NumPy, because the devices that the arrays were saved from need not exist here.
      restore_args = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        handler.metadata(epath.Path(directory)).tree,
      )
      return handler.restore(
        epath.Path(directory), args=ocp.args.PyTreeRestore(restore_args=restore_args)
      )
    finally:
      handler.close()

  return _newest_readable(workdir, found if step is None else [step], restore)


def _restore(directory: pathlib.Path, abstract: Any) -> Any:
  handler = ocp.StandardCheckpointHandler()
  try:
    return handler.restore(epath.Path(directory), args=ocp.args.StandardRestore(abstract))
  finally:
    handler.close()


def _newest_readable(
  workdir: str | os.PathLike, found: Sequence[int], restore: Callable[[int], Any]
) -> Checkpoint:
  """The newest of the steps that can be restored; each that cannot is reported."""
  damaged = []
  for step in reversed(found):
    try:
      return Checkpoint(step, restore(step), tuple(damaged))
    except Exception as error:  # whatever orbax, tensorstore or the JSON reader raise
      if not _is_damage(error):
        raise UserError(
          f'the checkpoint of step {step} in {workdir} cannot be read ({_brief(error)}); nothing '
          'was changed: mend that and run the same command'
        ) from error
      problem = f'the checkpoint of step {step} in {workdir} is damaged ({_brief(error)})'
      if step == found[0]:
        raise UserError(
          f'{problem} and there is no older one; restore it from a copy, or train into another '
          'work directory'
        ) from error
      reporting.warning(f'{problem}; going back to the one before it')
      damaged.append(step)
  raise AssertionError('found is empty')


def _is_damage(error: BaseException) -> bool:
  """Whether stored bytes are missing or cannot be decoded, in contrast to bytes that cannot be read
  at the moment: for want of a permission, of memory, of a mount.
  """
  error = _first(error)
  if isinstance(error, UnicodeEncodeError):  # a path, in a locale that cannot spell it
    return False
  if not isinstance(error, (ValueError, LookupError, EOFError, FileNotFoundError)):
    return False
  # tensorstore's errors are ValueErrors that begin with the name of a status.
  status = re.match(r'[A-Z]+(_[A-Z]+)*(?=: )', str(error))
  return status is None or status[0] in _STATUSES_OF_DAMAGE


def _set_aside(directory: pathlib.Path, step: int):
  """Renames a checkpoint that cannot be read."""
  target = directory / f'{step}.unreadable'
  number = 1
  while target.exists():
    number += 1
    target = directory / f'{step}.unreadable-{number}'
  (directory / str(step)).rename(target)
  reporting.warning(f'the checkpoint of step {step} cannot be read; it is now {target}')


def _problem(checkpoint: pathlib.Path, items: Iterable[str]) -> Exception | None:
  """The error that reading the arrays of a checkpoint raises."""
  try:
    for item in items:
      _check_readable(checkpoint / item)
  except Exception as error:  # whatever tensorstore raises for a damaged file
    return error
  return None


def _check_readable(directory: pathlib.Path):
  """Reads every stored byte, so that errors are raised here and not in orbax's threads, which print
  a stack trace for each.
  """
  base = {'driver': 'file', 'path': f'{directory}/'}
  store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
  keys = store.list().result()
  if not keys:
    raise ValueError(f'no arrays in {directory.name}')
  for start in range(0, len(keys), _READ_AT_ONCE):
    for read in [store.read(key) for key in keys[start : start + _READ_AT_ONCE]]:
      read.result()


def _metrics_readable(checkpoint: pathlib.Path) -> bool:
  try:
    # Not through a Checkpointer, which is a collective: the first process alone comes here.
    json.loads((checkpoint / 'metrics' / 'metrics').read_text())
  except FileNotFoundError:
    return True  # saved without
  except ValueError:
    return False
  return True


def _directory(workdir: str | os.PathLike) -> pathlib.Path:
  """Raises UserError if tensorstore, which knows UTF-8 alone, would take another path for it."""
  path = os.path.abspath(workdir)  # as orbax wants it
  if os.fsencode(path) != path.encode('utf-8', 'replace'):
    raise UserError(
      f'{workdir}: the path has letters beyond ASCII, which this locale does not spell in UTF-8, '
      f'as checkpoints need, but in {sys.getfilesystemencoding()}; set PYTHONUTF8=1 or '
      'LC_ALL=C.UTF-8, or choose another directory'
    )
  return pathlib.Path(path) / 'checkpoints'


def _first(error: BaseException) -> BaseException:
  """The error itself, or the first one of a group."""
  while isinstance(error, BaseExceptionGroup):
    error = error.exceptions[0]
  return error


def _brief(error: BaseException) -> str:
  error = _first(error)
  text = f'{type(error).__name__}: {error}'.split('\n')[0].split(' [tensorstore_spec')[0]
  return text if len(text) < 200 else f'{text[:60]} ... {text[-120:]}'

"""The programs of a training: its first state, and several steps as one, with their batches."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sg2im_jax.runtime import reporting, sharding
from sg2im_jax.runtime.program_cache import CachedProgram
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.training.build import State, Training
from sg2im_jax.training.state import Metrics

Steps = Callable[[State, SceneBatch], tuple[State, Metrics]]


def device_batches(
  batches: Iterator[Mapping[str, np.ndarray]], steps_per_dispatch: int, mesh: Mesh
) -> Iterator[SceneBatch]:
  """The input of each dispatch, being copied to the devices.

  Args:
    batches: this process' rows of the batch of each step.
    steps_per_dispatch: K.
    mesh: over which the global batches, of B images from all processes, are sharded.

  Yields:
    Arrays [B, ...] for one step a dispatch, [K, B, ...] for several.
  """
  for batch in batches:
    if steps_per_dispatch == 1:
      yield sharding.assemble(SceneBatch(**batch), sharding.batch_sharding(mesh))
    else:
      several = [batch, *(next(batches) for _ in range(steps_per_dispatch - 1))]
      stacked = {name: np.stack([each[name] for each in several]) for name in batch}
      yield sharding.assemble(SceneBatch(**stacked), sharding.stacked_batch_sharding(mesh))


def init_program(training: Training, mesh: Mesh) -> CachedProgram:
  """The program without arguments that makes the first state, replicated over the mesh."""
  devices = list(mesh.devices.flat)
  # It runs once: half of the time to compile, for the same numbers.
  options = {'xla_backend_optimization_level': 1} if devices[0].platform == 'cpu' else None
  return CachedProgram(
    training.init,
    closes_over=_closed_over(training),
    devices=devices,
    jit={'out_shardings': sharding.replicated(mesh)},
    compiler_options=options,
  )


def _closed_over(training: Training) -> str:
  return f'{training.settings} {training.networks}'


def compile_steps(
  training: Training,
  state: State,
  batch: SceneBatch,
  mesh: Mesh,
  *,
  batch_norm_frozen: bool,
) -> Future[Steps]:
  """Starts to load or to compile the steps of a dispatch; their state argument is donated.

  The metrics are those of the last step, except `skipped`, which is summed over all steps.

  Args:
    training: whose steps they are.
    state: arrays, or ShapeDtypeStructs with shardings.
    batch: the same, of a dispatch.
    mesh: over which batches are sharded.
    batch_norm_frozen: see `train_step`.
  """
  settings = training.settings
  train_step: Any = training.train_step  # of the family whose state this is

  def keyed_step(state: State, batch: SceneBatch) -> tuple[State, Metrics]:
    # The noise is a function of the seed and the step, so that an interrupted run continues with
    # the noise that it would have had.
    key = jax.random.fold_in(jax.random.key(settings.seed), state.step)
    return train_step(state, batch, key, batch_norm_frozen=batch_norm_frozen)

  def several_steps(state: State, batches: SceneBatch) -> tuple[State, Metrics]:
    state, metrics = jax.lax.scan(keyed_step, state, batches)
    return state, {
      name: values.sum() if name == 'skipped' else values[-1] for name, values in metrics.items()
    }

  if settings.steps_per_dispatch > 1 and mesh.devices.flat[0].platform == 'cpu':
    reporting.warning(
      f'steps_per_dispatch is {settings.steps_per_dispatch}: on CPUs XLA is many times slower at '
      'convolutions in a loop of steps; set it to 1'
    )
  steps = keyed_step if settings.steps_per_dispatch == 1 else several_steps
  return CachedProgram(
    steps,
    state,
    batch,
    closes_over=f'{_closed_over(training)} {batch_norm_frozen}',
    devices=list(mesh.devices.flat),
    jit={'donate_argnums': 0, 'out_shardings': sharding.replicated(mesh)},
    name='the training step',
  ).in_background()

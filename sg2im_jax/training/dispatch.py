"""What the devices are given at a time: config.steps_per_dispatch training steps as one program,
and their batches.
"""

import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.runtime import hosts, sharding
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.training.state import TrainState
from sg2im_jax.training.step import Metrics, make_train_step

# Steps at which the host does something, so that a dispatch must end there.
_BOUNDARIES = (
  'num_steps',
  'log_every',
  'eval_every',
  'image_grid_every',
  'checkpoint_every',
  'freeze_batch_norm_after',
)


def check_boundaries(config: ConfigDict):
  """UserError if the host would have something to do in the middle of a dispatch."""
  for name in _BOUNDARIES:
    if config[name] % config.steps_per_dispatch:
      raise UserError(
        f'config.{name} is {config[name]}, expected a multiple of config.steps_per_dispatch, '
        f'{config.steps_per_dispatch}; change one of them'
      )


def device_batches(
  batches: Iterator[Mapping[str, np.ndarray]], steps_per_dispatch: int, mesh: Mesh
) -> Iterator[SceneBatch]:
  """What each dispatch needs, on its way to the devices: arrays [B, ...], or [K, B, ...] for K > 1
  steps.

  Args:
    batches: this process' rows of the batch of each step.
    steps_per_dispatch: K.
    mesh: where the global arrays, of B images over all processes, go.
  """
  for batch in batches:
    if steps_per_dispatch == 1:
      yield sharding.assemble(SceneBatch(**batch), sharding.batch_sharding(mesh))
    else:
      several = [batch, *(next(batches) for _ in range(steps_per_dispatch - 1))]
      stacked = {name: np.stack([each[name] for each in several]) for name in batch}
      yield sharding.assemble(SceneBatch(**stacked), sharding.stacked_batch_sharding(mesh))


def compile_steps(
  config: ConfigDict,
  vocabulary: Vocabulary,
  state: TrainState,
  batch: SceneBatch,
  mesh: Mesh,
  *,
  batch_norm_frozen: bool,
) -> Callable[[TrainState, SceneBatch], tuple[TrainState, Metrics]]:
  """The steps of a dispatch, for arrays like these; they take over the memory of their state.

  The metrics are those of the last step, but for `skipped`, which is of all.
  """
  train_step = make_train_step(config, vocabulary, batch_norm_frozen=batch_norm_frozen)

  def keyed_step(state: TrainState, batch: SceneBatch) -> tuple[TrainState, Metrics]:
    # A function of the step alone, so that a run that was interrupted draws what it would have
    # drawn.
    return train_step(state, batch, jax.random.fold_in(jax.random.key(config.seed), state.step))

  def several_steps(state: TrainState, batches: SceneBatch) -> tuple[TrainState, Metrics]:
    state, metrics = jax.lax.scan(keyed_step, state, batches)
    return state, {
      name: values.sum() if name == 'skipped' else values[-1] for name, values in metrics.items()
    }

  hosts.say('compiling the training step...')
  start = time.perf_counter()
  steps = keyed_step if config.steps_per_dispatch == 1 else several_steps
  compiled = (
    jax.jit(steps, donate_argnums=0, out_shardings=sharding.replicated(mesh))
    .lower(state, batch)
    .compile()
  )
  hosts.say(f'compiled in {time.perf_counter() - start:.0f} s')
  return compiled

"""Trains a model, from the newest checkpoint of the work directory if there is one.

  python -m sg2im_jax.train --config=configs/storybook.py --workdir=runs/storybook

--config names one of the files in configs/, which say what data and how much time they need. Every setting in it can be
overridden by its dotted name; configs/coco64.py lists and explains all of them:

  --config.batch_size=16 --config.num_steps=10000 --config.optimizer.learning_rate=2e-4
  --config.data.source_dir=datasets/coco --config.data.image_size=128,128

The data set is prepared first if it has not been. What is written:

  WORKDIR/checkpoints/STEP/    the newest ones and the best; `python -m sg2im_jax.sample` draws with them
  WORKDIR/metrics.jsonl        losses, validation losses and box IoU
  WORKDIR/tensorboard/         the same as curves, and pictures of validation scenes
  WORKDIR/config.json, vocabulary.json

Ctrl-C and SIGTERM save and leave, with exit status 130 and 143; a second Ctrl-C leaves at once. The same command goes
on from there, with the very next batch.
"""

import functools
import time
from collections.abc import Callable, Sequence

import jax
from absl import flags
from ml_collections import ConfigDict

from data_pipelines import input_pipeline
from data_pipelines.scene_graph import UserError
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import checkpoints, command_line, compilation_cache, config_flag, sharding, work_directory
from sg2im_jax.progress import Progress, TrainingLog
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.stop_request import StopRequest
from sg2im_jax.train_state import TrainState, create_train_state, restart_generator_optimizer
from sg2im_jax.train_step import make_train_step
from sg2im_jax.validation import Validation

_COUNTS = ('num_steps', 'batch_size', 'log_every', 'eval_every', 'num_eval_examples', 'image_grid_every',
           'checkpoint_every', 'keep_checkpoints')


def train(config: ConfigDict, workdir: str) -> int:
  """Trains to config.num_steps, from the newest checkpoint in `workdir` if there is one; returns the exit status."""
  _check_counts(config)
  mesh = sharding.make_mesh()
  if config.batch_size % mesh.size:
    raise UserError(f'batch_size {config.batch_size} cannot be split evenly over {mesh.size} devices; '
                    f'use a multiple, such as --config.batch_size={-(-config.batch_size // mesh.size) * mesh.size}')
  has_checkpoint = bool(checkpoints.steps(workdir))
  if has_checkpoint:
    changed = work_directory.check_same_model(workdir, config)
    if changed:
      print(f'continuing with other settings: {work_directory.describe_changes(changed)}')
  builder = input_pipeline.prepare(config.data)
  if has_checkpoint:
    vocabulary = work_directory.load_vocabulary(workdir)
  else:
    vocabulary = input_pipeline.stored_vocabulary(builder)
    work_directory.save_vocabulary(workdir, vocabulary)
  work_directory.save_config(workdir, config)
  _say(f'{config.data.name}: {input_pipeline.num_examples(builder, "train")} scenes to train on, '
       f'{input_pipeline.num_examples(builder, "val")} to validate; {vocabulary.num_objects} object and '
       f'{vocabulary.num_predicates} predicate names')

  with checkpoints.Checkpoints(workdir, config.keep_checkpoints) as saved:
    state = _initial_state(config, vocabulary, mesh, saved)
    first = int(state.step)
    _describe(state, config, mesh, workdir)
    if first >= config.num_steps:
      _say(f'nothing to do: {workdir} is at step {first} of {config.num_steps}; raise --config.num_steps to train on')
      return 0
    batches = input_pipeline.training_batches(
        builder, config.data, vocabulary, batch_size=config.batch_size, seed=config.seed, first_step=first)
    validation = Validation(config, vocabulary, builder, mesh)
    with TrainingLog(workdir, first) as log, StopRequest() as stop:
      return _loop(config, vocabulary, state, batches, mesh, validation, saved, log, stop)


def _loop(config: ConfigDict, vocabulary: Vocabulary, state: TrainState, batches, mesh, validation: Validation,
          saved: checkpoints.Checkpoints, log: TrainingLog, stop: StopRequest) -> int:
  """The steps from state.step to the end, or to a request to stop."""
  def next_batch() -> SceneBatch:
    return jax.device_put(SceneBatch(**next(batches)), sharding.batch_sharding(mesh))

  def due(every: int) -> bool:
    return step % every == 0 or step == config.num_steps

  first, freeze_after = int(state.step), config.freeze_batch_norm_after
  batch = next_batch()
  train_step = _compile(config, vocabulary, state, batch, mesh, batch_norm_frozen=first >= freeze_after)
  progress = Progress(config.num_steps, config.batch_size, first)
  skipped = []
  for step in range(first + 1, config.num_steps + 1):
    if step - 1 == freeze_after:
      with progress.paused():
        state = _restart_generator_optimizer(state, config, mesh)
        if step - 1 > first:
          train_step = _compile(config, vocabulary, state, batch, mesh, batch_norm_frozen=True)
    state, metrics = train_step(state, batch)
    skipped.append(metrics['skipped'])
    if step < config.num_steps and not stop.signal:
      with progress.waiting_for_input():  # while the devices compute
        batch = next_batch()
    if due(config.log_every):
      values = {name: float(value) for name, value in jax.device_get(metrics).items()}
      values['skipped'] = float(sum(jax.device_get(skipped)))
      skipped = []
      log.write(step, 'train', values)
      _say(progress.line(step, values))
      saved.check()
    if stop.signal:
      break
    scores = None
    if due(config.eval_every) or due(config.image_grid_every) or due(config.checkpoint_every):
      jax.block_until_ready(state)  # so that the clock stops where the steps end
      with progress.paused():
        if due(config.eval_every):
          scores = validation.losses(state.generator)
          log.write(step, 'val', scores)
          _say(f'step {step}/{config.num_steps}  validation: ' +
               '  '.join(f'{name} {value:.4g}' for name, value in scores.items()))
        if due(config.image_grid_every):
          log.write_image(step, 'val/scenes', validation.image_grid(state.generator))
        if due(config.checkpoint_every) or (scores and saved.is_best(scores)):
          saved.save(state, scores)
  saved.save(state)
  saved.wait()
  if stop.signal:
    _say(f'stopped at step {step}; run the same command to continue')
  else:
    _say(f'done: step {step}, saved in {saved.directory}')
  return stop.exit_status


def _compile(config: ConfigDict, vocabulary: Vocabulary, state: TrainState, batch: SceneBatch, mesh,
             *, batch_norm_frozen: bool) -> Callable[[TrainState, SceneBatch], tuple[TrainState, dict]]:
  """The training step for arrays like these; it takes over the memory of its state."""
  train_step = make_train_step(config, vocabulary, batch_norm_frozen=batch_norm_frozen)

  def keyed_step(state: TrainState, batch: SceneBatch):
    # A function of the step alone, so that a run that was interrupted draws what it would have drawn.
    return train_step(state, batch, jax.random.fold_in(jax.random.key(config.seed), state.step))

  _say('compiling the training step...')
  start = time.perf_counter()
  jitted = jax.jit(keyed_step, donate_argnums=0, out_shardings=sharding.replicated(mesh))
  compiled = jitted.lower(state, batch).compile()
  _say(f'compiled in {time.perf_counter() - start:.0f} s')
  return compiled


def _initial_state(config: ConfigDict, vocabulary: Vocabulary, mesh, saved: checkpoints.Checkpoints) -> TrainState:
  create = functools.partial(create_train_state, config, vocabulary)
  replicated = sharding.replicated(mesh)
  abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated),
                          jax.eval_shape(create))
  restored = saved.restore_latest(abstract)
  return jax.jit(create, out_shardings=replicated)() if restored is None else restored


def _restart_generator_optimizer(state: TrainState, config: ConfigDict, mesh) -> TrainState:
  _say(f'step {int(state.step)}: the generator\'s batch statistics now stand still, and its optimizer starts afresh')
  restart = functools.partial(restart_generator_optimizer, config=config)
  return jax.jit(restart, donate_argnums=0, out_shardings=sharding.replicated(mesh))(state)


def _describe(state: TrainState, config: ConfigDict, mesh, workdir: str):
  def millions(network) -> str:
    return 'none' if network is None else f'{sum(leaf.size for leaf in jax.tree.leaves(network.params)) / 1e6:.2f} M'

  _say(f'parameters: generator {millions(state.generator)}, image discriminator {millions(state.image_discriminator)}, '
       f'object discriminator {millions(state.object_discriminator)}')
  _say(f'{mesh.size} x {mesh.devices.flat[0].device_kind}, {config.batch_size} images a step; from step '
       f'{int(state.step)} to {config.num_steps}; work directory {workdir}')


def _check_counts(config: ConfigDict):
  for name in _COUNTS:
    if config[name] < 1:
      raise UserError(f'config.{name} is {config[name]}, expected 1 or more')


def _say(text: str):
  print(text, flush=True)


def main(_: Sequence[str]) -> int:
  compilation_cache.enable()
  return train(flags.FLAGS.config, flags.FLAGS.workdir)


if __name__ == '__main__':
  config_flag.define()
  flags.DEFINE_string('workdir', None, 'Where checkpoints and logs are written, and continued.', required=True)
  command_line.run(main)

"""Trains a model, from the newest checkpoint of the work directory if there is one.

  python -m sg2im_jax.train --config=configs/storybook.py --workdir=runs/storybook

--config names one of the files in configs/, which say what data and how much time they need. Every
setting in it can be overridden by its dotted name; configs/coco64.py lists and explains all of
them:

  --config.batch_size=16 --config.num_steps=10000 --config.optimizer.learning_rate=2e-4
  --config.data.source_dir=datasets/coco --config.data.image_size=128,128

The data set is prepared first if it has not been. What is written:

  WORKDIR/checkpoints/STEP/    the newest ones and the best; `python -m sg2im_jax.sample` draws with them
  WORKDIR/metrics.jsonl        losses; of validation: losses, how good boxes are, KID with --config.eval_backbone
  WORKDIR/tensorboard/         the same as curves, and pictures of validation scenes
  WORKDIR/config.json, vocabulary.json

Ctrl-C and SIGTERM save and leave, with exit status 130 and 143; a second Ctrl-C leaves at once. The
same command goes on from there, with the very next batch.

All devices of this machine take part. For those of several machines start the same command once on
each, where SLURM, Open MPI, GKE or a TPU slice names the processes in the environment, with
--multi_host, elsewhere with

  --coordinator_address=FIRST_HOST:8476 --num_processes=2 --process_id=0   (on the other host 1)

The work directory must be on a disk that all of them share. Data sets may be, or each host prepares
its own. The first process prints and writes logs. A signal to any process stops all of them when
the next metrics are printed. When a process dies, the others end with an error of jax.distributed,
at the latest when its heartbeat has been missing for 100 seconds; start all of them again, and they
go on from the newest checkpoint.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.runtime import command_line, compilation, config_flag, hosts, sharding
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training import dispatch
from sg2im_jax.training.log import Progress, TrainingLog
from sg2im_jax.training.state import TrainState, create_train_state, restart_generator_optimizer
from sg2im_jax.training.stop_request import StopRequest
from sg2im_jax.training.validation import Validation, check_best_metric

_COUNTS = (
  'num_steps',
  'batch_size',
  'log_every',
  'eval_every',
  'num_eval_examples',
  'image_grid_every',
  'checkpoint_every',
  'keep_checkpoints',
  'steps_per_dispatch',
)


def train(config: ConfigDict, workdir: str) -> int:
  """Trains to config.num_steps, from the newest checkpoint in `workdir` if there is one; returns
  the exit status.
  """
  _check_counts(config)
  dispatch.check_boundaries(config)
  check_best_metric(config)
  mesh = sharding.make_mesh()
  if config.batch_size % mesh.size:
    raise UserError(
      f'batch_size {config.batch_size} cannot be split evenly over {mesh.size} devices; '
      'use a multiple, such as '
      f'--config.batch_size={-(-config.batch_size // mesh.size) * mesh.size}'
    )
  has_checkpoint = bool(checkpoints.steps(workdir))
  if has_checkpoint:
    changed = work_directory.check_same_model(workdir, config)
    if changed:
      hosts.say(f'continuing with other settings: {work_directory.describe_changes(changed)}')
  builder = hosts.first_alone(lambda: input_pipeline.prepare(config.data))
  if has_checkpoint:
    vocabulary = work_directory.load_vocabulary(workdir)
  else:
    vocabulary = input_pipeline.stored_vocabulary(builder)
  if hosts.is_first():
    work_directory.save_vocabulary(workdir, vocabulary)
    work_directory.save_config(workdir, config)
  hosts.say(
    f'{config.data.name}: {input_pipeline.num_examples(builder, "train")} scenes to train on, '
    f'{input_pipeline.num_examples(builder, "val")} to validate; {vocabulary.num_objects} object '
    'and '
    f'{vocabulary.num_predicates} predicate names'
  )

  with checkpoints.Checkpoints(workdir, config.keep_checkpoints, config.best_metric) as saved:
    state = _initial_state(config, vocabulary, mesh, saved)
    first = int(state.step)
    _describe(state, config, mesh, workdir)
    if first >= config.num_steps:
      hosts.say(
        f'nothing to do: {workdir} is at step {first} of {config.num_steps}; raise '
        '--config.num_steps to '
        'train on'
      )
      return 0
    if first % config.steps_per_dispatch:
      raise UserError(
        f'the newest checkpoint in {workdir} is of step {first}, expected a multiple of '
        f'config.steps_per_dispatch, {config.steps_per_dispatch}; go on with another one'
      )
    batches = input_pipeline.training_batches(
      builder,
      config.data,
      vocabulary,
      batch_size=config.batch_size,
      seed=config.seed,
      first_step=first,
      **hosts.own_shard(),
    )
    batches = dispatch.device_batches(batches, config.steps_per_dispatch, mesh)
    validation = Validation(config, vocabulary, builder, mesh)
    with TrainingLog(workdir, first) as log, StopRequest() as stop:
      return _loop(config, vocabulary, state, batches, mesh, validation, saved, log, stop)


def _loop(
  config: ConfigDict,
  vocabulary: Vocabulary,
  state: TrainState,
  batches: Iterator[SceneBatch],
  mesh: Mesh,
  validation: Validation,
  saved: checkpoints.Checkpoints,
  log: TrainingLog,
  stop: StopRequest,
) -> int:
  """The steps from state.step to the end, or to a request to stop; every process takes the same way
  through it.
  """

  def due(every: int) -> bool:
    return step % every == 0 or step == config.num_steps

  first, stride, freeze_after = (
    int(state.step),
    config.steps_per_dispatch,
    config.freeze_batch_norm_after,
  )
  batch = next(batches)
  train_steps = dispatch.compile_steps(
    config, vocabulary, state, batch, mesh, batch_norm_frozen=first >= freeze_after
  )
  progress = Progress(config.num_steps, config.batch_size, first)
  skipped = []
  for step in range(first + stride, config.num_steps + 1, stride):
    if step - stride == freeze_after:
      with progress.paused():
        state = _restart_generator_optimizer(state, config, mesh)
        if step - stride > first:
          train_steps = dispatch.compile_steps(
            config, vocabulary, state, batch, mesh, batch_norm_frozen=True
          )
    state, metrics = train_steps(state, batch)
    skipped.append(metrics['skipped'])
    if step < config.num_steps:
      with progress.waiting_for_input():  # while the devices compute
        batch = next(batches)
    if due(config.log_every):
      values = {name: float(value) for name, value in jax.device_get(metrics).items()}
      values['skipped'] = float(sum(jax.device_get(skipped)))
      skipped = []
      log.write(step, 'train', values)
      hosts.say(progress.line(step, values))
      saved.check()
    # Several processes agree where the host has waited for the devices anyway.
    if (jax.process_count() == 1 or due(config.log_every)) and stop.agree():
      break
    scores = None
    if due(config.eval_every) or due(config.image_grid_every) or due(config.checkpoint_every):
      jax.block_until_ready(state)  # so that the clock stops where the steps end
      with progress.paused():
        if due(config.eval_every):
          scores = validation.scores(state.generator)
          log.write(step, 'val', scores)
          hosts.say(
            f'step {step}/{config.num_steps}  validation: '
            + '  '.join(f'{name} {value:.4g}' for name, value in scores.items())
          )
        if due(config.image_grid_every):
          log.write_image(step, 'val/scenes', validation.image_grid(state.generator))
        if due(config.checkpoint_every) or (scores and saved.is_best(scores)):
          saved.save(state, scores)
  saved.save(state)
  saved.wait()
  if stop.signal:
    hosts.say(f'stopped at step {step}; run the same command to continue')
  else:
    hosts.say(f'done: step {step}, saved in {saved.directory}')
  return stop.exit_status


def _initial_state(
  config: ConfigDict, vocabulary: Vocabulary, mesh: Mesh, saved: checkpoints.Checkpoints
) -> TrainState:
  create = functools.partial(create_train_state, config, vocabulary)
  replicated = sharding.replicated(mesh)
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated),
    jax.eval_shape(create),
  )
  restored = saved.restore_latest(abstract)
  return jax.jit(create, out_shardings=replicated)() if restored is None else restored


def _restart_generator_optimizer(state: TrainState, config: ConfigDict, mesh: Mesh) -> TrainState:
  hosts.say(
    f"step {int(state.step)}: the generator's batch statistics now stand still, and its optimizer "
    'starts '
    'afresh'
  )
  restart = functools.partial(restart_generator_optimizer, config=config)
  return jax.jit(restart, donate_argnums=0, out_shardings=sharding.replicated(mesh))(state)


def _describe(state: TrainState, config: ConfigDict, mesh: Mesh, workdir: str):
  def millions(network) -> str:
    return (
      'none'
      if network is None
      else f'{sum(leaf.size for leaf in jax.tree.leaves(network.params)) / 1e6:.2f} M'
    )

  hosts.say(
    f'parameters: generator {millions(state.generator)}, image discriminator '
    f'{millions(state.image_discriminator)}, object discriminator '
    f'{millions(state.object_discriminator)}'
  )
  hosts.say(
    f'{mesh.size} x {mesh.devices.flat[0].device_kind}, {config.batch_size} images a step; from '
    'step '
    f'{int(state.step)} to {config.num_steps}; work directory {workdir}'
  )


def _check_counts(config: ConfigDict):
  for name in _COUNTS:
    if config[name] < 1:
      raise UserError(f'config.{name} is {config[name]}, expected 1 or more')


def main(_: Sequence[str]) -> int:
  compilation.configure()
  hosts.initialize()
  return train(flags.FLAGS.config, flags.FLAGS.workdir)


if __name__ == '__main__':
  config_flag.define()
  hosts.define_flags()
  flags.adopt_module_key_flags(hosts)
  flags.DEFINE_string(
    'workdir', None, 'Where checkpoints and logs are written, and continued.', required=True
  )
  command_line.run(main)

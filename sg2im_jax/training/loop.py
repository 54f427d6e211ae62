"""The training loop: from the newest checkpoint of a work directory to the last step."""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

import jax
import tensorflow_datasets as tfds
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipelines import preparation
from data_pipelines.pipeline import input_pipeline, prepared
from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.metrics import best_metric
from sg2im_jax.runtime import hosts, reporting, sharding
from sg2im_jax.runtime.compilation import in_background
from sg2im_jax.sampling import validation_scenes
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training import dispatch
from sg2im_jax.training.build import State, Training, build_training
from sg2im_jax.training.log import Progress, TrainingLog
from sg2im_jax.training.stop_request import StopRequest
from sg2im_jax.training.validation import Validation
from sg2im_jax.training.zero_boxes import ZeroBoxes

_MOST_COUNTED = 3_000  # training scenes whose graphs are counted


class Start(NamedTuple):
  """The state that a training goes on from.

  Attributes:
    step: done already.
    shapes: of the state, as ShapeDtypeStructs that are replicated over the mesh.
    state: returns it; of a fresh run, once its program is compiled.
    damaged: steps of newer checkpoints, which cannot be read.
  """

  step: int
  shapes: State
  state: Callable[[], State]
  damaged: tuple[int, ...]


class Run(NamedTuple):
  """A training whose every part has been checked, before anything is written.

  Attributes:
    training: networks, optimizer and losses.
    start: where it goes on from.
    batches: of the steps that follow.
    validation: of the generator.
    vocabulary: of the model.
    mesh: over which batches are sharded.
    builder: of the prepared data set.
  """

  training: Training
  start: Start
  batches: Iterator[SceneBatch]
  validation: Validation
  vocabulary: Vocabulary
  mesh: Mesh
  builder: tfds.core.DatasetBuilder


def train(
  settings: Settings | ConfigDict, workdir: str | os.PathLike, *, stop: StopRequest | None = None
):
  """Trains to settings.num_steps, from the newest checkpoint in `workdir` if there is one.

  The data set is prepared first unless it has been. Settings, data and checkpoint are checked
  before anything in the work directory changes.

  Args:
    settings: of the run; a config is checked and made into settings.
    workdir: where checkpoints and logs are written; made if it is missing. One training at a time.
    stop: asked after every step whether to save and end; None for never.

  Raises:
    SettingsError: settings that are wrong or do not fit each other, the data or the devices.
    UserError: the work directory holds another model or is in use, or something cannot be written.
  """
  if isinstance(settings, ConfigDict):
    settings = Settings.from_config(settings)
  mesh = sharding.make_mesh()
  if settings.batch_size % mesh.size:
    multiple = -(-settings.batch_size // mesh.size) * mesh.size
    problem = f'is {settings.batch_size}, which cannot be split evenly over {mesh.size} devices'
    raise SettingsError(Fault('batch_size', problem, str(multiple)))
  with hosts.first_holds(lambda: work_directory.locked(workdir)):
    run = _resolve(settings, workdir, mesh)
    if run is None:
      return
    if hosts.is_first():
      work_directory.save(workdir, settings, run.vocabulary)
    batch = next(run.batches)
    train_steps = dispatch.compile_steps(
      run.training,
      run.start.shapes,
      batch,
      mesh,
      batch_norm_frozen=run.start.step >= settings.freeze_batch_norm_after,
    )
    writer = checkpoints.CheckpointWriter(
      workdir,
      keep=settings.keep_checkpoints,
      quality=functools.partial(best_metric.quality, settings.best_metric),
      damaged=run.start.damaged,
    )
    with writer, TrainingLog(workdir, run.start.step) as log:
      program = train_steps.result()
      # Once the program is there: while it is compiled or loaded, both cores are busy.
      described = in_background(functools.partial(_describe_data, workdir, run.builder, settings))
      _loop(run, batch, program, writer, log, stop, described)
      described.result()


def _resolve(settings: Settings, workdir: str | os.PathLike, mesh: Mesh) -> Run | None:
  """Everything that the loop needs; None if the run is at its last step. Writes prepared data only,
  nothing in the work directory.
  """
  has_checkpoint = bool(checkpoints.steps(workdir))
  if has_checkpoint:
    changed = work_directory.check_same_model(workdir, settings)
    if changed:
      reporting.info(f'continuing with other settings: {work_directory.describe_changes(changed)}')
  builder = hosts.first_alone(lambda: preparation.prepare(settings.data))
  if has_checkpoint:
    vocabulary = work_directory.load_vocabulary(workdir)
  else:
    vocabulary = input_pipeline.stored_vocabulary(builder)
    if settings.tokens is None or not settings.data.max_attributes:
      vocabulary = vocabulary.without_attributes()
  input_pipeline.check(builder, settings.data, vocabulary)
  reporting.info(
    f'{settings.data.name}: {input_pipeline.num_examples(builder, "train")} scenes to train on, '
    f'{input_pipeline.num_examples(builder, "val")} to validate; names of '
    f'{vocabulary.num_objects} objects, {vocabulary.num_predicates} predicates, '
    f'{vocabulary.num_attributes} attributes'
  )
  training = build_training(settings, vocabulary)
  validation = Validation(training, vocabulary, builder, mesh)
  start = _start(training, workdir, mesh)
  _describe(start, settings, mesh, workdir)
  if start.step >= settings.num_steps:
    reporting.info(
      f'nothing to do: {workdir} is at step {start.step} of {settings.num_steps}; raise '
      'num_steps to train on'
    )
    return None
  if start.step % settings.steps_per_dispatch:
    raise UserError(
      f'the newest checkpoint in {workdir} is of step {start.step}, expected a multiple of '
      f'steps_per_dispatch, {settings.steps_per_dispatch}; go on with another one'
    )
  batches = input_pipeline.training_batches(
    builder,
    settings.data,
    vocabulary,
    batch_size=settings.batch_size,
    seed=settings.seed,
    first_step=start.step,
    **hosts.own_shard(),
  )
  batches = dispatch.device_batches(batches, settings.steps_per_dispatch, mesh)
  return Run(training, start, batches, validation, vocabulary, mesh, builder)


def _describe_data(
  workdir: str | os.PathLike, builder: tfds.core.DatasetBuilder, settings: Settings
):
  """Writes what the work directory has of the data, unless it is there: seconds of work.

  The counts of the graphs of the first training scenes are for completing others.
  """
  if not hosts.is_first():
    return

  def first_scenes(split: str, count: int) -> Iterator[PreparedScene]:
    visits = prepared.SplitVisits.of_settings(builder, split, settings.data, settings.seed)
    return visits.scenes(count)

  if work_directory.load_statistics(workdir) is None:
    scenes = first_scenes('train', _MOST_COUNTED)
    counts = GraphStatistics.of_graphs(scene.graph for scene in scenes)
    work_directory.save_statistics(workdir, counts)
  if not validation_scenes.exist(workdir):
    validation_scenes.save(workdir, first_scenes('val', validation_scenes.MOST))


def _loop(
  run: Run,
  batch: SceneBatch,
  train_steps: dispatch.Steps,
  writer: checkpoints.CheckpointWriter,
  log: TrainingLog,
  stop: StopRequest | None,
  described: Future[None],
):
  """The steps from run.start to the end, or to a request to stop; the same in every process.

  Args:
    run: whose batches have been taken but for the first one.
    batch: the first one.
    train_steps: the program.
    writer: of checkpoints.
    log: of metrics.
    stop: see `train`.
    described: fails if the data cannot be described in the work directory.
  """
  training, batches, mesh = run.training, run.batches, run.mesh
  settings = training.settings
  first, stride = run.start.step, settings.steps_per_dispatch
  freeze_after = settings.freeze_batch_norm_after

  def due(every: int) -> bool:
    return step % every == 0 or step == settings.num_steps

  state = run.start.state()
  progress = Progress(settings.num_steps, settings.batch_size, first)
  skipped, zero_coordinates, zero_boxes = [], [], ZeroBoxes()
  step = first
  for step in range(first + stride, settings.num_steps + 1, stride):
    if step - stride == freeze_after:
      with progress.paused():
        state = _restart_generator_optimizer(training, state, mesh)
        if step - stride > first:
          train_steps = dispatch.compile_steps(
            training, state, batch, mesh, batch_norm_frozen=True
          ).result()
    state, metrics = train_steps(state, batch)
    skipped.append(metrics['skipped'])
    if 'zero_boxes' in metrics:
      zero_coordinates.append(metrics.pop('zero_boxes'))
    if step < settings.num_steps:
      with progress.waiting_for_input():  # while the devices compute
        batch = next(batches)
    if due(settings.log_every):
      values = {name: float(value) for name, value in jax.device_get(metrics).items()}
      values['skipped'] = float(sum(jax.device_get(skipped)))
      if settings.losses.bbox_weight:  # else boxes mean nothing
        zero_boxes.note(jax.device_get(zero_coordinates))
      skipped, zero_coordinates = [], []
      log.write(step, 'train', values)
      reporting.info(progress.line(step, values))
      writer.check()
      if described.done():
        described.result()
    # Several processes agree where the host has waited for the devices anyway.
    can_agree = jax.process_count() == 1 or due(settings.log_every)
    if stop is not None and can_agree and stop.agree():
      break
    scores = None
    if due(settings.eval_every) or due(settings.image_grid_every) or due(settings.checkpoint_every):
      jax.block_until_ready(state)  # so that the clock stops where the steps end
      with progress.paused():
        if due(settings.eval_every):
          scores = run.validation.scores(state.sampling_variables())
          log.write(step, 'val', scores)
          text = '  '.join(f'{name} {value:.4g}' for name, value in scores.items())
          reporting.info(f'step {step}/{settings.num_steps}  validation: {text}')
        if due(settings.image_grid_every):
          log.write_image(step, 'val/scenes', run.validation.image_grid(state.sampling_variables()))
        if due(settings.checkpoint_every) or (scores and writer.is_best(scores)):
          writer.save(step, state.to_items(), scores)
  writer.save(step, state.to_items())
  writer.wait()
  if stop is not None and stop.signal:
    reporting.info(f'stopped at step {step}; run the same command to continue')
  else:
    reporting.info(f'done: step {step}, saved in {writer.directory}')


def _start(training: Training, workdir: str | os.PathLike, mesh: Mesh) -> Start:
  """The newest readable checkpoint, or else a fresh state."""
  replicated = sharding.replicated(mesh)
  init = dispatch.init_program(training, mesh)
  shapes = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated),
    init.out_shapes(),
  )
  restored = checkpoints.restore_newest(workdir, shapes.to_items())
  if restored is None:
    program = init.in_background()
    return Start(0, shapes, lambda: program.result()(), ())
  state = type(shapes).from_items(restored.tree)
  return Start(int(state.step), shapes, lambda: state, restored.damaged)


def _restart_generator_optimizer(training: Training, state: State, mesh: Mesh) -> State:
  reporting.info(
    f"step {int(state.step)}: the generator's batch statistics are frozen from here on, and its "
    'optimizer restarts'
  )
  restart = jax.jit(
    training.restart_generator_optimizer,
    donate_argnums=0,
    out_shardings=sharding.replicated(mesh),
  )
  return restart(state)


def _describe(start: Start, settings: Settings, mesh: Mesh, workdir: str | os.PathLike):
  def millions(network) -> str:
    if network is None:
      return 'none'
    return f'{sum(leaf.size for leaf in jax.tree.leaves(network.params)) / 1e6:.2f} M'

  parameters = (
    f'{name.replace("_", " ")} {millions(network)}'
    for name, network in start.shapes.networks.items()
  )
  reporting.info(f'parameters: {", ".join(parameters)}')
  reporting.info(
    f'{mesh.size} x {mesh.devices.flat[0].device_kind}, {settings.batch_size} images a step; from '
    f'step {start.step} to {settings.num_steps}; work directory {workdir}'
  )

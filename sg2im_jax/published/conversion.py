"""From a published checkpoint to a work directory."""

import functools
import os
from typing import Any

import jax.numpy as jnp

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.metrics import best_metric
from sg2im_jax.published import checkpoint, verification
from sg2im_jax.published.checkpoint import PublishedCheckpoint
from sg2im_jax.runtime import reporting
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training.state import TrainState


def convert(
  path: str | os.PathLike,
  workdir: str | os.PathLike,
  *,
  vectors: str | os.PathLike | None = None,
  align_corners: bool = True,
):
  """Converts a published checkpoint; everything is checked before anything is written.

  Args:
    path: a .pt file.
    workdir: where to write; may hold no checkpoints yet.
    vectors: a recording to verify the model with, see `verification`.
    align_corners: settings.model.align_corners, which a checkpoint does not tell.

  Raises:
    UserError: the checkpoint cannot be converted, differs from the recording, or the work directory
      is in use or cannot be written.
  """
  with work_directory.locked(workdir):
    if checkpoints.steps(workdir):
      raise UserError(f'{workdir} holds checkpoints already; choose another work directory')
    published = checkpoint.read(path, align_corners)
    state = initial_state(published)
    for note in published.notes:
      reporting.info(f'note: {note}')
    if vectors is not None:
      comparisons = verification.verify(published.training, state, vectors)
      reporting.info(verification.report(comparisons))
      failed = [comparison.name for comparison in comparisons if not comparison.passed]
      if failed:
        raise UserError(
          f'{path}: {len(failed)} of {len(comparisons)} comparisons with {vectors} are out of '
          f'tolerance, {failed[0]} the first of them; nothing was written'
        )
    work_directory.save(workdir, published.settings, published.vocabulary)
    quality = functools.partial(best_metric.quality, published.settings.best_metric)
    keep = published.settings.keep_checkpoints
    with checkpoints.CheckpointWriter(workdir, keep=keep, quality=quality) as writer:
      writer.save(published.step, state.to_items())
      writer.wait()
  reporting.info(
    f'{workdir}: the model of step {published.step}, {published.vocabulary.num_objects} object and '
    f'{published.vocabulary.num_predicates} predicate names; sample from it:\n'
    f'  python -m sg2im_jax.sample --workdir={workdir} --scene_graphs=GRAPHS.json '
    '--output_dir=pictures'
  )


def initial_state(published: PublishedCheckpoint) -> TrainState:
  """The state that training continues from: the published arrays and fresh optimizers."""
  networks: dict[str, Any] = {
    name: published.training.network_state(variables)
    for name, variables in published.variables.items()
  }
  return TrainState(
    step=jnp.int32(published.step),
    generator=networks['generator'],
    image_discriminator=networks.get('image_discriminator'),
    object_discriminator=networks.get('object_discriminator'),
  )

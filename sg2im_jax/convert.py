"""Turns a checkpoint of the published PyTorch code into a work directory.

  python -m sg2im_jax.convert --checkpoint=vg128.pt --workdir=runs/vg128

The work directory is like one of a training here: `python -m sg2im_jax.sample` draws with it,
`evaluate` scores it, and `python -m sg2im_jax.train --config=configs/of_workdir.py:runs/vg128
--workdir=runs/vg128 --config.num_steps=...` trains it further, with optimizers that start afresh.
Config and vocabulary come from the checkpoint. Nothing that the file could run is run.

--verify compares the model with vectors that were recorded from the original, before anything is
written: every output, loss, gradient and running statistic that the file has is printed with its
largest difference.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from absl import flags

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.published import checkpoint as published_checkpoint
from sg2im_jax.published import verification
from sg2im_jax.runtime import command_line, compilation
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training.state import NetworkState, TrainState, make_optimizer


def convert(
  checkpoint: str, workdir: str, *, vectors: str | None = None, align_corners: bool = True
):
  """The command.

  Args:
    checkpoint: a .pt file.
    workdir: where to write; may hold no checkpoints yet.
    vectors: a recording to verify the model with, see `verification`.
    align_corners: config.model.align_corners, which a checkpoint does not tell.
  """
  if checkpoints.steps(workdir):
    raise UserError(f'{workdir} holds checkpoints already; choose another --workdir')
  published = published_checkpoint.read(checkpoint, align_corners)
  state = initial_state(published)
  for note in published.notes:
    print(f'note: {note}')
  if vectors is not None:
    comparisons = verification.verify(published.config, published.vocabulary, state, vectors)
    print(verification.report(comparisons))
    failed = [comparison.name for comparison in comparisons if not comparison.passed]
    if failed:
      raise UserError(
        f'{checkpoint}: {len(failed)} of {len(comparisons)} comparisons with {vectors} are out of '
        f'tolerance, {failed[0]} the first of them; nothing was written'
      )
  work_directory.save_vocabulary(workdir, published.vocabulary)
  work_directory.save_config(workdir, published.config)
  with checkpoints.Checkpoints(workdir, published.config.keep_checkpoints) as saved:
    saved.save(state)
    saved.wait()
  print(
    f'{workdir}: the model of step {published.step}, {published.vocabulary.num_objects} object and '
    f'{published.vocabulary.num_predicates} predicate names; draw with it:\n'
    f'  python -m sg2im_jax.sample --workdir={workdir} --scene_graphs=GRAPHS.json '
    '--output_dir=pictures'
  )


def initial_state(published: published_checkpoint.PublishedCheckpoint) -> TrainState:
  """The state that training goes on from: the published arrays, and optimizers that have seen
  nothing yet.
  """
  optimizer = make_optimizer(published.config)

  def network(name: str) -> NetworkState | None:
    if name not in published.variables:
      return None
    variables = published.variables[name]
    return NetworkState(
      variables['params'], variables['batch_stats'], optimizer.init(variables['params'])
    )

  return TrainState(
    jnp.int32(published.step),
    *(network(name) for name in ('generator', 'image_discriminator', 'object_discriminator')),
  )


def main(_: Sequence[str]):
  compilation.configure()
  convert(
    flags.FLAGS.checkpoint,
    flags.FLAGS.workdir,
    vectors=flags.FLAGS.verify,
    align_corners=flags.FLAGS.align_corners,
  )


if __name__ == '__main__':
  flags.DEFINE_string('checkpoint', None, 'A .pt file of the published code.', required=True)
  flags.DEFINE_string(
    'workdir', None, 'The work directory to write; it may hold no checkpoints yet.', required=True
  )
  flags.DEFINE_string(
    'verify', None, 'A .npz file of vectors that were recorded from the original model.'
  )
  flags.DEFINE_bool(
    'align_corners',
    True,
    'How PyTorch sampled when the published checkpoints were trained. Say --noalign_corners '
    'for one that was trained with PyTorch 1.3 or newer, which changed the default of grid_sample.',
  )
  command_line.run(main)

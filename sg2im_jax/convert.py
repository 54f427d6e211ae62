"""Converts a checkpoint of the published PyTorch code into a work directory.

  python -m sg2im_jax.convert --checkpoint=vg128.pt --workdir=runs/vg128

The work directory is like one that was trained here: `python -m sg2im_jax.sample` samples from it,
`evaluate` scores it, and

  python -m sg2im_jax.train --config=configs/of_workdir.py:runs/vg128 --workdir=runs/vg128 \\
      --config.num_steps=...

trains it further, with optimizers that start afresh. Config and vocabulary come from the
checkpoint. The file is loaded with weights_only=True; no code in it executes.

--verify compares the model with vectors that were recorded from the original, before anything is
written: every output, loss, gradient and running statistic that the file has is printed with its
largest difference.
"""

from pydantic import Field

from data_pipelines.settings.section import Section
from sg2im_jax.runtime import command_line


class ConvertOptions(Section):
  """The flags of the command."""

  checkpoint: str = Field(description='A .pt file of the published code.')
  workdir: str = Field(description='The work directory to write; it may hold no checkpoints yet.')
  verify: str | None = Field(
    None, description='A .npz file of vectors that were recorded from the original model.'
  )
  align_corners: bool = Field(
    True,
    description='How PyTorch sampled when the published checkpoints were trained. Give '
    '--noalign_corners for one that was trained with PyTorch 1.3 or newer, which changed the '
    'default of grid_sample.',
  )


def convert(options: ConvertOptions):
  from sg2im_jax.published import conversion  # its imports take seconds

  conversion.convert(
    options.checkpoint,
    options.workdir,
    vectors=options.verify,
    align_corners=options.align_corners,
  )


def main():
  command_line.run(ConvertOptions, convert, doc=__doc__)


if __name__ == '__main__':
  main()

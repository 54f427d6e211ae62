"""Writes a trained model in a form that other programs take: servers, browsers, other frameworks.

  python -m sg2im_jax.export --workdir=examples/storybook_model --format=page --output=page
  python -m sg2im_jax.export --workdir=runs/storybook --format=stablehlo --output=exported

  stablehlo    jax.export: one file a program for CPUs, CUDA GPUs and TPUs; its user needs JAX alone
  saved_model  TensorFlow SavedModel, for TensorFlow and TensorFlow Serving
  onnx         ONNX, for ONNX Runtime in any language; needs pip install -e '.[onnx]'
  page         the studio as one HTML file, index.html, that draws in the browser, without a server
               and without a network; needs the same, and fetches ONNX Runtime Web (33 MB) once

The programs take graphs of any number and size, as ids of names; given boxes, masks and appearances
as well. Every export is tried before it is there: its pictures beside those of the model, which may
differ by one grey level of 255. What is written:

  OUTPUT/model.json   the inputs and outputs, the names and their ids, and what the trial found
  OUTPUT/README.md    a model card, with a client of ten lines
  OUTPUT/...          the programs, with the weights in them
"""

from typing import get_args

from pydantic import Field

from data_pipelines.settings.section import NonNegativeInt, Section
from sg2im_jax.exporting import FormatName
from sg2im_jax.runtime import command_line, reporting


class ExportOptions(Section):
  """The flags of the command."""

  workdir: str = Field(description='Work directory of a training run.')
  format: FormatName = Field(description=f'One of {", ".join(get_args(FormatName))}; see above.')
  output: str = Field(description='Folder to write, which is not there yet or is empty.')
  step: NonNegativeInt | None = Field(
    None, description='Training step of the checkpoint; by default that of the newest one.'
  )


def export(options: ExportOptions):
  from sg2im_jax.exporting.exporter import export  # its imports take seconds

  described = export(options.workdir, options.format, options.output, step=options.step)
  verification = described['verification']
  reporting.info(
    f'{verification["pictures"]} pictures beside those of the model: the largest difference of a '
    f'pixel is {verification["largest_difference"]} of 255, {verification["equal_share"]:.3%} of '
    'the values are equal'
  )
  opened = 'index.html' if options.format == 'page' else 'README.md'
  reporting.info(f'written to {options.output}; look at {options.output}/{opened}')


def main():
  command_line.run(ExportOptions, export, doc=__doc__)


if __name__ == '__main__':
  main()

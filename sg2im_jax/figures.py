"""Draws the figures of a paper from a work directory: samples of scenes, graphs that grow, edits.

  python -m sg2im_jax.figures --workdir=runs/storybook --split=val

writes to WORKDIR/figures, or to --output_dir:

  examples.png       the first scenes of the split, a row each: the graph, the ground-truth image
                     and layout, the layout that the model predicts, its picture of the ground-truth
                     layout, and samples from the graph alone (the paper's figure 5)
  progressions.png   graphs that grow from left to right: the graph, the predicted layout, a sample
                     (figure 6)
  variations.png     of a token model: scenes with one object replaced, removed, moved, described
                     anew; graphs with other attributes; graphs of one object that are completed
  figures.html       all as one page, with all that it needs inside: it can be sent and opened
                     anywhere. Pointing at an object shows where it is in the graph, the layouts and
                     the pictures; a click enlarges.

The scenes are the first of the split, with the relationships that `evaluate` scores. Graphs that
grow are those of the first four scenes, which get their objects one after the other, the largest
first, each with its relationships to those that are there already. With --scene_graphs=FILE they
are the graphs of that file, in its order; examples/sheep.json is made for it. All stages of a
progression have the same noise: what changes from one to the next comes from the graph.

The same seed gives the same figures. A data set that is not prepared yet is prepared first, as for
`evaluate`.
"""

import pathlib

from pydantic import Field

from data_pipelines.settings.section import PositiveInt, Section, Seed
from sg2im_jax.runtime import command_line


class FiguresOptions(Section):
  """The flags of the command."""

  workdir: str = Field(description='Work directory of a training run.')
  split: str = Field('val', description='Whose scenes: train, val or test.')
  num_graphs: PositiveInt = Field(8, description='How many scenes, from the start of the split.')
  samples_per_graph: PositiveInt = Field(3, description="Pictures of each scene's graph alone.")
  seed: Seed = Field(0, description='Of the noise: the same seed gives the same figures.')
  data_dir: str | None = Field(
    None, description='Where the prepared data is; by default where training had it.'
  )
  source_dir: str | None = Field(
    None, description='Where the official files are; by default where training had them.'
  )
  output_dir: str | None = Field(
    None, description='Folder for the figures; by default WORKDIR/figures.'
  )
  scene_graphs: str | None = Field(
    None,
    description='JSON file with the graphs of a progression, in their order; by default those of '
    'the first scenes grow.',
  )


def draw(options: FiguresOptions):
  from sg2im_jax.drawing.figures import draw_figures  # TensorFlow takes seconds
  from sg2im_jax.sampling.trained_model import TrainedModel

  draw_figures(
    TrainedModel.load(options.workdir),
    options.output_dir or pathlib.Path(options.workdir) / 'figures',
    split=options.split,
    num_graphs=options.num_graphs,
    samples_per_graph=options.samples_per_graph,
    seed=options.seed,
    data_dir=options.data_dir,
    source_dir=options.source_dir,
    scene_graphs=options.scene_graphs,
  )


def main():
  command_line.run(FiguresOptions, draw, doc=__doc__)


if __name__ == '__main__':
  main()

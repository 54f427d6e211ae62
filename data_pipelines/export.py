"""Writes the scene graphs of a prepared split as the JSON that `python -m sg2im_jax.sample` reads.

  python -m data_pipelines.export --data_dir=datasets/prepared --split=val --output=graphs.json

The relations are those of an evaluation with the same seed, so the file freezes the graphs of that
evaluation: the same seed writes the same bytes. A second file, graphs.ids.txt for graphs.json,
names the images: line i is the id of the image of graph i, counted from 0 in both.

Where --data_dir holds several prepared data sets, --dataset says which one.
"""

import pydantic

from data_pipelines import command_line
from data_pipelines.pipeline.visit_options import VisitOptions, spell
from data_pipelines.settings.section import PositiveInt


class ExportOptions(VisitOptions):
  """The flags."""

  output: str = pydantic.Field('graphs.json', description='Where to write the graphs.')
  num_graphs: PositiveInt | None = pydantic.Field(
    None, description='How many graphs, from the start of the split; by default all.'
  )


def export(options: ExportOptions):
  """Writes the graphs of the first scenes, or of all, and the ids of their images."""
  from data_pipelines.pipeline import graph_export, prepared  # TensorFlow takes seconds

  visits = prepared.visits(options)
  num_graphs, ids_path = graph_export.write_graphs(visits, options.output, options.num_graphs)
  print(f'{options.output}: {num_graphs} graphs of {visits}; the ids of their images: {ids_path}')


def main():
  command_line.run(ExportOptions, export, doc=__doc__, spell=spell)


if __name__ == '__main__':
  main()

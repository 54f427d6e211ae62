"""Shows what a prepared data set holds: a sheet of scenes, as a model gets them, and statistics.

  python -m data_pipelines.browse --data_dir=datasets/prepared --split=val --output=sheet.png

Each row of the sheet is a scene: the id of its image, the image, the boxes with their names, the
layout (the masks in their boxes, or the boxes where a data set has no masks), and the graph of one
visit. They are the first scenes of the split in the order of the records, which is random for most
data sets. The statistics are of the whole split; they are printed.

Where --data_dir holds several prepared data sets, --dataset says which one.
"""

import pydantic

from data_pipelines import command_line
from data_pipelines.pipeline.visit_options import VisitOptions, spell
from data_pipelines.settings.section import PositiveInt


class BrowseOptions(VisitOptions):
  """The flags."""

  output: str = pydantic.Field('sheet.png', description='Where to write the sheet.')
  num_scenes: PositiveInt = pydantic.Field(
    12, description='How many scenes the sheet shows, from the start of the split.'
  )


def browse(options: BrowseOptions):
  """Writes the sheet of the first scenes and prints the statistics of all."""
  from data_pipelines.drawing import browsing  # TensorFlow takes seconds
  from data_pipelines.pipeline import prepared

  visits = prepared.visits(options)
  for text in browsing.browse(visits, options.output, options.num_scenes):
    print(text, flush=True)


def main():
  command_line.run(BrowseOptions, browse, doc=__doc__, spell=spell)


if __name__ == '__main__':
  main()

"""Shows what a prepared data set holds: a sheet of its scenes, as a model gets them, and statistics
of a split.

  python -m data_pipelines.browse --data_dir=datasets/prepared --split=val --output=sheet.png

Each row of the sheet is a scene: the id of its image, the image, the boxes with their names, the
layout (the masks in their boxes, or the boxes where a data set has no masks), and the graph of one
visit. They are the first scenes of the split, in the order of the records, which is random for most
data sets. The statistics, which are of the whole split, are printed.

Where --data_dir holds several prepared data sets, --dataset says which one.
"""

import itertools
from collections.abc import Sequence

from absl import flags
from PIL import Image

from data_pipelines import command_line
from data_pipelines.drawing import sheets as drawing
from data_pipelines.drawing.graphs import draw_graph
from data_pipelines.pipeline import prepared, split_statistics
from data_pipelines.scene_graphs.errors import UserError

_PICTURE_SIDE = 320  # pixels, about
_GRAPH_PANEL = (1200, 640)  # width, height into which large graphs are shrunk


def draw_scenes(scenes: Sequence[prepared.Scene]) -> Image.Image:
  """A row for each scene: image id, image, boxes, layout, graph."""
  rows = []
  for scene in scenes:
    image = drawing.enlarge(scene.image, _PICTURE_SIDE)
    graph = draw_graph(scene.graph)
    graph.thumbnail(_GRAPH_PANEL, Image.Resampling.LANCZOS)
    names, size = scene.graph.objects, (image.height, image.width)
    rows.append(
      [
        drawing.text_picture(scene.image_id),
        image,
        drawing.draw_boxes(image, names, scene.boxes),
        drawing.draw_layout(names, scene.boxes, scene.masks, size),
        graph,
      ]
    )
  return drawing.table(rows, ('image id', 'image', 'boxes', 'layout', 'graph of this visit'))


def browse(visits: prepared.SplitVisits, output: str, num_scenes: int):
  """Writes the sheet of the first scenes and prints the statistics of all."""
  scenes = visits.scenes()
  shown = list(itertools.islice(scenes, num_scenes))
  try:
    draw_scenes(shown).save(output)
  except (OSError, ValueError) as error:  # Pillow's ValueError: it knows no format by that ending
    raise UserError(
      f'--output={output}: {error}; expected a file in an existing directory, such as sheet.png'
    ) from error
  print(f'{output}: {len(shown)} scenes of {visits}\n', flush=True)
  statistics = split_statistics.count(itertools.chain(shown, scenes))
  print(split_statistics.report(statistics, visits), end='')


def main(_: Sequence[str]):
  browse(prepared.visits_of_flags(), flags.FLAGS.output, flags.FLAGS.num_scenes)


if __name__ == '__main__':
  prepared.define_flags()
  flags.adopt_module_key_flags(prepared)
  flags.DEFINE_string('output', 'sheet.png', 'Where to write the sheet.')
  flags.DEFINE_integer(
    'num_scenes', 12, 'How many scenes the sheet shows, from the start of the split.', lower_bound=1
  )
  command_line.run(main)

"""A sheet of prepared scenes: image id, image, boxes, layout and graph of each."""

from collections.abc import Sequence

from PIL import Image

from data_pipelines.drawing import sheets
from data_pipelines.drawing.graphs import draw_graph
from data_pipelines.drawing.layouts import draw_boxes, draw_layout
from data_pipelines.pipeline.prepared import PreparedScene

PICTURE_SIDE = 320  # pixels, about
_GRAPH_PANEL = (1200, 640)  # width, height into which large graphs are shrunk


def draw_scenes(scenes: Sequence[PreparedScene]) -> Image.Image:
  """A row for each scene: image id, image, boxes, layout, graph."""
  rows = []
  for scene in scenes:
    image = sheets.enlarge(scene.image, PICTURE_SIDE)
    graph = draw_graph(scene.graph)
    graph.thumbnail(_GRAPH_PANEL, Image.Resampling.LANCZOS)
    names, size = scene.graph.objects, (image.height, image.width)
    rows.append(
      [
        sheets.text_picture(scene.image_id),
        image,
        draw_boxes(image, names, scene.boxes),
        draw_layout(names, scene.boxes, scene.masks, size),
        graph,
      ]
    )
  return sheets.table(rows, ('image id', 'image', 'boxes', 'layout', 'graph of this visit'))

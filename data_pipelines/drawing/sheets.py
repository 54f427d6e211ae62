"""Sheets: pictures in aligned rows and columns, with captions."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from data_pipelines.drawing.style import BACKGROUND, INK, font, text_size
from data_pipelines.scene_graphs.errors import Fault, SettingsError

_CAPTION_TEXT = 14  # height in pixels
_GAP = 8  # pixels between the pictures of a sheet
_PICTURE_SIDE = 256  # small pictures are enlarged to about this
_MAX_COLUMNS = 8  # of samples in a sheet
_GRAPH_PANEL = (480, 400)  # width, height into which an overview shrinks a graph


def enlarge(image: UInt8[np.ndarray, 'H W 3'], side: int = _PICTURE_SIDE) -> Image.Image:
  """A picture uint8[H, W, 3], enlarged by a whole number to about `side` pixels."""
  picture = Image.fromarray(np.asarray(image))
  factor = max(1, round(side / max(picture.size)))
  return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def image_grid(images: UInt8[np.ndarray, 'N H W 3'], columns: int) -> Image.Image:
  """Enlarged pictures row by row.

  Args:
    images: uint8[N, H, W, 3].
    columns: pictures in a row.
  """
  pictures = [enlarge(image) for image in images]
  return table(
    [pictures[start : start + columns] for start in range(0, len(pictures), columns)], margin=0
  )


def contact_sheet(
  graph: Image.Image, layout: Image.Image, samples: UInt8[np.ndarray, 'N H W 3']
) -> Image.Image:
  """The sheet of one graph: the drawn graph, the layout and the samples, in rows as high as it.

  Args:
    graph: from `graphs.draw_graph`.
    layout: from `layouts.draw_layout`.
    samples: uint8[N, H, W, 3].
  """
  rows = max(1, min(3, graph.height // _PICTURE_SIDE))
  columns = min(-(-len(samples) // rows), _MAX_COLUMNS)
  captions = ('scene graph', 'predicted layout', 'samples' if len(samples) > 1 else 'sample')
  return table([[graph, layout, image_grid(samples, columns)]], captions)


def overview(
  graphs: Sequence[Image.Image],
  layouts: Sequence[Image.Image],
  samples: Sequence[UInt8[np.ndarray, 'N H W 3']],
  titles: Sequence[str],
) -> Image.Image:
  """Many graphs, one a row: title, graph, layout and first samples.

  Args:
    graphs: from `graphs.draw_graph`.
    layouts: from `layouts.draw_layout`.
    samples: uint8[N, H, W, 3] of each graph.
    titles: of the rows.
  """
  rows = []
  for graph, layout, images, title in zip(graphs, layouts, samples, titles, strict=True):
    graph = graph.copy()
    graph.thumbnail(_GRAPH_PANEL, Image.Resampling.LANCZOS)
    rows.append(
      [text_picture(title), graph, layout, image_grid(images[:_MAX_COLUMNS], _MAX_COLUMNS)]
    )
  return table(rows, ('', 'scene graph', 'predicted layout', 'samples'))


def training_grid(
  ground_truth: UInt8[np.ndarray, 'N H W 3'],
  from_gt_boxes_and_masks: UInt8[np.ndarray, 'N H W 3'],
  from_gt_boxes: UInt8[np.ndarray, 'N H W 3'],
  predicted: UInt8[np.ndarray, 'N H W 3'],
) -> UInt8[np.ndarray, 'height width 3']:
  """The picture that training logs: one scene a row, a column for each source of the layout.

  Args:
    ground_truth: uint8[N, H, W, 3], as are the others: the data set's image.
    from_gt_boxes_and_masks: generated, with the data set's layout.
    from_gt_boxes: generated, with its boxes and predicted masks.
    predicted: generated from the graph alone.

  Returns:
    uint8[height, width, 3].
  """
  columns = (ground_truth, from_gt_boxes_and_masks, from_gt_boxes, predicted)
  rows = [[enlarge(image) for image in row] for row in zip(*columns, strict=True)]
  return np.asarray(table(rows, ('ground truth', 'GT boxes + masks', 'GT boxes', 'all predicted')))


def text_picture(text: str) -> Image.Image:
  """A line of text as large as it needs, for `table`."""
  picture = Image.new('RGB', text_size(text, _CAPTION_TEXT), BACKGROUND)
  ImageDraw.Draw(picture).text((0, 0), text, fill=INK, font=font(_CAPTION_TEXT))
  return picture


def table(
  rows: Sequence[Sequence[Image.Image]], captions: Sequence[str] = (), margin: int = _GAP
) -> Image.Image:
  """Pictures in aligned rows and columns, each at the top of its cell, with a caption over each
  column.
  """
  rows = ([[text_picture(caption) for caption in captions]] if captions else []) + list(rows)
  widths = [
    max(row[column].width for row in rows if column < len(row)) for column in range(len(rows[0]))
  ]
  heights = [max(picture.height for picture in row) for row in rows]
  size = (
    sum(widths) + _GAP * (len(widths) - 1) + 2 * margin,
    sum(heights) + _GAP * (len(heights) - 1) + 2 * margin,
  )
  sheet = Image.new('RGB', size, BACKGROUND)
  top = margin
  for row, height in zip(rows, heights, strict=True):
    left = margin
    for picture, width in zip(row, widths, strict=False):  # the last row of a grid may be short
      sheet.paste(picture, (left + (width - picture.width) // 2, top))
      left += width + _GAP
    top += height + _GAP
  return sheet


def png(picture: Image.Image) -> bytes:
  """The content of a PNG file."""
  encoded = io.BytesIO()
  picture.save(encoded, 'png')
  return encoded.getvalue()


def save(sheet: Image.Image, output: str):
  """Writes a sheet; SettingsError on `output` where that is not possible."""
  try:
    sheet.save(output)
  except (OSError, ValueError) as error:  # Pillow's ValueError: it knows no format by that ending
    raise SettingsError(
      Fault(
        'output',
        f'is {output}, which cannot be written ({error}); expected a file in an existing '
        'directory, such as sheet.png',
      )
    ) from error

"""Pictures for people to look at: layouts, boxes, grids and sheets (graphs: graph_drawing.py)."""

import colorsys
import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT

BACKGROUND = (255, 255, 255)
INK = (34, 34, 42)
LABEL_TEXT = 13  # height in pixels of the names in layouts
_CAPTION_TEXT = 14
_GAP = 8  # pixels between the pictures of a sheet
_MASK_OPACITY = 0.6
_PICTURE_SIDE = 256  # small pictures are enlarged to about this
_MAX_COLUMNS = 8  # of samples in a sheet
_GRAPH_PANEL = (480, 400)  # width, height into which an overview shrinks a graph

Color = tuple[int, int, int]
PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
  """Pillow's built-in font, so that pictures look alike on every machine."""
  return ImageFont.load_default(size)


def text_size(text: str, size: int) -> tuple[int, int]:
  """Width and line height of a text in pixels."""
  ascent, descent = font(size).getmetrics()
  return round(font(size).getlength(text)), ascent + descent


def class_color(name: str) -> Color:
  """The colour of a class: vivid, and always the same for a name."""
  digest = hashlib.sha1(
    f'434670 {name}'.encode()
  ).digest()  # by luck of this number sky is blue and grass is green
  hue, lightness = digest[0] / 256, 0.40 + 0.16 * digest[1] / 255
  return tuple(round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.72))


def tint(color: Color, amount: float) -> Color:
  """The colour thinned with white; 1 leaves it as it is."""
  return tuple(round(255 + (channel - 255) * amount) for channel in color)


def ink_on(color: Color) -> Color:
  """Dark or white, whichever reads better on the colour."""
  luminance = np.dot((np.array(color) / 255) ** 2.2, (0.2126, 0.7152, 0.0722))
  return INK if luminance > 0.26 else BACKGROUND


def draw_layout(
  names: Sequence[str], boxes: np.ndarray, masks: np.ndarray | None, size: tuple[int, int]
) -> Image.Image:
  """Draws where each object goes: its mask in its class's colour, its box, its name; large ones
  first.

  Args:
    names: N object names; `__image__` is left out of the picture.
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1]; what sticks out is cut off.
    masks: float32[N, M, M] in [0, 1], each in the frame of its box; None draws boxes alone.
    size: height and width of the picture in pixels.

  Returns:
    RGB picture.
  """
  height, width = size
  picture = Image.new('RGB', (width, height), (246, 246, 248))
  for index, (x0, y0, x1, y1) in _large_first(names, boxes, size).items():
    opacity = mask_opacity(None if masks is None else masks[index])
    opacity = opacity.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    picture.paste(class_color(names[index]), (x0, y0), opacity)
  return draw_boxes(picture, names, boxes)


def draw_boxes(picture: Image.Image, names: Sequence[str], boxes: np.ndarray) -> Image.Image:
  """The RGB picture with each object's box and name on it; arguments as of `draw_layout`."""
  picture = picture.copy()
  height, width = picture.height, picture.width
  placed = place_objects(names, boxes, (height, width))
  draw = ImageDraw.Draw(picture)
  for object_ in placed:
    x0, y0, x1, y1 = object_.box
    visible = (max(x0, 0), max(y0, 0), min(x1, width) - 1, min(y1, height) - 1)
    draw.rectangle(visible, outline=class_color(object_.name), width=2)
  for object_ in reversed(placed):
    _draw_label(draw, object_)
  return picture


def mask_opacity(mask: np.ndarray | None) -> Image.Image:
  """How densely a layout paints an object's box.

  Args:
    mask: float32[M, M] in [0, 1]; None where there are no masks.

  Returns:
    8-bit grey picture of M x M pixels, or of one.
  """
  if mask is None:
    return Image.new('L', (1, 1), round(255 * _MASK_OPACITY / 2))
  return Image.fromarray((np.clip(mask, 0, 1) * 255 * _MASK_OPACITY).astype(np.uint8))


@dataclasses.dataclass(frozen=True)
class PlacedObject:
  """Where a drawing of boxes has an object.

  Attributes:
    index: of the object.
    name: of the object.
    box: its box.
    label: the frame for its name, which is LABEL_TEXT pixels high.
  """

  index: int
  name: str
  box: PixelBox
  label: PixelBox


def place_objects(
  names: Sequence[str], boxes: np.ndarray, size: tuple[int, int]
) -> list[PlacedObject]:
  """The places of all objects but `__image__`, large ones first; arguments as of `draw_layout`."""
  corners = _large_first(names, boxes, size)
  labels = []
  for index in reversed(corners):  # small boxes have the least choice of where to put their name
    labels.append(_place_label(names[index], corners[index], size, labels))
  return [
    PlacedObject(index, names[index], box, label)
    for (index, box), label in zip(corners.items(), reversed(labels), strict=True)
  ]


def _large_first(
  names: Sequence[str], boxes: np.ndarray, size: tuple[int, int]
) -> dict[int, PixelBox]:
  """Each object's index and box in pixels, without `__image__`."""
  corners = {
    index: _pixel_box(boxes[index], size)
    for index, name in enumerate(names)
    if name != IMAGE_OBJECT
  }
  return dict(sorted(corners.items(), key=lambda item: -_area(item[1])))


def _pixel_box(box: np.ndarray, size: tuple[int, int]) -> PixelBox:
  """Whole pixels x0, y0, x1, y1; the right way round, at least 3 of them in the picture each way."""
  height, width = size
  x0, x1 = sorted(np.clip(np.nan_to_num(box[[0, 2]]), -3, 4) * width)
  y0, y1 = sorted(np.clip(np.nan_to_num(box[[1, 3]]), -3, 4) * height)
  x0, y0 = min(round(x0), width - 3), min(round(y0), height - 3)
  return x0, y0, max(round(x1), x0 + 3, 3), max(round(y1), y0 + 3, 3)


def _area(box: PixelBox) -> int:
  return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(one: PixelBox, other: PixelBox) -> int:
  width = min(one[2], other[2]) - max(one[0], other[0])
  height = min(one[3], other[3]) - max(one[1], other[1])
  return max(width, 0) * max(height, 0)


def _place_label(
  name: str, box: PixelBox, size: tuple[int, int], taken: Sequence[PixelBox]
) -> PixelBox:
  """The frame for a name where it covers the least of the frames that are `taken`."""
  text_width, text_height = text_size(name, LABEL_TEXT)
  width, height = text_width + 8, text_height + 2
  x0, y0, x1, y1 = box
  inside, outside = (y0, y1 - height, (y0 + y1 - height) // 2), (y1, y0 - height)
  is_small = y1 - y0 < 2 * height or x1 - x0 < width  # its name would hide it
  candidates = []
  for y in outside + inside if is_small else inside + outside:
    for x in (x0, x1 - width, (x0 + x1 - width) // 2):
      x = max(0, min(x, size[1] - width))
      y = max(0, min(y, size[0] - height))
      candidates.append((x, y, x + width, y + height))
  avoid = [*taken, box] if is_small else taken
  return min(candidates, key=lambda candidate: sum(_overlap(candidate, other) for other in avoid))


def _draw_label(draw: ImageDraw.ImageDraw, placed: PlacedObject):
  x0, y0, x1, y1 = placed.label
  color = class_color(placed.name)
  draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=4, fill=color)
  draw.text(
    ((x0 + x1) / 2, (y0 + y1) / 2),
    placed.name,
    fill=ink_on(color),
    font=font(LABEL_TEXT),
    anchor='mm',
  )


def enlarge(image: np.ndarray, side: int = _PICTURE_SIDE) -> Image.Image:
  """A picture uint8[H, W, 3], enlarged by a whole number to about `side` pixels."""
  picture = Image.fromarray(np.asarray(image))
  factor = max(1, round(side / max(picture.size)))
  return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def image_grid(images: np.ndarray, columns: int) -> Image.Image:
  """Enlarged pictures row by row.

  Args:
    images: uint8[N, H, W, 3].
    columns: pictures in a row.
  """
  pictures = [enlarge(image) for image in images]
  return table(
    [pictures[start : start + columns] for start in range(0, len(pictures), columns)], margin=0
  )


def contact_sheet(graph: Image.Image, layout: Image.Image, samples: np.ndarray) -> Image.Image:
  """One graph's sheet: the drawn graph, the layout, and the samples in as many rows as the graph is
  high.

  Args:
    graph: from `graph_drawing.draw_graph`.
    layout: from `draw_layout`.
    samples: uint8[N, H, W, 3].
  """
  rows = max(1, min(3, graph.height // _PICTURE_SIDE))
  columns = min(-(-len(samples) // rows), _MAX_COLUMNS)
  captions = ('scene graph', 'predicted layout', 'samples' if len(samples) > 1 else 'sample')
  return table([[graph, layout, image_grid(samples, columns)]], captions)


def overview(
  graphs: Sequence[Image.Image],
  layouts: Sequence[Image.Image],
  samples: Sequence[np.ndarray],
  titles: Sequence[str],
) -> Image.Image:
  """Many graphs, one a row: title, graph, layout, and the first samples of each (uint8[N, H, W,
  3]).
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
  ground_truth: np.ndarray,
  from_gt_boxes_and_masks: np.ndarray,
  from_gt_boxes: np.ndarray,
  predicted: np.ndarray,
) -> np.ndarray:
  """The picture that training shows in TensorBoard: one scene a row, a column for each way to make
  it.

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

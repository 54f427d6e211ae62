"""Layouts as pictures: the boxes and masks of a scene, each in the colour of its class."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image, ImageDraw

from data_pipelines.drawing.style import class_color, font, ink_on, text_size
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT

LABEL_TEXT = 13  # height in pixels of the names in layouts
_MASK_OPACITY = 0.6

PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1


def draw_layout(
  names: Sequence[str],
  boxes: Float[np.ndarray, 'O 4'],
  masks: Shaped[np.ndarray, 'O M M'] | None,
  size: tuple[int, int],
) -> Image.Image:
  """Draws the mask, box and name of each object in the colour of its class, large ones first.

  Args:
    names: O object names; `__image__` is left out of the picture.
    boxes: float32[O, 4] x0, y0, x1, y1 in [0, 1]; what sticks out is cut off.
    masks: float32[O, M, M] in [0, 1], each in the frame of its box; None draws boxes alone.
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


def draw_boxes(
  picture: Image.Image, names: Sequence[str], boxes: Float[np.ndarray, 'O 4']
) -> Image.Image:
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


def mask_opacity(mask: Shaped[np.ndarray, 'M M'] | None) -> Image.Image:
  """The opacity with which a layout paints an object's box.

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
  """An object's place in a drawn layout.

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
  names: Sequence[str], boxes: Float[np.ndarray, 'O 4'], size: tuple[int, int]
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
  """x0, y0, x1, y1 in whole pixels, ordered; at least 3 of them each way are in the picture."""
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
  """The frame for a name that covers the least of the `taken` frames."""
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

"""Vector shapes of the storybook: filled polygons, which give pixels and coverage.

Figures are described in their own frame: x to the right of the figure's middle, y *up* from its
foot, one unit = the figure's nominal height. A `Placement` puts them into the picture, whose frame
is [0, 1]^2 with y down.
"""

import dataclasses
import functools
import math
import typing

import aggdraw
import numpy as np
from PIL import Image

Colour = tuple[int, int, int]


class Shape(typing.NamedTuple):
  """One filled polygon.

  Attributes:
    points: float64[n, 2] corners.
    colour: fill.
    opacity: 0..255.
    solid: whether it belongs to the object's mask; shadows, foam and the like do not.
  """

  points: np.ndarray
  colour: Colour
  opacity: int = 255
  solid: bool = True


Figure = tuple[Shape, ...]


class Variant(typing.NamedTuple):
  """One way in which a kind of thing can look.

  Attributes:
    figure: its shapes.
    attributes: what one may say of it, such as its colour.
  """

  figure: Figure
  attributes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Placement:
  """The position of a figure's foot in the picture; `height` is the length of a figure unit."""

  x: float
  y: float
  height: float
  flip: bool = False
  tilt: float = 0.0  # radians, clockwise in the picture, about the foot

  def apply(self, points: np.ndarray) -> np.ndarray:
    """Maps float64[n, 2] points of the figure into the picture."""
    scale_x = -self.height if self.flip else self.height
    cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
    matrix = np.array(
      [[scale_x * cosine, scale_x * sine], [self.height * sine, -self.height * cosine]]
    )
    return points @ matrix + (self.x, self.y)


def place(figure: Figure, placement: Placement) -> Figure:
  """The figure in the picture's frame."""
  points = placement.apply(np.concatenate([shape.points for shape in figure]))
  ends = np.cumsum([len(shape.points) for shape in figure])
  return tuple(
    shape._replace(points=points[end - len(shape.points) : end]) for shape, end in zip(figure, ends)
  )


def solid_points(figure: Figure) -> np.ndarray:
  """float64[n, 2] all corners of the solid shapes."""
  return np.concatenate([shape.points for shape in figure if shape.solid])


def extent(points: np.ndarray) -> tuple[float, float, float, float]:
  """Least x, least y, greatest x, greatest y of float64[n, 2] points."""
  return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def polygon(colour: Colour, *points: tuple[float, float], **options) -> Shape:
  return Shape(np.array(points, dtype=np.float64), colour, **options)


@functools.cache
def _circle(num_points: int) -> np.ndarray:
  angles = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
  return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ellipse(
  colour: Colour,
  x: float,
  y: float,
  radius_x: float,
  radius_y: float | None = None,
  angle: float = 0.0,
  **options,
) -> Shape:
  """An ellipse (a circle without `radius_y`), turned by `angle` radians."""
  radii = (radius_x, radius_x if radius_y is None else radius_y)
  points = _circle(24 if max(radii) > 0.06 else 12) * radii
  if angle:
    cosine, sine = np.cos(angle), np.sin(angle)
    points = points @ np.array([[cosine, sine], [-sine, cosine]])
  return Shape(points + (x, y), colour, **options)


def limb(
  colour: Colour,
  start: tuple[float, float],
  end: tuple[float, float],
  width: float,
  end_width: float | None = None,
  **options,
) -> Shape:
  """A straight bar from `start` to `end`."""
  (x0, y0), (x1, y1) = start, end
  twice_length = 2 * math.hypot(x1 - x0, y1 - y0)
  across_x, across_y = (y0 - y1) / twice_length, (x1 - x0) / twice_length
  end_width = width if end_width is None else end_width
  sides = ((x0, y0, width), (x1, y1, end_width), (x1, y1, -end_width), (x0, y0, -width))
  return polygon(
    colour, *((x + across_x * offset, y + across_y * offset) for x, y, offset in sides), **options
  )


def blob(colour: Colour, *points: tuple[float, float], **options) -> Shape:
  """A smooth closed curve through the points (Catmull-Rom, five segments a side)."""
  corners = np.array(points, dtype=np.float64)
  before, after, after_next = (
    np.roll(corners, 1, axis=0),
    np.roll(corners, -1, axis=0),
    np.roll(corners, -2, axis=0),
  )
  t = np.linspace(0, 1, 5, endpoint=False)[None, :, None]
  a, b, c, d = (side[:, None, :] for side in (before, corners, after, after_next))
  curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
  return Shape(curve.reshape(-1, 2), colour, **options)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
  """`colour` with `share` of it replaced by `other`."""
  red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other))
  return red, green, blue


def darker(colour: Colour, share: float = 0.25) -> Colour:
  return mix(colour, (20, 20, 50), share)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
  return mix(colour, (255, 255, 245), share)


def shaded(colour: Colour, light: tuple[float, float, float]) -> Colour:
  """`colour` in a dim light."""
  red, green, blue = (round(value * share) for value, share in zip(colour, light))
  return red, green, blue


def coverage(figure: Figure, size: int) -> np.ndarray:
  """float32[size, size] share of every pixel that the figure's solid shapes cover."""
  image = Image.new('L', (size, size), 0)
  canvas = aggdraw.Draw(image)
  brush = aggdraw.Brush(255)
  for shape in figure:
    if shape.solid:
      canvas.polygon((shape.points * size).ravel().tolist(), brush)
  canvas.flush()
  return np.asarray(image, dtype=np.float32) / 255


def paint(image: Image.Image, figure: Figure) -> None:
  """Paints the figure, given in the picture's frame, over an RGB image."""
  canvas = aggdraw.Draw(image)
  for shape in figure:
    points = (shape.points * image.width).ravel().tolist()
    canvas.polygon(points, aggdraw.Brush(shape.colour, shape.opacity))
  canvas.flush()

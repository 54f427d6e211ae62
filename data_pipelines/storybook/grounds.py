"""The grounds and skies of the storybook, and the zones on them where things may stand."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_pipelines.storybook.shapes import (
  Colour,
  Figure,
  Shape,
  darker,
  ellipse,
  lighter,
  limb,
  polygon,
  shaded,
)

TUFT = (
  (-0.007, 0.0),
  (-0.03, -0.04),
  (-0.004, -0.018),
  (0.0, -0.05),
  (0.004, -0.018),
  (0.03, -0.04),
  (0.007, 0.0),
)
MOONLIGHT = (0.42, 0.52, 0.8)  # what night leaves of the light, by channel
SKIES = {
  ((86, 170, 236), (206, 236, 252)): 'day',
  ((120, 196, 242), (250, 244, 214)): 'day',
  ((252, 188, 146), (255, 238, 200)): 'evening',
  ((168, 160, 226), (255, 206, 190)): 'evening',
  ((64, 148, 222), (170, 218, 248)): 'day',
}
NIGHT_SKIES = (
  ((16, 20, 64), (62, 74, 142)),
  ((24, 16, 62), (98, 66, 132)),
  ((10, 28, 66), (34, 84, 128)),
)
COLOURS = {
  'sea': ((54, 140, 200), (28, 96, 168), (60, 172, 190)),
  'grass': ((122, 190, 84), (148, 200, 80), (98, 172, 84)),
  'sand': ((246, 218, 150), (238, 200, 132), (250, 228, 176)),
  'snow': ((244, 248, 255), (232, 242, 252)),
  'mountain': ((128, 124, 156), (110, 132, 160), (156, 128, 124)),
  'road': ((120, 116, 124), (104, 104, 116)),
}


@dataclasses.dataclass(frozen=True)
class Zone:
  """A trapezoid where feet may stand: x from `left` to `right`, each at `top` and `bottom`."""

  top: float
  bottom: float
  left: tuple[float, float] = (-0.04, -0.04)
  right: tuple[float, float] = (1.04, 1.04)

  def span(self, y: float) -> tuple[float, float]:
    share = (y - self.top) / (self.bottom - self.top)
    left, right = (far + share * (near - far) for far, near in (self.left, self.right))
    return left, right


@dataclasses.dataclass(frozen=True)
class Ground:
  """A ground or sky: a polygon with a vertical gradient, and details that are clipped to it."""

  name: str
  outline: np.ndarray  # float64[n, 2] in the picture's frame
  top_colour: Colour
  bottom_colour: Colour
  details: Figure = ()
  zones: tuple[Zone, ...] = ()

  @property
  def figure(self) -> Figure:
    return (Shape(self.outline, self.top_colour),)


@dataclasses.dataclass(frozen=True)
class Landscape:
  """Grounds from back to front, the sky first, and relations (index, predicate, index) of them."""

  grounds: tuple[Ground, ...]
  relations: tuple[tuple[int, str, int], ...]
  horizon: float

  @property
  def time_of_day(self) -> str:
    """day, evening or night."""
    sky = self.grounds[0]
    return SKIES.get((sky.top_colour, sky.bottom_colour), 'night')


def _edge(rng: np.random.Generator, level: float, swell: float, slope: float = 0.0) -> np.ndarray:
  """float64[n, 2] a gently waving line from the left of the picture to its right."""
  x = np.linspace(-0.03, 1.03, 18)
  y = level + slope * (x - 0.5) + swell * np.sin(x * rng.uniform(3, 7) + rng.uniform(0, 6))
  return np.stack([x, y], axis=1)


def _below(edge: np.ndarray, bottom: float = 1.03) -> np.ndarray:
  return np.concatenate([edge, [[edge[-1, 0], bottom], [edge[0, 0], bottom]]])


def _details(rng: np.random.Generator, name: str, colour: Colour, top: float) -> Figure:
  """Tufts, waves, pebbles or drifts, larger towards the viewer."""
  shapes = []
  for y in np.sort(
    rng.uniform(top + 0.03, 1.0, {'grass': 20, 'sea': 16, 'sand': 16, 'snow': 7}.get(name, 0))
  ):
    x, scale = rng.uniform(0, 1), 0.5 + (y - top)
    if name == 'grass':
      shade = darker(colour, 0.28) if rng.random() < 0.6 else lighter(colour, 0.35)
      shapes.append(Shape(np.array(TUFT) * scale + (x, y), shade, opacity=190))
    elif name == 'sea':
      length = rng.uniform(0.04, 0.1) * scale
      shapes.append(ellipse(lighter(colour, 0.5), x, y, length, 0.008 + 0.006 * scale, opacity=150))
    elif name == 'sand':
      shapes.append(ellipse(darker(colour, 0.25), x, y, 0.014 * scale, 0.009 * scale, opacity=150))
    elif name == 'snow':
      shapes.append(ellipse((206, 222, 244), x, y, 0.16 * scale, 0.02 * scale, opacity=150))
  return tuple(shapes)


def _ground(
  rng: np.random.Generator,
  night: bool,
  name: str,
  outline: np.ndarray,
  zones: tuple[Zone, ...] = (),
  extra_details: Figure = (),
) -> Ground:
  colour = COLOURS[name][rng.integers(len(COLOURS[name]))]
  top = float(outline[:, 1].min())
  details = _details(rng, name, colour, top) + extra_details
  far, near = lighter(colour, 0.3), darker(colour, 0.14)
  if night:
    far, near = shaded(far, MOONLIGHT), shaded(near, MOONLIGHT)
    details = tuple(shape._replace(colour=shaded(shape.colour, MOONLIGHT)) for shape in details)
  return Ground(name, outline, far, near, details, zones)


def _sky(rng: np.random.Generator, night: bool) -> Ground:
  palette = NIGHT_SKIES if night else tuple(SKIES)
  top, bottom = palette[rng.choice(len(palette), p=None if night else (0.34, 0.2, 0.12, 0.1, 0.24))]
  dots = (
    tuple(
      ellipse(
        (240, 240, 255),
        rng.uniform(0, 1),
        rng.uniform(0, 0.6),
        rng.uniform(0.005, 0.01),
        opacity=200,
      )
      for _ in range(14)
    )
    if night
    else ()
  )
  square = np.array([(-0.03, -0.03), (1.03, -0.03), (1.03, 1.03), (-0.03, 1.03)])
  return Ground('night sky' if night else 'sky', square, top, bottom, dots)


def _mountains(rng: np.random.Generator, night: bool, horizon: float) -> Ground:
  num_peaks = rng.integers(2, 4)
  centres = (np.arange(num_peaks) + rng.uniform(0.25, 0.75, num_peaks)) / num_peaks
  peaks = horizon - rng.uniform(0.16, 0.3, num_peaks)
  points, caps = [(-0.03, horizon - rng.uniform(0.02, 0.1))], []
  for index, (x, y) in enumerate(zip(centres, peaks)):
    if index:
      points.append(((centres[index - 1] + x) / 2, horizon - rng.uniform(0.02, 0.09)))
    points.append((x, y))
    caps.append(
      polygon(
        (250, 252, 255),
        (x - 0.12, y - 0.05),
        (x + 0.12, y - 0.05),
        (x + 0.075, y + 0.1),
        (x + 0.025, y + 0.06),
        (x - 0.02, y + 0.1),
        (x - 0.08, y + 0.07),
      )
    )
  points += [
    (1.03, horizon - rng.uniform(0.02, 0.1)),
    (1.03, horizon + 0.08),
    (-0.03, horizon + 0.08),
  ]
  return _ground(rng, night, 'mountain', np.array(points), extra_details=tuple(caps))


class _Builder:
  """Collects the grounds of one landscape, back to front."""

  def __init__(self, rng: np.random.Generator, night: bool, horizon: float):
    self.rng, self.night, self.horizon = rng, night, horizon
    self.grounds, self.relations = [_sky(rng, night)], []

  def add(self, name: str, outline: np.ndarray, *zones: Zone, details: Figure = ()) -> int:
    self.grounds.append(_ground(self.rng, self.night, name, outline, zones, details))
    return len(self.grounds) - 1

  def add_mountains(self) -> None:
    self.grounds.append(_mountains(self.rng, self.night, self.horizon))
    self.relations.append((0, 'behind', 1))

  def relate_in_depth(self, back: int, front: int) -> None:
    self.relations += [(back, 'behind', front), (front, 'in front of', back)]

  def finish(self) -> Landscape:
    return Landscape(tuple(self.grounds), tuple(self.relations), self.horizon)


def _plain(builder: _Builder, name: str, mountain_chance: float) -> None:
  rng, horizon = builder.rng, builder.horizon
  mountains = rng.random() < mountain_chance
  if mountains:
    builder.add_mountains()
  ground = builder.add(name, _below(_edge(rng, horizon, 0.02)), Zone(horizon + 0.09, 0.96))
  if mountains:
    builder.relate_in_depth(1, ground)


def _shore(builder: _Builder, name: str, mountain_chance: float) -> None:
  """A band of sea between the sky and the land."""
  rng, horizon = builder.rng, builder.horizon
  mountains = rng.random() < mountain_chance
  if mountains:
    builder.add_mountains()
  edge = horizon + rng.uniform(0.17, 0.27)
  sea = builder.add('sea', _below(_edge(rng, horizon, 0.0)), Zone(horizon + 0.05, edge - 0.03))
  if mountains:
    builder.relate_in_depth(1, sea)
  land = builder.add(
    name, _below(_edge(rng, edge, 0.018, rng.uniform(-0.06, 0.06))), Zone(edge + 0.08, 0.96)
  )
  builder.relate_in_depth(sea, land)


def _bay(builder: _Builder, name: str) -> None:
  """Land on one side, sea on the other."""
  rng, horizon = builder.rng, builder.horizon
  sea_left = rng.random() < 0.5
  far, near = rng.uniform(0.44, 0.6), rng.uniform(0.4, 0.6)
  zones = (
    Zone(horizon + 0.08, 0.95, right=(far, near)),
    Zone(horizon + 0.08, 0.95, left=(far, near)),
  )
  sea_zone, land_zone = zones if sea_left else zones[::-1]
  sea = builder.add('sea', _below(_edge(rng, horizon + 0.015, 0.0)), sea_zone)
  heights = np.linspace(0, 1, 12)
  shore = far + (near - far) * heights + 0.03 * np.sin(heights * rng.uniform(4, 8))
  line = np.stack([shore, horizon + heights * (1.03 - horizon)], axis=1)
  side = -0.03 if not sea_left else 1.03
  hill = horizon - rng.uniform(0.0, 0.05)
  outline = np.concatenate([[[side, hill], [(side + 2 * far) / 3, hill]], line, [[side, 1.03]]])
  land = builder.add(name, outline, land_zone)
  builder.relations += [(sea, 'next to', land), (land, 'next to', sea)]


def _open_sea(builder: _Builder) -> None:
  rng, horizon = builder.rng, builder.horizon
  mountains = rng.random() < 0.25
  if mountains:
    builder.add_mountains()
  sea = builder.add('sea', _below(_edge(rng, horizon, 0.008)), Zone(horizon + 0.08, 0.96))
  if mountains:
    builder.relate_in_depth(1, sea)


def _roadside(builder: _Builder) -> None:
  rng, horizon = builder.rng, builder.horizon
  name = ('grass', 'sand', 'snow')[rng.choice(3, p=(0.7, 0.15, 0.15))]
  top = rng.uniform(max(horizon + 0.17, 0.56), 0.67)
  width = rng.uniform(0.17, 0.2)
  land = builder.add(
    name,
    _below(_edge(rng, horizon, 0.02)),
    Zone(horizon + 0.07, top - 0.01),
    Zone(top + width + 0.07, 0.98),
  )
  edge = _edge(rng, top, 0.012)
  middle = top + width / 2
  dashes = tuple(
    limb((255, 244, 200), (x, middle), (x + 0.1, middle), 0.022) for x in np.arange(0.02, 1, 0.2)
  )
  road = builder.add(
    'road',
    np.concatenate([edge, edge[::-1] + (0, width)]),
    Zone(top + 0.07, top + width - 0.02),
    details=dashes,
  )
  builder.relations += [(road, 'on', land), (land, 'next to', road)]


LANDSCAPES: tuple[tuple[float, Callable[[_Builder], None]], ...] = (
  (0.19, lambda builder: _plain(builder, 'grass', mountain_chance=0.3)),
  (0.20, lambda builder: _shore(builder, 'grass', mountain_chance=0.12)),
  (0.18, lambda builder: _bay(builder, 'grass')),
  (0.06, lambda builder: _shore(builder, 'sand', mountain_chance=0.0)),
  (0.04, lambda builder: _bay(builder, 'sand')),
  (0.09, _open_sea),
  (0.09, lambda builder: _plain(builder, 'snow', mountain_chance=0.4)),
  (0.06, lambda builder: _plain(builder, 'sand', mountain_chance=0.4)),
  (0.09, _roadside),
)


def random_landscape(rng: np.random.Generator) -> Landscape:
  builder = _Builder(rng, night=rng.random() < 0.14, horizon=rng.uniform(0.34, 0.5))
  LANDSCAPES[rng.choice(len(LANDSCAPES), p=[weight for weight, _ in LANDSCAPES])][1](builder)
  return builder.finish()

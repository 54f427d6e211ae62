"""Chooses the things of a storybook picture at random and places them."""

import dataclasses

import numpy as np

from data_pipelines.storybook import shapes, things
from data_pipelines.storybook.grounds import Landscape
from data_pipelines.storybook.shapes import Figure, Placement
from data_pipelines.storybook.things import HABITATS, KINDS, Kind

NIGHT_LIGHT = (0.68, 0.72, 0.95)  # brighter than on the grounds, so that things stand out
LAND = ('grass', 'sand', 'snow')
SMALL, LARGE = 0.78, 0.98  # in middle heights of its kind
NUM_TRIES = 18
NUM_TRIES_NEARBY = 6  # the first tries, which may look for a place next to or behind another thing


@dataclasses.dataclass(frozen=True)
class Thing:
  """A figure in the picture's frame and the index of the ground that carries it."""

  name: str
  ground: int
  foot: tuple[float, float]
  figure: Figure
  extent: tuple[float, float, float, float]  # x0, y0, x1, y1 of all of it, hidden or not
  attributes: tuple[str, ...]  # of its variant, where it faces, its size


def wishes(rng: np.random.Generator, landscape: Landscape, most: int) -> list[tuple[str, int]]:
  """At most `most` random pairs of a kind and the index of the ground that carries it."""
  names = [ground.name for ground in landscape.grounds]
  count = min(most, 1 + rng.choice(6, p=(0.02, 0.08, 0.2, 0.28, 0.26, 0.16)))
  carriers = [index for index, ground in enumerate(landscape.grounds) if ground.zones]
  wanted = _story(rng, names) if rng.random() < things.STORY_CHANCE else []
  while len(wanted) < count:
    ground = 0 if rng.random() < 0.32 else carriers[rng.integers(len(carriers))]
    kind = _choose_kind(rng, names, ground)
    if kind in things.ONE_OF_A_KIND and (kind, ground) in wanted:
      continue
    wanted.append((kind, ground))
    if rng.random() < KINDS[kind].flock:
      wanted += [(kind, ground)] * rng.integers(1, 3)
  wanted = [_surprise(rng, names, wish) for wish in wanted[:count]]
  for kind, chance in things.STRANDED:
    land = [index for index in carriers if names[index] in LAND]
    at_home = any(kind in HABITATS[names[index]] for index in carriers)
    if land and not at_home and rng.random() < chance:
      wanted[0] = (kind, land[0])
  return sorted(wanted, key=lambda wish: wish[0] in things.HIDING_PLACES)


def _story(rng: np.random.Generator, names: list[str]) -> list[tuple[str, int]]:
  """Most parts of a story that these grounds can tell."""
  stories = [story for story in things.STORIES if all(ground in names for _, ground in story)]
  if not stories:
    return []
  return [
    (kind, names.index(ground))
    for kind, ground in stories[rng.integers(len(stories))]
    if rng.random() < 0.85
  ]


def _choose_kind(rng: np.random.Generator, names: list[str], ground: int) -> str:
  weights = dict(HABITATS[names[ground]])
  if 'sea' in names:
    weights.pop('cactus', None)
  else:
    weights.pop('lighthouse', None)
  total = sum(weights.values())
  return list(weights)[rng.choice(len(weights), p=[weight / total for weight in weights.values()])]


def _surprise(rng: np.random.Generator, names: list[str], wish: tuple[str, int]) -> tuple[str, int]:
  for kind, home, elsewhere, chance in things.SURPRISES:
    places = [index for index, name in enumerate(names) if name in elsewhere]
    if wish[0] == kind and names[wish[1]] == home and places and rng.random() < chance:
      return kind, places[rng.integers(len(places))]
  return wish


def place_things(
  rng: np.random.Generator, landscape: Landscape, wanted: list[tuple[str, int]]
) -> list[Thing]:
  """Random places for what is wanted, as far as there is room."""
  scale = 1 - 0.05 * max(0, len(wanted) - 2)  # the more, the smaller
  placed = []
  for name, ground in wanted:
    thing = _find_place(
      rng, landscape, _random_candidate(rng, landscape, name, ground, scale), placed
    )
    if thing:
      placed.append(thing)
  return placed


@dataclasses.dataclass(frozen=True)
class _Candidate:
  """A figure in its own frame, which still needs a place."""

  name: str
  ground: int
  figure: Figure
  attributes: tuple[str, ...]
  points: np.ndarray  # float64[n, 2] the corners of its solid shapes
  reach: tuple[float, float, float, float]  # and how far they go: x0, y0, x1, y1
  height: float
  flip: bool
  tilt: float


def _random_candidate(
  rng: np.random.Generator, landscape: Landscape, name: str, ground: int, scale: float
) -> _Candidate:
  kind = KINDS[name]
  figure, attributes = kind.draw(rng)
  if landscape.grounds[0].name == 'night sky' and not kind.glows:
    figure = tuple(
      shape._replace(colour=shapes.shaded(shape.colour, NIGHT_LIGHT)) for shape in figure
    )
  points = shapes.solid_points(figure)
  reach = shapes.extent(points)
  return _Candidate(
    name,
    ground,
    _grounded(figure, reach, kind, landscape.grounds[ground].name),
    attributes,
    points,
    reach,
    height=scale * rng.uniform(*kind.heights),
    flip=rng.random() < 0.5,
    tilt=rng.uniform(-kind.tilt, kind.tilt),
  )


def _grounded(figure: Figure, reach: tuple[float, ...], kind: Kind, carrier: str) -> Figure:
  """Adds what ties a figure to its place: a shadow on land, foam in the water."""
  x0, _, x1, _ = reach
  middle, half = (x0 + x1) / 2, (x1 - x0) / 2
  if not kind.sits or (kind.swims and carrier == 'sea'):
    return figure
  if carrier == 'sea':
    return (
      *figure,
      shapes.ellipse((238, 250, 255), middle, 0.02, half * 0.9, 0.045, opacity=170, solid=False),
    )
  shadow_width = half * 0.95 * kind.footing
  return (
    shapes.ellipse((24, 30, 50), middle, 0.01, shadow_width, 0.06, opacity=70, solid=False),
    *figure,
  )


def _find_place(
  rng: np.random.Generator, landscape: Landscape, candidate: _Candidate, placed: list[Thing]
) -> Thing | None:
  most_hidden = rng.choice((0.06, 0.25, 0.5), p=(0.55, 0.3, 0.15))
  neighbours = [thing for thing in placed if thing.ground == candidate.ground]
  for attempt in range(NUM_TRIES):
    neighbour = None
    if neighbours and attempt < NUM_TRIES_NEARBY and rng.random() < 0.6:
      neighbour = neighbours[rng.integers(len(neighbours))]
    hiding = (
      neighbour is not None
      and candidate.name in things.HIDING_PLACES
      and neighbour.name not in things.HIDING_PLACES
    )
    if KINDS[candidate.name].sits:
      placement = _place_on_ground(rng, landscape, candidate, neighbour, hiding)
    else:
      placement = _place_in_sky(rng, landscape, candidate)
    if placement is None:
      continue
    thing = Thing(
      candidate.name,
      candidate.ground,
      (placement.x, placement.y),
      candidate.figure,
      shapes.extent(placement.apply(candidate.points)),
      candidate.attributes + _placed_attributes(KINDS[candidate.name], placement),
    )
    limit = 0.6 if hiding else most_hidden
    if all(_hidden_share(thing, other) <= limit for other in placed):
      return dataclasses.replace(thing, figure=shapes.place(candidate.figure, placement))
  return None


def _placed_attributes(kind: Kind, placement: Placement) -> tuple[str, ...]:
  """What its place makes of a thing."""
  size = placement.height / np.mean(kind.heights)
  return (
    *((('left-facing' if placement.flip else 'right-facing'),) if kind.faces else ()),
    *(('small',) if size < SMALL else ('large',) if size > LARGE else ()),
  )


def _place_in_sky(
  rng: np.random.Generator, landscape: Landscape, candidate: _Candidate
) -> Placement:
  x0, y0, x1, y1 = (edge * candidate.height for edge in candidate.reach)
  half = max(-x0, x1)
  top = rng.uniform(0.02, max(0.05, landscape.horizon - 0.85 * (y1 - y0)))
  x = rng.uniform(half - 0.03, 1.03 - half)
  return Placement(x, top + y1, candidate.height, candidate.flip, candidate.tilt)


def _place_on_ground(
  rng: np.random.Generator,
  landscape: Landscape,
  candidate: _Candidate,
  neighbour: Thing | None,
  hiding: bool,
) -> Placement | None:
  """A random place in a zone of the ground; next to a neighbour, or behind it if `hiding`."""
  kind, carrier, horizon = (
    KINDS[candidate.name],
    landscape.grounds[candidate.ground],
    landscape.horizon,
  )
  zone = carrier.zones[rng.integers(len(carrier.zones))]
  y = rng.uniform(zone.top, zone.bottom)
  if neighbour is not None:
    y = (
      neighbour.foot[1] - rng.uniform(0.03, 0.12)
      if hiding
      else neighbour.foot[1] + rng.uniform(-0.04, 0.04)
    )
    zone = next((zone for zone in carrier.zones if zone.top <= y <= zone.bottom), None)
    if zone is None:
      return None
  x0, _, x1, y1 = candidate.reach
  if kind.swims and carrier.name == 'sea':
    y = max(y, min(zone.bottom, horizon + y1 * candidate.height))
  distance_scale = 0.8 + 0.45 * (y - horizon) / (1 - horizon)
  height = min(candidate.height * distance_scale, (y + 0.02) / y1)
  half = max(-x0, x1) * height
  left, right = zone.span(y)
  left, right = left + kind.footing * half, right - kind.footing * half
  if left > right:
    return None
  x = rng.uniform(left, right)
  if neighbour is not None:
    width = neighbour.extent[2] - neighbour.extent[0]
    offset = rng.uniform(0, 0.5) * width if hiding else width / 2 + half + rng.uniform(0, 0.05)
    x = neighbour.foot[0] + offset * (1 if rng.random() < 0.5 else -1)
    if not left <= x <= right:
      return None
  return Placement(x, y, height, candidate.flip, candidate.tilt)


def _hidden_share(thing: Thing, other: Thing) -> float:
  """The share of the farther thing's extent that is behind the nearer one."""
  width = min(thing.extent[2], other.extent[2]) - max(thing.extent[0], other.extent[0])
  height = min(thing.extent[3], other.extent[3]) - max(thing.extent[1], other.extent[1])
  if width <= 0 or height <= 0:
    return 0.0
  sits, other_sits = KINDS[thing.name].sits, KINDS[other.name].sits
  is_behind = thing.foot[1] < other.foot[1] if sits and other_sits else other_sits
  x0, y0, x1, y1 = thing.extent if is_behind else other.extent
  return width * height / ((x1 - x0) * (y1 - y0))

"""The kinds of things in storybook pictures: their figures, sizes and habitats."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_pipelines.storybook import creatures, figures
from data_pipelines.storybook.shapes import Variant


@dataclasses.dataclass(frozen=True)
class Kind:
  """A class of things.

  Attributes:
    draw: makes one variant.
    heights: least and greatest length of a figure unit, a share of the picture, at a middle
      distance.
    predicate: its relation to the ground that carries it.
    flock: the chance that a picture about it shows several.
    sits: whether feet stand on the ground, so that distance makes it smaller.
    swims: whether it is in the water rather than on it.
    footing: the share of its width that must be on the ground.
    glows: whether night leaves its colours alone.
    tilt: greatest turn in radians.
    faces: whether it has a front, which its figure shows on the right.
  """

  draw: Callable[[np.random.Generator], Variant]
  heights: tuple[float, float]
  predicate: str = 'on'
  flock: float = 0.2
  sits: bool = True
  swims: bool = False
  footing: float = 1.0
  glows: bool = False
  tilt: float = 0.0
  faces: bool = False


KINDS: dict[str, Kind] = {
  'sun': Kind(figures.sun, (0.26, 0.36), 'in', 0.0, sits=False),
  'moon': Kind(figures.moon, (0.22, 0.3), 'in', 0.0, sits=False, glows=True),
  'star': Kind(figures.star, (0.17, 0.22), 'in', 0.5, sits=False, glows=True),
  'cloud': Kind(figures.cloud, (0.17, 0.24), 'in', 0.35, sits=False),
  'tree': Kind(figures.tree, (0.46, 0.66), flock=0.3, footing=0.45),
  'pine': Kind(figures.pine, (0.45, 0.68), flock=0.45),
  'bush': Kind(figures.bush, (0.2, 0.27)),
  'cactus': Kind(figures.cactus, (0.36, 0.52), flock=0.3),
  'flower': Kind(figures.flower, (0.26, 0.36), flock=0.5, footing=0.6),
  'rock': Kind(figures.rock, (0.17, 0.25)),
  'house': Kind(figures.house, (0.38, 0.52), flock=0.15),
  'lighthouse': Kind(figures.lighthouse, (0.55, 0.72), flock=0.0, glows=True),
  'boat': Kind(figures.boat, (0.32, 0.44), 'in', 0.3, tilt=0.07),
  'car': Kind(figures.car, (0.2, 0.25), flock=0.35, faces=True),
  'sheep': Kind(creatures.sheep, (0.27, 0.36), 'standing on', 0.45, faces=True),
  'cow': Kind(creatures.cow, (0.3, 0.4), 'standing on', 0.3, faces=True),
  'dog': Kind(creatures.dog, (0.26, 0.33), 'standing on', 0.1, faces=True),
  'duck': Kind(creatures.duck, (0.2, 0.27), 'standing on', 0.45, faces=True),
  'person': Kind(creatures.person, (0.34, 0.46), 'standing on', 0.3),
  'snowman': Kind(creatures.snowman, (0.4, 0.52), 'standing on', 0.15),
  'bird': Kind(creatures.bird, (0.17, 0.23), 'in', 0.4, sits=False, tilt=0.15, faces=True),
  'kite': Kind(figures.kite, (0.3, 0.42), 'in', 0.15, sits=False, tilt=0.3),
  'balloon': Kind(figures.balloon, (0.32, 0.46), 'in', 0.25, sits=False),
  'fish': Kind(creatures.fish, (0.19, 0.26), 'in', 0.45, swims=True, tilt=0.2, faces=True),
}

HABITATS: dict[str, dict[str, float]] = {
  'grass': {
    'sheep': 5,
    'tree': 4,
    'cow': 2,
    'house': 2.2,
    'flower': 2,
    'person': 1.6,
    'pine': 1.2,
    'dog': 1.2,
    'bush': 1.5,
    'rock': 0.8,
    'duck': 0.8,
    'lighthouse': 1,
  },
  'sand': {
    'cactus': 3,
    'rock': 2,
    'person': 2,
    'dog': 1.2,
    'lighthouse': 1,
    'duck': 0.8,
    'bush': 0.5,
    'house': 0.6,
  },
  'snow': {
    'snowman': 3,
    'pine': 3.5,
    'house': 2,
    'person': 1.5,
    'rock': 0.8,
    'dog': 1,
    'sheep': 0.5,
  },
  'road': {'car': 6, 'person': 0.8, 'dog': 0.6, 'duck': 0.5, 'sheep': 0.3},
  'sea': {'boat': 5.5, 'fish': 2.4, 'duck': 1.5, 'rock': 0.9},
  'sky': {'sun': 4, 'cloud': 4, 'bird': 2.2, 'balloon': 1.4, 'kite': 1.4},
  'night sky': {'moon': 4, 'star': 3, 'cloud': 1.5, 'balloon': 0.8, 'bird': 0.5},
}
# Things that are out of place now and then: what, where from, where to, how often.
SURPRISES = (
  ('boat', 'sea', ('grass', 'sand', 'snow'), 0.14),
  ('fish', 'sea', ('sand', 'grass'), 0.06),
  ('sheep', 'grass', ('road',), 0.3),
)
# The same where the picture does not show the place they come from.
STRANDED = (('boat', 0.07), ('snowman', 0.02), ('fish', 0.01), ('car', 0.04))
# What belongs together, and on which grounds; some pictures begin with one of these.
STORIES = (
  (('sheep', 'grass'), ('sheep', 'grass'), ('tree', 'grass'), ('boat', 'sea')),
  (('sheep', 'grass'), ('tree', 'grass'), ('boat', 'sea'), ('boat', 'sea')),
  (('sheep', 'grass'), ('house', 'grass'), ('tree', 'grass'), ('cow', 'grass')),
  (('person', 'grass'), ('dog', 'grass'), ('kite', 'sky'), ('tree', 'grass')),
  (('lighthouse', 'grass'), ('boat', 'sea'), ('house', 'grass')),
  (('person', 'sand'), ('kite', 'sky'), ('dog', 'sand'), ('boat', 'sea')),
  (('lighthouse', 'sand'), ('boat', 'sea'), ('person', 'sand')),
  (('snowman', 'snow'), ('person', 'snow'), ('pine', 'snow'), ('house', 'snow')),
  (('car', 'road'), ('house', 'grass'), ('tree', 'grass')),
  (('moon', 'night sky'), ('star', 'night sky'), ('house', 'grass'), ('sheep', 'grass')),
  (('moon', 'night sky'), ('boat', 'sea'), ('lighthouse', 'grass')),
)
STORY_CHANCE = 0.6
BEHIND_MOUNTAINS = ('sun', 'moon', 'star', 'cloud')
ONE_OF_A_KIND = ('sun', 'moon', 'lighthouse')
HIDING_PLACES = ('tree', 'pine', 'house', 'bush', 'rock', 'lighthouse')  # often behind somebody


def support_predicate(kind: str, ground: str) -> str:
  """The relation of a thing to what carries it: a boat is in the sea, but on the grass."""
  if ground in ('sea', 'sky', 'night sky'):
    return 'in'
  predicate = KINDS[kind].predicate
  return 'on' if predicate == 'in' else predicate

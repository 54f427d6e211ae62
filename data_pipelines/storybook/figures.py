"""Figures of the sky, plants, buildings and toys; each function makes one random variant."""

import itertools

import numpy as np

from data_pipelines.storybook.creatures import CLOTH_COLOURS, INK, pick
from data_pipelines.storybook.shapes import (
  Variant,
  blob,
  darker,
  ellipse,
  lighter,
  limb,
  polygon,
)

TRUNK = (128, 82, 52)
CREAM = (255, 248, 226)
LEAF_COLOURS = {
  (64, 146, 68): 'green',
  (92, 168, 70): 'green',
  (40, 120, 76): 'green',
  (230, 140, 48): 'autumn',
  (244, 168, 190): 'blossoming',
}
PETAL_COLOURS = {
  (232, 60, 76): 'red',
  (250, 130, 180): 'pink',
  (255, 255, 255): 'white',
  (160, 90, 200): 'purple',
  (255, 160, 50): 'orange',
}
STONE_COLOURS = {(140, 140, 150): 'grey', (120, 116, 124): 'grey', (164, 148, 132): 'brown'}
WALL_COLOURS = {
  (255, 236, 196): 'beige',
  (250, 214, 160): 'beige',
  (236, 240, 244): 'white',
  (250, 190, 180): 'pink',
  (184, 214, 230): 'blue',
}
BAND_COLOURS = {(220, 52, 52): 'red', (40, 90, 170): 'blue'}
HULL_COLOURS = {
  (206, 56, 50): 'red',
  (150, 92, 52): 'brown',
  (40, 84, 160): 'blue',
  (240, 160, 50): 'orange',
}
CAR_COLOURS = {
  (216, 50, 50): 'red',
  (50, 110, 200): 'blue',
  (250, 200, 50): 'yellow',
  (70, 160, 110): 'green',
  (240, 240, 244): 'white',
}


def _star_points(num_points: int, inner: float, turn: float) -> list[tuple[float, float]]:
  angles = np.pi / 2 + turn + np.arange(2 * num_points) * np.pi / num_points
  radii = np.where(np.arange(2 * num_points) % 2 == 0, 0.5, 0.5 * inner)
  return [(r * np.cos(a), 0.5 + r * np.sin(a)) for r, a in zip(radii, angles)]


def sun(rng: np.random.Generator) -> Variant:
  disc = pick(rng, ((255, 206, 46), (255, 176, 50), (255, 226, 90)))
  glow = [
    ellipse((255, 240, 170), 0.0, 0.5, radius, opacity=44, solid=False)
    for radius in (0.78, 0.66, 0.56)
  ]
  rays = polygon(lighter(disc, 0.35), *_star_points(12, 0.78, rng.uniform(0, 0.5)))
  return Variant(
    (
      *glow,
      rays,
      ellipse(disc, 0.0, 0.5, 0.36),
      ellipse(lighter(disc, 0.3), -0.08, 0.58, 0.17),
    )
  )


def moon(rng: np.random.Generator) -> Variant:
  pale = (255, 246, 200)
  glow = [
    ellipse((220, 226, 255), 0.0, 0.5, radius, opacity=26, solid=False)
    for radius in (0.78, 0.68, 0.58)
  ]
  if rng.random() < 0.5:
    craters = [
      ellipse((232, 218, 170), x, y, radius)
      for x, y, radius in ((-0.14, 0.6, 0.11), (0.16, 0.4, 0.13), (0.1, 0.72, 0.07))
    ]
    return Variant((*glow, ellipse(pale, 0.0, 0.5, 0.48), *craters), ('full',))
  outer = np.linspace(np.pi * 0.32, np.pi * 1.68, 14)
  inner = np.linspace(np.pi * 1.55, np.pi * 0.45, 12)
  points = [(0.5 * np.cos(a), 0.5 + 0.5 * np.sin(a)) for a in outer]
  points += [(0.22 + 0.41 * np.cos(a), 0.5 + 0.41 * np.sin(a)) for a in inner]
  return Variant((*glow, polygon(pale, *points)), ('crescent',))


def star(rng: np.random.Generator) -> Variant:
  return Variant(
    (
      ellipse((255, 250, 200), 0.0, 0.5, 0.55, opacity=36, solid=False),
      polygon((255, 236, 120), *_star_points(5, 0.5, rng.uniform(-0.3, 0.3))),
    )
  )


def cloud(rng: np.random.Generator) -> Variant:
  name, puff, shade = (
    ('white', (255, 255, 255), (222, 232, 244))
    if rng.random() < 0.75
    else ('grey', (206, 214, 228), (172, 184, 204))
  )
  bumps = [
    (-0.55, 0.34, 0.3),
    (-0.18, 0.58, 0.4),
    (0.26, 0.5 + rng.uniform(0, 0.15), 0.36),
    (0.62, 0.32, 0.28),
  ]
  low = (
    ellipse(shade, 0.0, 0.24, 0.82, 0.22),
    *(ellipse(shade, x, y - 0.05, r) for x, y, r in bumps),
  )
  high = (
    *(ellipse(puff, x, y + 0.03, r * 0.94) for x, y, r in bumps),
    ellipse(puff, 0.0, 0.34, 0.66, 0.16),
  )
  return Variant((*low, *high), (name,))


def balloon(rng: np.random.Generator) -> Variant:
  cloth, stripe = pick(rng, CLOTH_COLOURS), pick(rng, (CREAM, (255, 214, 80)))
  ropes = [limb(INK, (side * 0.2, 0.42), (side * 0.07, 0.16), 0.022) for side in (-1, 1)]
  envelope = blob(
    cloth,
    (0.0, 1.0),
    (0.27, 0.9),
    (0.33, 0.68),
    (0.2, 0.42),
    (0.08, 0.3),
    (-0.08, 0.3),
    (-0.2, 0.42),
    (-0.33, 0.68),
    (-0.27, 0.9),
  )
  middle = blob(
    stripe,
    (0.0, 1.0),
    (0.12, 0.9),
    (0.13, 0.65),
    (0.05, 0.3),
    (-0.05, 0.3),
    (-0.13, 0.65),
    (-0.12, 0.9),
  )
  basket = polygon((150, 96, 52), (-0.11, 0.17), (0.11, 0.17), (0.09, 0.0), (-0.09, 0.0))
  return Variant((*ropes, envelope, middle, basket), (CLOTH_COLOURS[cloth],))


def kite(rng: np.random.Generator) -> Variant:
  cloth, second = pick(rng, CLOTH_COLOURS), pick(rng, ((255, 220, 70), CREAM, (90, 200, 220)))
  sway = rng.uniform(-0.1, 0.1)
  tail = [limb(INK, (0.0, 0.36), (sway, 0.0), 0.03)]
  bows = [
    ellipse(colour, sway * share, 0.36 * (1 - share), 0.11, 0.055, 0.4)
    for colour, share in ((second, 0.35), (cloth, 0.7), (second, 1.0))
  ]
  halves = [
    polygon(colour, (0.0, 1.0), (side * 0.32, 0.72), (0.0, 0.32))
    for colour, side in ((cloth, -1), (second, 1))
  ]
  quarters = [
    polygon(colour, (0.0, 0.72), (side * 0.32, 0.72), (0.0, 0.32))
    for colour, side in ((second, -1), (cloth, 1))
  ]
  return Variant((*tail, *bows, *halves, *quarters), (CLOTH_COLOURS[cloth],))


def tree(rng: np.random.Generator) -> Variant:
  leaves = pick(rng, LEAF_COLOURS, (0.35, 0.27, 0.2, 0.11, 0.07))
  trunk = (
    limb(TRUNK, (0.0, 0.0), (0.0, 0.55), 0.16, 0.1),
    limb(darker(TRUNK), (0.045, 0.0), (0.03, 0.5), 0.05, 0.03),
  )
  crowns = [
    (-0.22, 0.55, 0.2),
    (0.22, 0.55, 0.2),
    (-0.12, 0.74, 0.22),
    (0.13, 0.74, 0.21),
    (0.0, 0.6, 0.26),
  ]
  dark, light = darker(leaves, 0.22), lighter(leaves, 0.22)
  crown = [ellipse(dark, x, y - 0.02, radius) for x, y, radius in crowns]
  crown += [ellipse(leaves, x - 0.03, y + 0.03, radius * 0.85) for x, y, radius in crowns]
  highlight = ellipse(light, -0.13, 0.77, 0.1, 0.08)
  fruit = [
    ellipse((224, 48, 48), x, y, 0.04)
    for x, y in ((-0.2, 0.56), (0.06, 0.66), (0.22, 0.58), (-0.02, 0.84))
  ]
  fruiting = leaves[1] > 140 and rng.random() < 0.3
  attributes = (LEAF_COLOURS[leaves], *(('fruiting',) if fruiting else ()))
  return Variant((*trunk, *crown, highlight, *(fruit if fruiting else ())), attributes)


def pine(rng: np.random.Generator) -> Variant:
  needles = pick(rng, ((28, 98, 76), (36, 116, 82), (44, 92, 92)))
  snowy = rng.random() < 0.3
  tiers = []
  for bottom, top, half in ((0.12, 0.56, 0.3), (0.34, 0.78, 0.24), (0.56, 1.0, 0.18)):
    tiers.append(polygon(needles, (-half, bottom), (half, bottom), (0.0, top)))
    tiers.append(polygon(darker(needles, 0.25), (0.04, bottom), (half, bottom), (0.0, top)))
    if snowy:
      tiers.append(
        polygon(
          (246, 250, 255),
          (-half * 0.5, top - 0.22),
          (0.0, top - 0.15),
          (half * 0.5, top - 0.22),
          (0.0, top),
        )
      )
  trunk = limb(TRUNK, (0.0, 0.0), (0.0, 0.16), 0.12)
  return Variant((trunk, *tiers), ('snowy' if snowy else 'green',))


def bush(rng: np.random.Generator) -> Variant:
  leaves = pick(rng, ((72, 140, 62), (50, 120, 70), (120, 160, 60)))
  bumps = [(-0.5, 0.34, 0.32), (0.0, 0.54, 0.44), (0.5, 0.36, 0.34)]
  berry = pick(rng, ((224, 48, 72), (250, 240, 240), (250, 200, 60)))
  dots = [
    ellipse(berry, x, y, 0.075)
    for x, y in ((-0.5, 0.4), (-0.18, 0.7), (0.2, 0.5), (0.56, 0.44), (-0.12, 0.3))
  ]
  return Variant(
    (
      polygon(darker(leaves), (-0.7, 0.0), (0.72, 0.0), (0.78, 0.36), (-0.76, 0.36)),
      *(ellipse(darker(leaves), x, y - 0.03, r) for x, y, r in bumps),
      *(ellipse(leaves, x - 0.03, y + 0.05, r * 0.85) for x, y, r in bumps),
      *dots,
    )
  )


def cactus(rng: np.random.Generator) -> Variant:
  flesh = pick(rng, ((76, 150, 84), (52, 128, 92)))
  light = lighter(flesh, 0.3)
  low, high = rng.uniform(0.3, 0.4), rng.uniform(0.45, 0.52)
  arms = [
    part
    for side, low, top in ((-1, low, 0.66), (1, high, 0.78))
    for part in (
      limb(flesh, (0.0, low), (side * 0.27, low), 0.13),
      limb(flesh, (side * 0.26, low - 0.06), (side * 0.26, top), 0.14),
      ellipse(flesh, side * 0.26, top, 0.07),
    )
  ]
  trunk = (limb(flesh, (0.0, 0.0), (0.0, 0.88), 0.22), ellipse(flesh, 0.0, 0.88, 0.11))
  ribs = [limb(light, (x, 0.05), (x, 0.88), 0.03) for x in (-0.05, 0.04)]
  return Variant((*arms, *trunk, *ribs, ellipse((250, 110, 150), 0.02, 0.98, 0.09, 0.07)))


def flower(rng: np.random.Generator) -> Variant:
  petal = pick(rng, PETAL_COLOURS)
  stem = (48, 130, 58)
  angles = np.arange(6) * np.pi / 3 + rng.uniform(0, 1)
  petals = [ellipse(petal, 0.2 * np.cos(a), 0.72 + 0.2 * np.sin(a), 0.15) for a in angles]
  leaves = [ellipse(stem, side * 0.15, 0.2, 0.17, 0.08, side * 0.5) for side in (-1, 1)]
  heart = (90, 56, 30) if petal == (255, 160, 50) else (255, 206, 50)
  stalk = limb(stem, (0.0, 0.0), (0.0, 0.7), 0.09)
  return Variant(
    (stalk, *leaves, *petals, ellipse(heart, 0.0, 0.72, 0.14)), (PETAL_COLOURS[petal],)
  )


def rock(rng: np.random.Generator) -> Variant:
  stone = pick(rng, STONE_COLOURS)
  peak = rng.uniform(-0.25, 0.25)
  shapes = (
    polygon(
      stone,
      (-0.8, 0.0),
      (-0.72, 0.42),
      (-0.35, 0.85),
      (peak, 1.0),
      (0.42, 0.82),
      (0.74, 0.4),
      (0.8, 0.0),
    ),
    polygon(
      lighter(stone, 0.35), (-0.62, 0.44), (-0.32, 0.82), (peak, 0.96), (0.02, 0.66), (-0.3, 0.5)
    ),
    polygon(darker(stone, 0.25), (0.1, 0.0), (0.26, 0.5), (0.42, 0.82), (0.74, 0.4), (0.8, 0.0)),
  )
  return Variant(shapes, (STONE_COLOURS[stone],))


def house(rng: np.random.Generator) -> Variant:
  wall = pick(rng, WALL_COLOURS)
  roof = pick(rng, ((200, 62, 52), (164, 72, 48), (122, 76, 60)), (0.5, 0.3, 0.2))
  door = pick(rng, ((120, 70, 44), (60, 110, 160), (70, 130, 90)))
  lit = rng.random() < 0.4
  pane = (255, 226, 120) if lit else (150, 206, 236)
  chimney = limb(darker(roof, 0.3), (0.28, 0.66), (0.28, 0.98), 0.13)
  walls = (
    limb(wall, (0.0, 0.0), (0.0, 0.6), 0.88),
    limb(darker(wall, 0.12), (0.38, 0.0), (0.38, 0.6), 0.12),
  )
  top = (
    polygon(roof, (-0.56, 0.54), (0.56, 0.54), (0.3, 0.9), (0.0, 1.0), (-0.3, 0.9))
    if rng.random() < 0.3
    else polygon(roof, (-0.58, 0.54), (0.58, 0.54), (0.0, 1.02))
  )
  windows = [
    part
    for x in (-0.26, 0.24)
    for part in (limb(CREAM, (x, 0.24), (x, 0.48), 0.22), limb(pane, (x, 0.27), (x, 0.45), 0.15))
  ]
  eaves = limb(darker(roof, 0.25), (-0.54, 0.555), (0.54, 0.555), 0.04)
  entrance = limb(door, (0.0, 0.0), (0.0, 0.34), 0.18)
  attributes = (WALL_COLOURS[wall], *(('lit',) if lit else ()))
  return Variant((chimney, *walls, top, eaves, *windows, entrance), attributes)


def lighthouse(rng: np.random.Generator) -> Variant:
  band = pick(rng, BAND_COLOURS, (0.75, 0.25))
  edges = [
    (0.17 - 0.012 * index, 0.15 * index) for index in range(6)
  ]  # each band's foot: half its width, its height
  bands = [
    polygon(
      (255, 252, 244) if index % 2 else band,
      (-low, bottom),
      (low, bottom),
      (high, top),
      (-high, top),
    )
    for index, ((low, bottom), (high, top)) in enumerate(itertools.pairwise(edges))
  ]
  beam = polygon((255, 246, 170), (0.0, 0.86), (0.8, 1.0), (0.8, 0.72), opacity=80, solid=False)
  shapes = (
    beam,
    *bands,
    polygon((60, 60, 90), (0.06, 0.0), (0.17, 0.0), (0.11, 0.75), (0.05, 0.75), opacity=40),
    limb(INK, (-0.16, 0.77), (0.16, 0.77), 0.05),
    limb((255, 232, 110), (0.0, 0.79), (0.0, 0.9), 0.17),
    polygon(band, (-0.14, 0.89), (0.14, 0.89), (0.0, 1.02)),
  )
  return Variant(shapes, (BAND_COLOURS[band],))


def boat(rng: np.random.Generator) -> Variant:
  hull = pick(rng, HULL_COLOURS, (0.4, 0.3, 0.2, 0.1))
  sail = pick(rng, ((255, 255, 250), (255, 240, 206)))
  pennant = pick(rng, CLOTH_COLOURS)
  body = polygon(hull, (-0.54, 0.27), (0.58, 0.27), (0.38, 0.0), (-0.4, 0.0))
  rim = polygon(lighter(hull, 0.5), (-0.56, 0.29), (0.6, 0.29), (0.56, 0.22), (-0.52, 0.22))
  mast = limb((96, 66, 48), (-0.03, 0.26), (-0.03, 1.0), 0.05)
  sails = (
    polygon(sail, (0.03, 0.95), (0.5, 0.36), (0.03, 0.36)),
    polygon(darker(sail, 0.1), (-0.09, 0.86), (-0.09, 0.36), (-0.4, 0.36)),
  )
  flag = polygon(pennant, (-0.03, 1.04), (-0.03, 0.93), (-0.24, 0.98))
  return Variant((mast, *sails, body, rim, flag), (HULL_COLOURS[hull],))


def car(rng: np.random.Generator) -> Variant:
  paint = pick(rng, CAR_COLOURS, (0.4, 0.2, 0.2, 0.1, 0.1))
  cabin = blob(
    darker(paint, 0.12), (-0.52, 0.55), (-0.36, 0.92), (0.0, 1.0), (0.3, 0.9), (0.5, 0.55)
  )
  glass = (
    blob((190, 226, 244), (-0.4, 0.58), (-0.3, 0.84), (-0.06, 0.88), (-0.06, 0.58)),
    blob((190, 226, 244), (0.06, 0.58), (0.06, 0.88), (0.24, 0.82), (0.38, 0.58)),
  )
  body = blob(
    paint,
    (-0.96, 0.3),
    (-0.9, 0.58),
    (-0.4, 0.63),
    (0.5, 0.62),
    (0.92, 0.5),
    (0.98, 0.24),
    (0.5, 0.16),
    (-0.5, 0.16),
  )
  wheels = [
    part
    for x in (-0.52, 0.54)
    for part in (ellipse(INK, x, 0.2, 0.22, 0.2), ellipse((200, 204, 214), x, 0.2, 0.1))
  ]
  light = ellipse((255, 240, 160), 0.88, 0.42, 0.08, 0.07)
  return Variant((cabin, *glass, body, *wheels, light), (CAR_COLOURS[paint],))

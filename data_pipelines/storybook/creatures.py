"""Figures of people, animals and snowmen; each function makes one random pose.

Animals look to the right; `placing` turns half of them. Colours that are attributes have names.
"""

from collections.abc import Collection, Mapping

import numpy as np

from data_pipelines.storybook.shapes import (
  Colour,
  Variant,
  blob,
  darker,
  ellipse,
  lighter,
  limb,
  polygon,
)

INK = (52, 44, 56)
SKIN_COLOURS = ((250, 214, 180), (222, 170, 130), (166, 112, 78), (112, 74, 54))
CLOTH_COLOURS = {
  (226, 62, 62): 'red',
  (52, 104, 196): 'blue',
  (250, 190, 40): 'yellow',
  (60, 150, 96): 'green',
  (150, 84, 176): 'purple',
  (242, 130, 60): 'orange',
}
WOOL_COLOURS = {(255, 253, 244): 'white', (246, 236, 218): 'white', (92, 84, 92): 'black'}
DOG_COLOURS = {(198, 128, 62): 'tan', (122, 78, 50): 'brown', (252, 246, 238): 'white'}
DUCK_COLOURS = {(255, 212, 60): 'yellow', (255, 250, 236): 'white', (146, 104, 66): 'brown'}
BIRD_COLOURS = {
  (44, 84, 150): 'blue',
  (214, 60, 60): 'red',
  (60, 60, 72): 'black',
  (255, 252, 244): 'white',
}
FISH_COLOURS = {(255, 128, 40): 'orange', (240, 70, 70): 'red', (255, 206, 58): 'yellow'}


def pick(
  rng: np.random.Generator,
  colours: Collection[Colour] | Mapping[Colour, str],
  weights: tuple[float, ...] | None = None,
) -> Colour:
  return list(colours)[rng.choice(len(colours), p=weights)]


def sheep(rng: np.random.Generator) -> Variant:
  wool = pick(rng, WOOL_COLOURS, (0.73, 0.2, 0.07))
  face = INK if wool[0] > 128 else (226, 206, 184)
  legs = [
    limb(INK, (x, 0.34), (x + rng.uniform(-0.04, 0.04), 0.0), 0.1)
    for x in (-0.3, -0.14, 0.18, 0.34)
  ]
  bumps = [
    ellipse(wool, x, y, 0.2)
    for x, y in (
      (-0.44, 0.6),
      (-0.24, 0.78),
      (0.02, 0.83),
      (0.27, 0.76),
      (0.42, 0.56),
      (-0.4, 0.4),
      (0.34, 0.4),
    )
  ]
  shade = ellipse(darker(wool, 0.14), 0.0, 0.36, 0.4, 0.1)
  body = ellipse(wool, 0.0, 0.57, 0.5, 0.32)
  grazing = rng.random() < 0.3
  x, y = (0.64, 0.34) if grazing else (0.6, 0.7)
  head = (
    ellipse(face, x, y, 0.19, 0.16, -0.5),
    ellipse(darker(face, 0.1), x - 0.16, y + 0.08, 0.11, 0.05, 0.5),
    ellipse(wool, x - 0.06, y + 0.15, 0.12, 0.08),
    ellipse((255, 255, 255), x + 0.05, y + 0.04, 0.045),
  )
  attributes = (WOOL_COLOURS[wool], *(('grazing',) if grazing else ()))
  return Variant((*legs, *bumps, body, shade, *head), attributes)


def cow(rng: np.random.Generator) -> Variant:
  name, hide, patch = (
    ('white', (250, 246, 238), INK)
    if rng.random() < 0.5
    else ('brown', (176, 104, 58), (246, 234, 214))
  )
  far = [limb(darker(hide, 0.3), (x, 0.4), (x, 0.0), 0.11) for x in (-0.36, 0.28)]
  near = [limb(hide, (x, 0.4), (x, 0.0), 0.13) for x in (-0.5, 0.42)]
  hooves = [limb(INK, (x, 0.07), (x, 0.0), 0.13) for x in (-0.5, 0.42)]
  body = blob(
    hide,
    (-0.58, 0.72),
    (-0.3, 0.82),
    (0.3, 0.82),
    (0.52, 0.74),
    (0.5, 0.4),
    (0.1, 0.32),
    (-0.5, 0.36),
  )
  tail = limb(patch, (-0.56, 0.7), (-0.68, 0.3), 0.05, 0.09)
  patches = [
    ellipse(patch, rng.uniform(-0.4, -0.25), 0.62, 0.17, 0.14),
    ellipse(patch, rng.uniform(0.05, 0.25), 0.64, 0.14, 0.12),
  ]
  grazing = rng.random() < 0.3
  y = 0.5 if grazing else 0.78
  head = (
    limb((238, 222, 180), (0.56, y + 0.12), (0.5, y + 0.26), 0.07, 0.03),
    limb((238, 222, 180), (0.74, y + 0.12), (0.82, y + 0.26), 0.07, 0.03),
    ellipse(patch, 0.5, y + 0.08, 0.12, 0.06, 0.4),
    blob(
      hide,
      (0.5, y + 0.12),
      (0.7, y + 0.16),
      (0.82, y - 0.04),
      (0.84, y - 0.18),
      (0.66, y - 0.2),
      (0.52, y - 0.06),
    ),
    ellipse((244, 176, 170), 0.76, y - 0.13, 0.12, 0.085),
    ellipse(INK, 0.68, y + 0.05, 0.04),
  )
  attributes = (name, *(('grazing',) if grazing else ()))
  return Variant((tail, *far, *near, *hooves, body, *patches, *head), attributes)


def dog(rng: np.random.Generator) -> Variant:
  coat = pick(rng, DOG_COLOURS)
  dark = darker(coat, 0.35)
  tail = limb(dark, (-0.42, 0.6), (-0.62, rng.uniform(0.75, 1.0)), 0.12, 0.07)
  legs = [
    limb(shade, (x, 0.4), (x + rng.uniform(-0.05, 0.05), 0.0), 0.13)
    for x, shade in ((-0.3, dark), (0.2, dark), (-0.4, coat), (0.32, coat))
  ]
  body = blob(
    coat, (-0.48, 0.62), (0.0, 0.64), (0.4, 0.72), (0.46, 0.44), (0.0, 0.34), (-0.46, 0.34)
  )
  head = (
    ellipse(coat, 0.5, 0.82, 0.21, 0.19),
    ellipse(coat, 0.68, 0.75, 0.15, 0.1),
    ellipse(INK, 0.8, 0.79, 0.06),
    ellipse(dark, 0.38, 0.78, 0.09, 0.19, 0.2),
    ellipse(INK, 0.58, 0.87, 0.04),
    limb((222, 48, 48), (0.28, 0.64), (0.52, 0.6), 0.1),
  )
  return Variant((tail, *legs, body, *head), (DOG_COLOURS[coat],))


def duck(rng: np.random.Generator) -> Variant:
  coat = pick(rng, DUCK_COLOURS, (0.5, 0.3, 0.2))
  crest = (40, 120, 84) if coat[0] < 200 else coat
  beak = (242, 122, 34)
  body = blob(
    coat,
    (-0.66, 0.62),
    (-0.4, 0.48),
    (0.1, 0.5),
    (0.46, 0.5),
    (0.44, 0.2),
    (0.1, 0.06),
    (-0.4, 0.12),
  )
  wing = blob(
    darker(coat, 0.16), (-0.5, 0.46), (-0.1, 0.46), (0.12, 0.34), (-0.1, 0.2), (-0.36, 0.26)
  )
  feet = [limb(beak, (x, 0.1), (x + 0.06, 0.0), 0.08, 0.16) for x in (-0.08, 0.12)]
  head = (
    limb(crest, (0.34, 0.4), (0.38, 0.74), 0.24),
    ellipse(crest, 0.4, 0.78, 0.22),
    polygon(beak, (0.56, 0.86), (0.86, 0.72), (0.56, 0.66)),
    ellipse(INK, 0.48, 0.84, 0.05),
  )
  return Variant((*feet, body, wing, *head), (DUCK_COLOURS[coat],))


def bird(rng: np.random.Generator) -> Variant:
  coat = pick(rng, BIRD_COLOURS, (0.35, 0.25, 0.2, 0.2))
  wing = darker(coat, 0.25)
  tip = rng.uniform(0.85, 1.0)
  far_wing = blob(darker(coat, 0.4), (0.08, 0.45), (0.3, tip), (0.42, tip - 0.1), (0.28, 0.45))
  body = blob(
    coat, (-0.8, 0.5), (-0.3, 0.48), (0.2, 0.58), (0.5, 0.5), (0.5, 0.34), (0.1, 0.16), (-0.36, 0.3)
  )
  near_wing = blob(
    wing, (0.2, 0.42), (0.0, 0.7), (-0.3, tip), (-0.42, tip - 0.05), (-0.34, 0.6), (-0.16, 0.36)
  )
  head = (
    polygon((250, 170, 40), (0.6, 0.58), (0.88, 0.46), (0.6, 0.4)),
    ellipse(coat, 0.52, 0.5, 0.19),
    ellipse((255, 255, 255) if coat[0] < 230 else INK, 0.56, 0.55, 0.055),
  )
  return Variant((far_wing, body, near_wing, *head), (BIRD_COLOURS[coat],))


def fish(rng: np.random.Generator) -> Variant:
  coat = pick(rng, FISH_COLOURS, (0.55, 0.25, 0.2))
  tail = polygon(darker(coat, 0.15), (-0.4, 0.5), (-0.92, 0.92), (-0.78, 0.5), (-0.92, 0.08))
  fins = (
    polygon(darker(coat, 0.15), (-0.2, 0.76), (0.06, 1.0), (0.3, 0.8)),
    polygon(darker(coat, 0.15), (-0.1, 0.2), (-0.14, 0.0), (0.2, 0.2)),
  )
  body = blob(coat, (-0.5, 0.5), (-0.2, 0.78), (0.3, 0.84), (0.72, 0.5), (0.3, 0.16), (-0.2, 0.22))
  stripes = [
    limb(lighter(coat, 0.75), (x, 0.78 - 0.1 * abs(x)), (x, 0.22 + 0.1 * abs(x)), 0.12)
    for x in (-0.12, 0.18)
  ]
  eye = (ellipse((255, 255, 255), 0.46, 0.58, 0.11), ellipse(INK, 0.48, 0.58, 0.06))
  return Variant((tail, *fins, body, *stripes, *eye), (FISH_COLOURS[coat],))


def person(rng: np.random.Generator) -> Variant:
  skin, top, bottom = pick(rng, SKIN_COLOURS), pick(rng, CLOTH_COLOURS), pick(rng, CLOTH_COLOURS)
  hair = pick(rng, ((60, 42, 36), (150, 84, 40), (236, 186, 84), (200, 80, 40)))
  step = rng.uniform(0.05, 0.13)
  legs = [
    limb(darker(bottom, 0.3), (side * 0.07, 0.4), (side * step, 0.03), 0.12) for side in (-1, 1)
  ]
  shoes = [ellipse(INK, side * step + 0.02, 0.03, 0.08, 0.04) for side in (-1, 1)]
  raised = [0.76 if rng.random() < 0.3 else 0.34 for _ in range(2)]
  arms = [
    limb(darker(top, 0.15), (side * 0.12, 0.6), (side * 0.27, y), 0.1)
    for side, y in zip((-1, 1), raised)
  ]
  hands = [ellipse(skin, side * 0.28, y, 0.055) for side, y in zip((-1, 1), raised)]
  if rng.random() < 0.4:
    body = polygon(top, (-0.09, 0.67), (0.09, 0.67), (0.24, 0.28), (-0.24, 0.28))
  else:
    body = blob(top, (-0.14, 0.65), (0.14, 0.65), (0.15, 0.38), (-0.15, 0.38))
  head = (
    ellipse(hair, 0.0, 0.86, 0.165, 0.155),
    ellipse(skin, 0.02, 0.81, 0.135, 0.13),
    ellipse(INK, 0.0, 0.82, 0.022),
    ellipse(INK, 0.09, 0.82, 0.022),
  )
  waving = max(raised) > 0.5
  attributes = (CLOTH_COLOURS[top], *(('waving',) if waving else ()))
  return Variant((*legs, *shoes, *arms, *hands, body, *head), attributes)


def snowman(rng: np.random.Generator) -> Variant:
  snow, shade, scarf = (255, 255, 255), (214, 226, 244), pick(rng, CLOTH_COLOURS)
  arms = [
    limb((112, 76, 52), (side * 0.18, 0.5), (side * 0.4, rng.uniform(0.45, 0.7)), 0.045)
    for side in (-1, 1)
  ]
  balls = [
    part
    for y, radius in ((0.22, 0.27), (0.52, 0.2), (0.76, 0.15))
    for part in (
      ellipse(shade, 0.0, y - 0.01, radius, radius - 0.01),
      ellipse(snow, -0.02, y + 0.02, radius * 0.9),
    )
  ]
  face = (
    ellipse(INK, -0.04, 0.8, 0.025),
    ellipse(INK, 0.08, 0.8, 0.025),
    polygon((244, 128, 40), (0.02, 0.78), (0.22, 0.73), (0.02, 0.71)),
    ellipse(INK, 0.0, 0.54, 0.025),
    ellipse(INK, 0.0, 0.44, 0.025),
  )
  hat = (
    limb(INK, (-0.2, 0.88), (0.2, 0.88), 0.05),
    limb(INK, (0.0, 0.88), (0.0, 1.04), 0.22),
    limb(scarf, (-0.15, 0.645), (0.15, 0.645), 0.075),
    limb(scarf, (0.1, 0.64), (0.16, 0.46), 0.07),
  )
  return Variant((*arms, *balls, *face, *hat))

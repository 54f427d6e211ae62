"""The storybook's weather: fog, rain and snowfall.

Drops and flakes are small and anywhere; so each weather also changes what is large, by which it is
recognised where they are not: light, the colours of grounds, a bank of clouds.
"""

import dataclasses

import numpy as np
from PIL import Image

from data_pipelines.storybook import shapes
from data_pipelines.storybook.grounds import Ground
from data_pipelines.storybook.shapes import Colour, Figure

CHANCES = {'clear': 0.79, 'foggy': 0.07, 'rainy': 0.07, 'snowing': 0.07}
FOG_COLOUR: Colour = (226, 229, 232)
SNOW_COLOUR: Colour = (240, 245, 252)
BANK_COLOURS: tuple[Colour, ...] = ((84, 92, 108), (98, 106, 122), (114, 122, 138))
NIGHT_LIGHT = (0.42, 0.48, 0.62)  # what night leaves of the light of fog, clouds, drops and flakes
# Shares of fog in a pixel, down the picture: the farther, the more.
FOG_ABOVE, FOG_AT_HORIZON, FOG_BELOW = 0.5, 0.74, 0.18
SNOWED_OVER = {'grass': 0.72, 'sand': 0.72, 'road': 0.5, 'mountain': 0.6}  # share of snow
NUM_DROPS, NUM_FLAKES, NUM_PUFFS = 42, 46, 9


def random_weather(rng: np.random.Generator) -> str:
  """A name out of CHANCES."""
  return str(rng.choice(list(CHANCES), p=list(CHANCES.values())))


def weathered_ground(ground: Ground, weather: str, night: bool) -> Ground:
  """A ground as it looks in a weather: under a first snow, a sky with a bank of rain clouds."""
  light = NIGHT_LIGHT if night else (1.0, 1.0, 1.0)
  if weather == 'rainy' and ground.name in ('sky', 'night sky'):
    return dataclasses.replace(ground, details=(*ground.details, *_bank(light)))
  if weather != 'snowing' or ground.name not in SNOWED_OVER:
    return ground
  snow, share = shapes.shaded(SNOW_COLOUR, light), SNOWED_OVER[ground.name]
  return dataclasses.replace(
    ground,
    top_colour=shapes.mix(ground.top_colour, snow, share),
    bottom_colour=shapes.mix(ground.bottom_colour, snow, share),
    details=tuple(
      shape._replace(colour=shapes.mix(shape.colour, snow, share / 2)) for shape in ground.details
    ),
  )


def paint_weather(
  rng: np.random.Generator, image: np.ndarray, weather: str, horizon: float, night: bool
) -> np.ndarray:
  """uint8[size, size, 3] RGB: the picture in the light of this weather, behind drops or flakes.

  Args:
    rng: of drops and flakes, whose places are the same at every size.
    image: uint8[size, size, 3] RGB, of grounds as `weathered_ground` makes them.
    weather: a name out of CHANCES.
    horizon: its height in [0, 1], from above.
    night: whether there is little light.
  """
  light = NIGHT_LIGHT if night else (1.0, 1.0, 1.0)
  if weather == 'foggy':
    return _fog(image, shapes.shaded(FOG_COLOUR, light), horizon)
  if weather == 'rainy':
    colour = shapes.shaded((222, 232, 244), light)
    return _behind(
      _dull(image, grey_share=0.5, brightness=0.8), [_drop(rng, colour) for _ in range(NUM_DROPS)]
    )
  if weather == 'snowing':
    colour = shapes.shaded((252, 253, 255), light)
    return _behind(
      _dull(image, grey_share=0.3, brightness=0.95),
      [_flake(rng, colour) for _ in range(NUM_FLAKES)],
    )
  return image


def _bank(light: tuple[float, float, float]) -> Figure:
  """Clouds along the upper edge of the picture, the same ones in every rain."""
  return tuple(
    shapes.ellipse(
      shapes.shaded(BANK_COLOURS[index % len(BANK_COLOURS)], light),
      (index + 0.5) / NUM_PUFFS,
      (0.0, 0.05, 0.02)[index % 3],
      0.12,
      (0.12, 0.09, 0.14)[index % 3],
    )
    for index in range(NUM_PUFFS)
  )


def _behind(image: np.ndarray, falling: list[shapes.Shape]) -> np.ndarray:
  painted = Image.fromarray(image)
  shapes.paint(painted, tuple(falling))
  return np.array(painted)


def _fog(image: np.ndarray, colour: Colour, horizon: float) -> np.ndarray:
  rows = (np.arange(len(image)) + 0.5) / len(image)
  share = np.interp(rows, (0, horizon, 1), (FOG_ABOVE, FOG_AT_HORIZON, FOG_BELOW))[:, None, None]
  return (image * (1 - share) + np.array(colour) * share).round().astype(np.uint8)


def _dull(image: np.ndarray, grey_share: float, brightness: float) -> np.ndarray:
  grey = image.mean(axis=2, keepdims=True)
  return ((image * (1 - grey_share) + grey * grey_share) * brightness).round().astype(np.uint8)


def _drop(rng: np.random.Generator, colour: Colour) -> shapes.Shape:
  x, y = rng.uniform(-0.02, 1.02), rng.uniform(-0.05, 1)
  length = rng.uniform(0.07, 0.13)
  return shapes.limb(colour, (x, y), (x - 0.3 * length, y + length), 0.006, opacity=165)


def _flake(rng: np.random.Generator, colour: Colour) -> shapes.Shape:
  x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.009, 0.017)
  return shapes.ellipse(colour, x, y, radius, opacity=235)

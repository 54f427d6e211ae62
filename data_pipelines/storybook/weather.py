"""The storybook's weather: fog, rain and snowfall, painted over a finished picture."""

import numpy as np
from PIL import Image

from data_pipelines.storybook import shapes
from data_pipelines.storybook.shapes import Colour

CHANCES = {'clear': 0.79, 'foggy': 0.07, 'rainy': 0.07, 'snowing': 0.07}
FOG_COLOUR: Colour = (226, 229, 232)
NIGHT_LIGHT = (0.42, 0.48, 0.62)  # what night leaves of the light of fog, drops and flakes
# Shares of fog in a pixel, down the picture: the farther, the more.
FOG_ABOVE, FOG_AT_HORIZON, FOG_BELOW = 0.5, 0.74, 0.18
NUM_DROPS, NUM_FLAKES = 42, 46


def random_weather(rng: np.random.Generator) -> str:
  """A name out of CHANCES."""
  return str(rng.choice(list(CHANCES), p=list(CHANCES.values())))


def paint_weather(
  rng: np.random.Generator, image: np.ndarray, weather: str, horizon: float, night: bool
) -> np.ndarray:
  """uint8[size, size, 3] RGB: the picture in this weather.

  Args:
    rng: of drops and flakes, whose places are the same at every size.
    image: uint8[size, size, 3] RGB in clear weather.
    weather: a name out of CHANCES.
    horizon: its height in [0, 1], from above.
    night: whether there is little light.
  """
  if weather == 'clear':
    return image
  light = NIGHT_LIGHT if night else (1.0, 1.0, 1.0)
  if weather == 'foggy':
    return _fog(image, shapes.shaded(FOG_COLOUR, light), horizon)
  if weather == 'rainy':
    dull = _dull(image, grey_share=0.5, brightness=0.8)
    falling = [_drop(rng, shapes.shaded((222, 232, 244), light)) for _ in range(NUM_DROPS)]
  else:
    dull = _dull(image, grey_share=0.3, brightness=0.92)
    falling = [
      shapes.ellipse(
        shapes.shaded((252, 253, 255), light),
        rng.uniform(0, 1),
        rng.uniform(0, 1),
        rng.uniform(0.009, 0.017),
        opacity=235,
      )
      for _ in range(NUM_FLAKES)
    ]
  painted = Image.fromarray(dull)
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

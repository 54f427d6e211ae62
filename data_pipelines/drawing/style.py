"""Colours and fonts of everything that is drawn."""

import colorsys
import functools
import hashlib

import numpy as np
from PIL import ImageFont

BACKGROUND = (255, 255, 255)
INK = (34, 34, 42)

Color = tuple[int, int, int]  # red, green, blue, 0 to 255


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
  """Pillow's built-in font, so that pictures look alike on every machine."""
  built_in = ImageFont.load_default(size)
  assert isinstance(built_in, ImageFont.FreeTypeFont)
  return built_in


def text_size(text: str, size: int) -> tuple[int, int]:
  """Width and line height of a text in pixels."""
  ascent, descent = font(size).getmetrics()
  return round(font(size).getlength(text)), ascent + descent


def class_color(name: str) -> Color:
  """The colour of a class: vivid, and always the same for a name."""
  # With this number sky is blue and grass is green.
  digest = hashlib.sha1(f'434670 {name}'.encode()).digest()
  hue, lightness = digest[0] / 256, 0.40 + 0.16 * digest[1] / 255
  red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.72)
  return round(255 * red), round(255 * green), round(255 * blue)


def tint(color: Color, amount: float) -> Color:
  """The colour thinned with white; 1 leaves it as it is."""
  red, green, blue = (round(255 + (channel - 255) * amount) for channel in color)
  return red, green, blue


def ink_on(color: Color) -> Color:
  """Dark or white, whichever reads better on the colour."""
  luminance = np.dot((np.array(color) / 255) ** 2.2, (0.2126, 0.7152, 0.0722))
  return INK if luminance > 0.26 else BACKGROUND

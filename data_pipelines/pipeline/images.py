"""One image file as pixels at training size."""

import io

import numpy as np
import PIL.Image


class UnreadableImage(ValueError):
  """A file that is no whole image; the message is the reason, in one line."""


def read_image(file: io.BufferedIOBase, image_size: tuple[int, int]) -> np.ndarray:
  """The image in RGB, resized bilinearly (with anti-aliasing), ignoring its aspect.

  Args:
    file: of any format that Pillow reads, including grey, CMYK and palettes; transparent pixels
      become white.
    image_size: H, W.

  Returns:
    uint8[H, W, 3].

  Raises:
    UnreadableImage: no image, or cut off.
  """
  height, width = image_size
  try:
    # Read as a whole: zipfile checks a member's sum at its end, which image decoders never ask for.
    with PIL.Image.open(io.BytesIO(file.read())) as image:
      return np.asarray(_to_rgb(image).resize((width, height), PIL.Image.Resampling.BILINEAR))
  except PIL.UnidentifiedImageError:
    raise UnreadableImage('no image') from None
  except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them into
    raise UnreadableImage(' '.join(str(error).split()) or type(error).__name__) from None


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
  if image.mode.startswith('I'):  # 16 bits of grey, which Pillow's own conversion clips at 255
    image = PIL.Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
  if image.has_transparency_data:
    image = image.convert('RGBA')
    background = PIL.Image.new('RGBA', image.size, 'white')
    image = PIL.Image.alpha_composite(background, image)
  return image.convert('RGB')

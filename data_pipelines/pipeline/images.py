"""One image file as pixels at training size."""

import io
import zipfile
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps

EXIF_ORIENTATION, UPRIGHT = 0x0112, 1
_TURNED = range(2, 9)  # values of the mark; those from 5 on swap width and height
_SIDEWAYS = range(5, 9)


class UnreadableImage(ValueError):
  """A file that is no whole image; the message is the reason, in one line."""


# What a file raises that is damaged, or an archive that holds it. What else opening a file raises,
# as of a network, is no fault of the file.
UNUSABLE = (UnreadableImage, OSError, zipfile.BadZipFile, zlib.error)


def read_image(
  file: io.BufferedIOBase,
  image_size: tuple[int, int],
  annotated_size: tuple[int, int] | None = None,
) -> np.ndarray:
  """The image in RGB, resized bilinearly (with anti-aliasing), ignoring its aspect.

  Args:
    file: of any format that Pillow reads, including grey, 16 bits, CMYK and palettes; transparent
      pixels become white.
    image_size: H, W.
    annotated_size: width and height in pixels that the boxes were given in. A photograph that its
      EXIF mark turns is turned where that makes it fit; None takes it as it is stored.

  Returns:
    uint8[H, W, 3].

  Raises:
    UnreadableImage: no image, cut off, or of other proportions than `annotated_size`.
  """
  height, width = image_size
  try:
    # Read as a whole: zipfile checks a member's sum at its end, which image decoders never ask for.
    with PIL.Image.open(io.BytesIO(file.read())) as image:
      if annotated_size is not None:
        image = _as_annotated(image, annotated_size)
      return np.asarray(_to_rgb(image).resize((width, height), PIL.Image.Resampling.BILINEAR))
  except UnreadableImage:
    raise
  except PIL.UnidentifiedImageError:
    raise UnreadableImage('no image') from None
  except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them into
    raise UnreadableImage(' '.join(str(error).split()) or type(error).__name__) from None


def read_segments(file: io.BufferedIOBase) -> np.ndarray:
  """int32[H, W] of a panoptic PNG: the id of the segment of each pixel, R + 256 G + 65536 B; 0 is
  none.

  Raises:
    UnreadableImage: no image, or cut off.
  """
  try:
    with PIL.Image.open(io.BytesIO(file.read())) as image:
      channels = np.asarray(image.convert('RGB'), np.int32)
  except Exception as error:  # see read_image
    raise UnreadableImage(f'its PNG: {error}') from None
  return channels @ np.array([1, 256, 65536], np.int32)


def _as_annotated(image: PIL.Image.Image, annotated_size: tuple[int, int]) -> PIL.Image.Image:
  """The image as it was annotated: as it is stored, or turned as its EXIF mark says."""
  mark = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
  as_stored = _fits(image.size, annotated_size)
  as_shown = mark in _SIDEWAYS and _fits((image.height, image.width), annotated_size)
  sides = '{}x{} pixels'.format(*image.size)
  if not as_stored and not as_shown:
    width, height = annotated_size
    raise UnreadableImage(f'it has {sides}, but its annotations are of {width}x{height}')
  if mark in _TURNED and (as_stored and (as_shown or mark not in _SIDEWAYS)):
    raise UnreadableImage(
      f'its EXIF mark {mark} turns or mirrors it, and its {sides} do not tell whether that was '
      'done before it was annotated: save it upright, without the mark'
    )
  return PIL.ImageOps.exif_transpose(image) if as_shown else image


def _fits(size: tuple[int, int], annotated_size: tuple[int, int]) -> bool:
  """Whether the sides are the annotated ones, or scaled by one factor but for rounding."""
  (width, height), (annotated_width, annotated_height) = size, annotated_size
  return abs(width * annotated_height - height * annotated_width) <= max(annotated_size)


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
  if image.mode == 'F' or image.mode.startswith('I'):  # Pillow's own conversion clips at 255
    image = PIL.Image.fromarray(_as_bytes(np.asarray(image)))
  if image.has_transparency_data:
    image = image.convert('RGBA')
    background = PIL.Image.new('RGBA', image.size, 'white')
    image = PIL.Image.alpha_composite(background, image)
  return image.convert('RGB')


def _as_bytes(values: np.ndarray) -> np.ndarray:
  """uint8[H, W] of grey in other numbers: shares, bytes or 16 bits, by the largest one."""
  least, largest = values.min(), values.max()
  if not least >= 0 or not largest < 2**16:  # or not a number
    raise UnreadableImage(
      f'its grey values go from {least} to {largest}; expected 0 to 1, 255 or 65535'
    )
  if values.dtype.kind == 'f' and largest <= 1:
    return (values * 255).round().astype(np.uint8)
  return (values if largest < 256 else values // 256).astype(np.uint8)

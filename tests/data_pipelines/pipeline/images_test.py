import io

import numpy as np
import PIL.Image
import pytest

from data_pipelines.pipeline.images import UnreadableImage, read_image

SIZE = (8, 12)
COLOUR = (200, 100, 40)


def encoded(image, file_format, **options):
  file = io.BytesIO()
  image.save(file, file_format, **options)
  file.seek(0)
  return file


def gradient(mode='RGB'):
  rows, columns = np.mgrid[:40, :60]
  pixels = np.stack([rows * 6, columns * 4, (rows + columns) * 2], -1).astype(np.uint8)
  return PIL.Image.fromarray(pixels).convert(mode)


def test_resizes_bilinearly_and_ignores_the_aspect():
  image = gradient()
  found = read_image(encoded(image, 'PNG'), SIZE)
  assert found.dtype == np.uint8 and found.shape == (*SIZE, 3)
  np.testing.assert_array_equal(
    found, np.asarray(image.resize(SIZE[::-1], PIL.Image.Resampling.BILINEAR))
  )


@pytest.mark.parametrize(
  ('mode', 'file_format', 'options'),
  [
    ('CMYK', 'JPEG', {'quality': 95}),
    ('P', 'PNG', {}),
    ('P', 'GIF', {}),
    ('RGBA', 'PNG', {}),
    ('RGB', 'JPEG', {}),
  ],
)
def test_any_mode_becomes_rgb(mode, file_format, options):
  image = PIL.Image.new('RGB', (60, 40), COLOUR).convert(mode, palette=PIL.Image.Palette.ADAPTIVE)
  found = read_image(encoded(image, file_format, **options), SIZE)
  assert found.shape == (*SIZE, 3)
  assert np.abs(found.astype(int) - COLOUR).max() <= 4


@pytest.mark.parametrize('file_format', ['PNG', 'JPEG'])
def test_grey_has_three_equal_channels(file_format):
  found = read_image(encoded(gradient('L'), file_format), SIZE)
  assert found.shape == (*SIZE, 3) and found.std() > 10
  np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_grey_of_16_bits_keeps_its_range():
  values = np.linspace(0, 65535, 60).astype(np.uint16)[None].repeat(40, 0)
  found = read_image(encoded(PIL.Image.fromarray(values), 'PNG'), SIZE)
  assert found[0, 0, 0] < 20 and found[0, -1, 0] > 235 and abs(int(found[0, 6, 0]) - 138) < 12


def test_what_is_transparent_becomes_white():
  image = PIL.Image.new('RGBA', (60, 40), (*COLOUR, 0))
  np.testing.assert_array_equal(read_image(encoded(image, 'PNG'), SIZE), 255)


def cut_off(file_format, share):
  content = encoded(gradient(), file_format).getvalue()
  return content[: int(share * len(content))]


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'no image',
    *(cut_off(kind, share) for kind in ('PNG', 'JPEG', 'GIF') for share in (0.05, 0.7)),
  ],
)
def test_says_why_a_file_is_unreadable(content):
  with pytest.raises(UnreadableImage, match='.') as caught:
    read_image(io.BytesIO(content), SIZE)
  assert '\n' not in str(caught.value)


def photograph(mark, size=(60, 40)):
  """A JPEG that is stored dark above and bright below, with an EXIF mark."""
  image = PIL.Image.new('L', size)
  image.paste(255, (0, size[1] // 2, *size))
  exif = PIL.Image.Exif()
  exif[0x0112] = mark
  return encoded(image, 'JPEG', exif=exif)


@pytest.mark.parametrize(
  ('mark', 'annotated_size', 'bright_side'),
  [
    (1, (60, 40), 'below'),
    (6, (60, 40), 'below'),  # annotated as it is stored
    (6, (40, 60), 'left'),  # annotated as it is shown
    (8, (40, 60), 'right'),
    (8, (400, 600), 'right'),  # and at another scale
    (1, (30, 20), 'below'),
  ],
)
def test_photographs_are_turned_as_they_were_annotated(mark, annotated_size, bright_side):
  found = read_image(photograph(mark), (8, 8), annotated_size).astype(float)
  brightest = {
    'below': found[6:].mean(),
    'left': found[:, :2].mean(),
    'right': found[:, 6:].mean(),
    'above': found[:2].mean(),
  }
  assert max(brightest, key=lambda side: brightest[side]) == bright_side


@pytest.mark.parametrize(
  ('mark', 'size', 'annotated_size', 'expected'),
  [
    (1, (60, 40), (40, 60), 'it has 60x40 pixels, but its annotations are of 40x60'),
    (1, (60, 40), (60, 45), 'it has 60x40 pixels, but its annotations are of 60x45'),
    (6, (60, 40), (60, 60), 'it has 60x40 pixels, but its annotations are of 60x60'),
    (6, (40, 40), (40, 40), 'its EXIF mark 6 turns or mirrors it, .* save it upright'),
    (3, (60, 40), (60, 40), 'its EXIF mark 3 turns or mirrors it, .* save it upright'),
  ],
)
def test_refuses_pictures_that_do_not_fit_their_annotations(mark, size, annotated_size, expected):
  with pytest.raises(UnreadableImage, match=expected):
    read_image(photograph(mark, size), (8, 8), annotated_size)


@pytest.mark.parametrize('largest', [1.0, 255.0, 65535.0])
def test_grey_in_floating_point_keeps_its_range(largest):
  values = np.linspace(0, largest, 60, dtype=np.float32)[None].repeat(40, 0)
  found = read_image(encoded(PIL.Image.fromarray(values), 'TIFF'), SIZE)
  assert found.min() < 15 and found.max() > 240


@pytest.mark.parametrize('value', [-1.0, 1e6, float('nan')])
def test_grey_of_an_unknown_range_is_refused(value):
  values = np.full((40, 60), value, np.float32)
  with pytest.raises(UnreadableImage, match='its grey values go from'):
    read_image(encoded(PIL.Image.fromarray(values), 'TIFF'), SIZE)

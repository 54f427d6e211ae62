import numpy as np
import pytest
from PIL import Image

from data_pipelines.drawing import layouts, style

BOXES = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0.25, 0.5, 0.75, 0.9]], np.float32)
NAMES = ('__image__', 'sky', 'sheep')
MASKS = np.ones((3, 8, 8), np.float32)


def _has_color(picture, color, tolerance=40):
  return (np.abs(np.asarray(picture).astype(int) - np.array(color)).sum(-1) < tolerance).any()


def test_layout_has_the_size_and_the_outlines_of_the_boxes():
  picture = layouts.draw_layout(NAMES, BOXES, MASKS, (100, 200))
  assert picture.size == (200, 100)
  sheep, sky = style.class_color('sheep'), style.class_color('sky')
  for corner in ((50, 89), (149, 89), (100, 89), (149, 70)):
    assert picture.getpixel(corner) == sheep
  assert picture.getpixel((199, 20)) == sky
  assert picture.getpixel((100, 95)) == picture.getpixel(
    (5, 70)
  )  # background: __image__ is not drawn


def test_boxes_are_drawn_on_a_copy_of_the_picture():
  picture = Image.new('RGB', (200, 100), (9, 9, 9))
  drawn = layouts.draw_boxes(picture, NAMES, BOXES)
  for corner in ((50, 89), (149, 89), (149, 70)):
    assert drawn.getpixel(corner) == style.class_color('sheep')
  assert (
    drawn.getpixel((100, 82)) == drawn.getpixel((100, 95)) == (9, 9, 9)
  )  # inside a box and outside of all
  assert picture.getcolors() == [(200 * 100, (9, 9, 9))]


def test_objects_are_placed_large_ones_first_with_room_for_their_names():
  sky, sheep = layouts.place_objects(NAMES, BOXES, (100, 200))
  assert (sky.index, sky.name, sky.box) == (1, 'sky', (0, 0, 200, 50))
  assert (sheep.index, sheep.name, sheep.box) == (2, 'sheep', (50, 50, 150, 90))
  width, height = style.text_size('sheep', layouts.LABEL_TEXT)
  assert sheep.label == (50, 50, 50 + width + 8, 50 + height + 2)
  first, second = layouts.place_objects(
    ('sky', 'sky'), BOXES[[0, 0]], (100, 200)
  )  # in the same box
  assert (
    second.label[:2] == (0, 0) and first.label[1:3] == (0, 200) and second.label[2] < first.label[0]
  )


def test_masks_are_as_dense_as_they_are_sure():
  density = np.asarray(layouts.mask_opacity(np.array([[0, 0.5], [1, 7]], np.float32)))
  assert density.tolist() == [[0, 76], [153, 153]]
  assert np.asarray(layouts.mask_opacity(None)).tolist() == [[76]]


def test_layout_shows_masks_inside_their_boxes():
  masks = MASKS.copy()
  masks[2, :, 4:] = 0
  picture = layouts.draw_layout(NAMES, BOXES, masks, (100, 200))
  background = np.array(picture.getpixel((20, 95)))
  left, right = (np.array(picture.getpixel((x, 85))) for x in (70, 140))
  assert np.abs(left - background).sum() > 100
  assert np.abs(right - background).sum() < 10


def test_layout_paints_small_objects_over_large_ones():
  boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0, 0, 1, 1]], np.float32)
  swapped = layouts.draw_layout(('sky', 'sheep'), boxes[::-1], MASKS[:2], (128, 128))
  picture = layouts.draw_layout(('sheep', 'sky'), boxes, MASKS[:2], (128, 128))
  assert picture.getpixel((76, 76)) == style.class_color('sheep')
  np.testing.assert_array_equal(np.asarray(picture), np.asarray(swapped))


def test_layout_without_masks_fills_the_boxes():
  picture = layouts.draw_layout(NAMES, BOXES, None, (128, 128))
  assert picture.getpixel((64, 113)) == style.class_color('sheep')
  assert picture.getpixel((64, 105)) != picture.getpixel((5, 105))


@pytest.mark.parametrize(
  'box',
  [
    (0.8, 0.8, 0.2, 0.2),
    (2, 2, 3, 3),
    (0, 0, 50, 50),
    (0.5, 0.5, 0.5, 0.5),
    (float('nan'), 0, float('inf'), 1),
    (-3, -3, -2, -2),
  ],
)
def test_layout_bears_any_box(box):
  assert layouts.draw_layout(('boat',), np.array([box], np.float32), MASKS[:1], (64, 64)).size == (
    64,
    64,
  )


def test_layout_bears_many_objects():
  rng = np.random.default_rng(0)
  picture = layouts.draw_layout(
    ['person'] * 60, rng.random((60, 4)), rng.random((60, 16, 16)), (256, 256)
  )
  assert _has_color(picture, style.class_color('person'))

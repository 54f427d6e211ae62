import numpy as np
import pytest
from PIL import Image

from data_pipelines.drawing import sheets as drawing

BOXES = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0.25, 0.5, 0.75, 0.9]], np.float32)
NAMES = ('__image__', 'sky', 'sheep')
MASKS = np.ones((3, 8, 8), np.float32)


def _has_color(picture, color, tolerance=40):
  return (np.abs(np.asarray(picture).astype(int) - np.array(color)).sum(-1) < tolerance).any()


def _samples(count, seed=0, size=(64, 64)):
  return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def test_a_class_keeps_its_color():
  assert drawing.class_color('sheep') == (223, 136, 58)
  assert drawing.class_color('sky') != drawing.class_color('grass')


@pytest.mark.parametrize(
  'name', ['sky', 'grass', 'sheep', 'person', 'sea', 'boat', 'tree', 'traffic light']
)
def test_names_are_legible_on_their_color(name):
  def luminance(color):
    return np.dot((np.array(color) / 255) ** 2.2, (0.2126, 0.7152, 0.0722))

  color = drawing.class_color(name)
  low, high = sorted([luminance(color), luminance(drawing.ink_on(color))])
  assert (high + 0.05) / (low + 0.05) > 3


def test_layout_has_the_size_and_the_outlines_of_the_boxes():
  picture = drawing.draw_layout(NAMES, BOXES, MASKS, (100, 200))
  assert picture.size == (200, 100)
  sheep, sky = drawing.class_color('sheep'), drawing.class_color('sky')
  for corner in ((50, 89), (149, 89), (100, 89), (149, 70)):
    assert picture.getpixel(corner) == sheep
  assert picture.getpixel((199, 20)) == sky
  assert picture.getpixel((100, 95)) == picture.getpixel(
    (5, 70)
  )  # background: __image__ is not drawn


def test_boxes_are_drawn_on_a_copy_of_the_picture():
  picture = Image.new('RGB', (200, 100), (9, 9, 9))
  drawn = drawing.draw_boxes(picture, NAMES, BOXES)
  for corner in ((50, 89), (149, 89), (149, 70)):
    assert drawn.getpixel(corner) == drawing.class_color('sheep')
  assert (
    drawn.getpixel((100, 82)) == drawn.getpixel((100, 95)) == (9, 9, 9)
  )  # inside a box and outside of all
  assert picture.getcolors() == [(200 * 100, (9, 9, 9))]


def test_objects_are_placed_large_ones_first_with_room_for_their_names():
  sky, sheep = drawing.place_objects(NAMES, BOXES, (100, 200))
  assert (sky.index, sky.name, sky.box) == (1, 'sky', (0, 0, 200, 50))
  assert (sheep.index, sheep.name, sheep.box) == (2, 'sheep', (50, 50, 150, 90))
  width, height = drawing.text_size('sheep', drawing.LABEL_TEXT)
  assert sheep.label == (50, 50, 50 + width + 8, 50 + height + 2)
  first, second = drawing.place_objects(
    ('sky', 'sky'), BOXES[[0, 0]], (100, 200)
  )  # in the same box
  assert (
    second.label[:2] == (0, 0) and first.label[1:3] == (0, 200) and second.label[2] < first.label[0]
  )


def test_masks_are_as_dense_as_they_are_sure():
  density = np.asarray(drawing.mask_opacity(np.array([[0, 0.5], [1, 7]], np.float32)))
  assert density.tolist() == [[0, 76], [153, 153]]
  assert np.asarray(drawing.mask_opacity(None)).tolist() == [[76]]


def test_layout_shows_masks_inside_their_boxes():
  masks = MASKS.copy()
  masks[2, :, 4:] = 0
  picture = drawing.draw_layout(NAMES, BOXES, masks, (100, 200))
  background = np.array(picture.getpixel((20, 95)))
  left, right = (np.array(picture.getpixel((x, 85))) for x in (70, 140))
  assert np.abs(left - background).sum() > 100
  assert np.abs(right - background).sum() < 10


def test_layout_paints_small_objects_over_large_ones():
  boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0, 0, 1, 1]], np.float32)
  swapped = drawing.draw_layout(('sky', 'sheep'), boxes[::-1], MASKS[:2], (128, 128))
  picture = drawing.draw_layout(('sheep', 'sky'), boxes, MASKS[:2], (128, 128))
  assert picture.getpixel((76, 76)) == drawing.class_color('sheep')
  np.testing.assert_array_equal(np.asarray(picture), np.asarray(swapped))


def test_layout_without_masks_fills_the_boxes():
  picture = drawing.draw_layout(NAMES, BOXES, None, (128, 128))
  assert picture.getpixel((64, 113)) == drawing.class_color('sheep')
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
  assert drawing.draw_layout(('boat',), np.array([box], np.float32), MASKS[:1], (64, 64)).size == (
    64,
    64,
  )


def test_layout_bears_many_objects():
  rng = np.random.default_rng(0)
  picture = drawing.draw_layout(
    ['person'] * 60, rng.random((60, 4)), rng.random((60, 16, 16)), (256, 256)
  )
  assert _has_color(picture, drawing.class_color('person'))


def test_small_pictures_are_enlarged():
  assert drawing.enlarge(_samples(1)[0]).size == (256, 256)
  assert drawing.enlarge(_samples(1, size=(128, 128))[0]).size == (256, 256)
  assert drawing.enlarge(_samples(1, size=(64, 32))[0]).size == (128, 256)
  assert drawing.enlarge(_samples(1, size=(512, 512))[0]).size == (512, 512)
  assert drawing.enlarge(_samples(1)[0], 320).size == (320, 320)


def test_image_grid_fills_row_by_row():
  images = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (10, 60, 110, 160, 210)])
  grid = drawing.image_grid(images, columns=3)
  assert grid.size == (3 * 256 + 2 * 8, 2 * 256 + 8)
  assert [grid.getpixel((x, y))[0] for y in (128, 392) for x in (128, 392, 656)] == [
    10,
    60,
    110,
    160,
    210,
    255,
  ]


def test_contact_sheet_holds_graph_layout_and_samples():
  graph, layout = (
    Image.new('RGB', (90, 120), (255, 0, 0)),
    Image.new('RGB', (256, 256), (0, 0, 255)),
  )
  samples = np.full((4, 64, 64, 3), (0, 255, 0), np.uint8)
  sheet = np.asarray(drawing.contact_sheet(graph, layout, samples))
  for color, pixels in (
    ((255, 0, 0), 90 * 120),
    ((0, 0, 255), 256 * 256),
    ((0, 255, 0), 4 * 256 * 256),
  ):
    assert (sheet == color).all(-1).sum() == pixels


def test_contact_sheet_uses_the_height_of_a_tall_graph():
  sheet = drawing.contact_sheet(
    Image.new('RGB', (200, 600)), Image.new('RGB', (256, 256)), _samples(4)
  )
  assert sheet.width < 200 + 3 * 256 + 100


def test_overview_has_a_row_for_each_graph_and_shrinks_large_graphs():
  graphs = [Image.new('RGB', (2000, 1000), (255, 0, 0)), Image.new('RGB', (100, 50), (255, 0, 0))]
  layouts = [Image.new('RGB', (256, 256), (0, 0, 255))] * 2
  picture = drawing.overview(
    graphs, layouts, [np.full((2, 64, 64, 3), (0, 255, 0), np.uint8)] * 2, ['a', 'b']
  )
  pixels = np.asarray(picture)
  assert (pixels == (0, 0, 255)).all(-1).sum() == 2 * 256 * 256
  assert (pixels == (0, 255, 0)).all(-1).sum() == 4 * 256 * 256
  assert (pixels == (255, 0, 0)).all(-1).sum() == 480 * 240 + 100 * 50
  assert graphs[0].size == (2000, 1000)


def test_training_grid_has_a_column_for_each_way():
  columns = [np.full((3, 32, 32, 3), value, np.uint8) for value in (20, 70, 120, 170)]
  grid = drawing.training_grid(*columns)
  assert grid.dtype == np.uint8 and grid.ndim == 3
  found = [value for value in (20, 70, 120, 170) if (grid == value).all(-1).sum() >= 3 * 256 * 256]
  assert found == [20, 70, 120, 170]
  middle = grid[grid.shape[0] // 2]
  order = [value for value in middle[:, 0] if value in found]
  assert order == sorted(order)

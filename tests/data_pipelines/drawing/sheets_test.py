import numpy as np
import pytest
from PIL import Image

from data_pipelines.drawing import sheets
from data_pipelines.scene_graphs.errors import SettingsError


def _samples(count, seed=0, size=(64, 64)):
  return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def test_small_pictures_are_enlarged():
  assert sheets.enlarge(_samples(1)[0]).size == (256, 256)
  assert sheets.enlarge(_samples(1, size=(128, 128))[0]).size == (256, 256)
  assert sheets.enlarge(_samples(1, size=(64, 32))[0]).size == (128, 256)
  assert sheets.enlarge(_samples(1, size=(512, 512))[0]).size == (512, 512)
  assert sheets.enlarge(_samples(1)[0], 320).size == (320, 320)


def test_image_grid_fills_row_by_row():
  images = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (10, 60, 110, 160, 210)])
  grid = sheets.image_grid(images, columns=3)
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
  sheet = np.asarray(sheets.contact_sheet(graph, layout, samples))
  for color, pixels in (
    ((255, 0, 0), 90 * 120),
    ((0, 0, 255), 256 * 256),
    ((0, 255, 0), 4 * 256 * 256),
  ):
    assert (sheet == color).all(-1).sum() == pixels


def test_contact_sheet_uses_the_height_of_a_tall_graph():
  sheet = sheets.contact_sheet(
    Image.new('RGB', (200, 600)), Image.new('RGB', (256, 256)), _samples(4)
  )
  assert sheet.width < 200 + 3 * 256 + 100


def test_overview_has_a_row_for_each_graph_and_shrinks_large_graphs():
  graphs = [Image.new('RGB', (2000, 1000), (255, 0, 0)), Image.new('RGB', (100, 50), (255, 0, 0))]
  layouts = [Image.new('RGB', (256, 256), (0, 0, 255))] * 2
  picture = sheets.overview(
    graphs, layouts, [np.full((2, 64, 64, 3), (0, 255, 0), np.uint8)] * 2, ['a', 'b']
  )
  pixels = np.asarray(picture)
  assert (pixels == (0, 0, 255)).all(-1).sum() == 2 * 256 * 256
  assert (pixels == (0, 255, 0)).all(-1).sum() == 4 * 256 * 256
  assert (pixels == (255, 0, 0)).all(-1).sum() == 480 * 240 + 100 * 50
  assert graphs[0].size == (2000, 1000)


def test_training_grid_has_a_column_for_each_way():
  columns = [np.full((3, 32, 32, 3), value, np.uint8) for value in (20, 70, 120, 170)]
  grid = sheets.training_grid(*columns)
  assert grid.dtype == np.uint8 and grid.ndim == 3
  found = [value for value in (20, 70, 120, 170) if (grid == value).all(-1).sum() >= 3 * 256 * 256]
  assert found == [20, 70, 120, 170]
  middle = grid[grid.shape[0] // 2]
  order = [value for value in middle[:, 0] if value in found]
  assert order == sorted(order)


@pytest.mark.parametrize('name', ['nowhere/sheet.png', 'sheet.wrong'])
def test_a_sheet_that_cannot_be_written(tmp_path, name):
  with pytest.raises(SettingsError, match='output is .*; expected a file in an existing directory'):
    sheets.save(Image.new('RGB', (1, 1)), str(tmp_path / name))

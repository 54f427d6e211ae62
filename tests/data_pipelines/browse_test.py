"""The sheet shows the scenes, and the command prints the statistics without jax."""

import re

import numpy as np
import pytest
from PIL import Image

from data_pipelines import browse
from data_pipelines.drawing import browsing, scene_sheet, sheets
from data_pipelines.drawing.style import class_color
from data_pipelines.pipeline import prepared, visit_options
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from tests.data_pipelines import without_jax


@pytest.fixture
def visits(coco_root):
  builder = prepared.open_data_set(str(coco_root / 'prepared'))
  return prepared.SplitVisits(
    builder, 'val', 'geometric', *prepared.whole_slots(builder, 'geometric'), seed=0
  )


def _has_color(pixels, color):
  return (np.abs(pixels.astype(int) - np.array(color)).sum(-1) < 10).any()


def test_a_row_shows_image_boxes_masks_and_graph(visits):
  (scene,) = visits.scenes(1)
  sheet = np.asarray(scene_sheet.draw_scenes([scene]))
  enlarged = np.asarray(sheets.enlarge(scene.image, scene_sheet.PICTURE_SIDE))
  height, width = enlarged.shape[:2]
  # The picture is on the sheet as it is; what the other columns draw begins to its right.
  left = next(
    x
    for x in range(sheet.shape[1] - width)
    for y in range(40)
    if np.array_equal(sheet[y : y + height, x : x + width], enlarged)
  )
  columns = [
    sheet[:, left + (width + 8) * number : left + (width + 8) * number + width] for number in (1, 2)
  ]
  graph = sheet[:, left + 3 * (width + 8) :]
  for name in scene.graph.objects:
    for part in (*columns, graph):
      assert _has_color(part, class_color(name)), name


def test_scenes_without_masks_are_drawn(visits):
  (scene,) = visits.scenes(1)
  bare = prepared.PreparedScene(scene.image_id, scene.image, scene.graph, scene.boxes, None)
  assert scene_sheet.draw_scenes([bare]).size == scene_sheet.draw_scenes([scene]).size


def test_sheet_has_a_row_for_each_scene(visits, tmp_path):
  heights = []
  for number in (1, 3):
    sheet, statistics = browsing.browse(visits, str(tmp_path / 'sheet.png'), number)
    heights.append(Image.open(tmp_path / 'sheet.png').height)
    assert f'sheet.png: {number} scenes of {visits.builder.data_dir}, split val' in sheet
    assert statistics.startswith('4 scenes, ')  # the statistics are of the whole split
  assert heights[1] > 2 * heights[0]


@pytest.mark.parametrize('name', ['nowhere/sheet.png', 'sheet.wrong'])
def test_a_file_that_cannot_be_written(visits, tmp_path, name):
  with pytest.raises(UserError, match='expected a file in an existing directory'):
    list(browsing.browse(visits, str(tmp_path / name), 1))


@pytest.mark.slow
def test_command_needs_no_jax(coco_root, tmp_path):
  flags = [
    f'--data_dir={coco_root / "prepared"}',
    f'--output={tmp_path / "sheet.png"}',
    '--num_scenes=2',
  ]
  result = without_jax.run('data_pipelines.browse', *flags)
  assert result.returncode == 0, result.stderr
  lines = result.stdout.splitlines()
  assert lines[0].endswith('split val, relations geometric, seed 0')
  assert lines[-1].startswith('recommended: data.max_objects=')
  assert (tmp_path / 'sheet.png').is_file()


def test_command_reports_mistakes_in_one_line(coco_root):
  result = without_jax.run('data_pipelines.browse', '--num_scenes=0')
  assert (result.returncode, result.stdout) == (2, '')
  assert '--num_scenes=0' in result.stderr
  assert len(result.stderr.splitlines()) == 1
  for options, message in (
    ({'split': 'summer'}, "no split 'summer'; it has test, train, val"),
    ({'dataset': 'storybook'}, '--dataset is .*; choose one: coco_stuff/'),
    ({'max_triples': 1}, '--max_triples is 1, but .*; set --max_triples=8'),
  ):
    with pytest.raises(UserError) as raised:
      browse.browse(browse.BrowseOptions(data_dir=str(coco_root / 'prepared'), **options))
    error = raised.value
    text = error.text(visit_options.spell) if isinstance(error, SettingsError) else str(error)
    assert re.search(message, text) and '\n' not in text

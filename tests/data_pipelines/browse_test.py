"""The sheet shows the scenes, and the command prints the statistics without jax."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipelines import browse
from data_pipelines.drawing.sheets import class_color
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.errors import UserError

# TensorFlow imports jax if it can, so the command must do its work where nobody can.
WITHOUT_JAX = """
import runpy, sys
sys.modules['jax'] = sys.modules['sg2im_jax'] = None
sys.argv = ['browse', *sys.argv[1:]]
runpy.run_module('data_pipelines.browse', run_name='__main__', alter_sys=True)
"""


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
  sheet = np.asarray(browse.draw_scenes([scene]))
  enlarged = np.asarray(browse.drawing.enlarge(scene.image, browse._PICTURE_SIDE))
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
  bare = prepared.Scene(scene.image_id, scene.image, scene.graph, scene.boxes, None)
  assert browse.draw_scenes([bare]).size == browse.draw_scenes([scene]).size


def test_sheet_has_a_row_for_each_scene(visits, tmp_path, capsys):
  heights = []
  for number in (1, 3):
    browse.browse(visits, str(tmp_path / 'sheet.png'), number)
    heights.append(Image.open(tmp_path / 'sheet.png').height)
    assert f'sheet.png: {number} scenes of {visits.builder.data_dir}, split val' in (
      printed := capsys.readouterr().out
    )
    assert '\n4 scenes, ' in printed  # the statistics are of the whole split
  assert heights[1] > 2 * heights[0]


@pytest.mark.parametrize('name', ['nowhere/sheet.png', 'sheet.wrong'])
def test_a_file_that_cannot_be_written(visits, tmp_path, name):
  with pytest.raises(UserError, match='expected a file in an existing directory'):
    browse.browse(visits, str(tmp_path / name), 1)


def test_command_needs_no_jax(coco_root, tmp_path):
  flags = [
    f'--data_dir={coco_root / "prepared"}',
    f'--output={tmp_path / "sheet.png"}',
    '--num_scenes=2',
  ]
  result = subprocess.run(
    [sys.executable, '-c', WITHOUT_JAX, *flags], capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr
  lines = result.stdout.splitlines()
  assert lines[0].endswith('split val, relations geometric, seed 0')
  assert lines[-1].startswith('recommended: --config.data.max_objects=')
  assert (tmp_path / 'sheet.png').is_file()


def test_command_reports_mistakes_in_one_line(coco_root, tmp_path):
  data_dir = f'--data_dir={coco_root / "prepared"}'
  for flag, message in (
    ('--split=summer', "no split 'summer'; it has test, train, val"),
    ('--num_scenes=0', '--num_scenes=0'),
    ('--dataset=storybook', 'choose one with --dataset: coco_stuff/'),
  ):
    result = subprocess.run(
      [sys.executable, '-m', 'data_pipelines.browse', data_dir, flag],
      capture_output=True,
      text=True,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1

"""The embedded data set: pictures are deterministic, what is said of them is true, records have the
common layout.
"""

import collections
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_pipelines.configs import storybook as storybook_config
from data_pipelines.scene_graphs.encoding import crop_mask
from data_pipelines.scene_graphs.errors import SettingsError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.storybook import builder as storybook
from data_pipelines.storybook import relations
from data_pipelines.storybook.grounds import COLOURS
from data_pipelines.storybook.scenes import MAX_OBJECTS, StorybookScene, draw_scene
from data_pipelines.storybook.things import KINDS
from data_pipelines.storybook.weather import CHANCES
from tests.data_pipelines.settings import data_settings

pytestmark = pytest.mark.slow

GROUNDS = ('sky', 'night sky', *COLOURS)
SKIES = ('sky', 'night sky')


@pytest.fixture(scope='module')
def scenes() -> list[StorybookScene]:
  return [draw_scene(0, index) for index in range(1500)]


def test_same_picture_at_every_call_and_in_another_process(scenes):
  again = draw_scene(0, 7)
  np.testing.assert_array_equal(again.image, scenes[7].image)
  np.testing.assert_array_equal(again.masks, scenes[7].masks)
  assert (again.names, again.relations) == (scenes[7].names, scenes[7].relations)
  program = (
    'import zlib; from data_pipelines.storybook.scenes import draw_scene; scene = draw_scene(0, '
    '7); '
    'print(zlib.crc32(scene.image), zlib.crc32(scene.masks), scene.relations)'
  )
  printed = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  ).stdout
  assert printed.strip() == f'{zlib.crc32(again.image)} {zlib.crc32(again.masks)} {again.relations}'


def test_attributes_are_those_of_the_pictures(scenes):
  right = collections.Counter()
  for scene in scenes:
    time, _ = scene.attributes_of_image
    assert (time == 'night') == (scene.names[0] == 'night sky')
    for name, mask, attributes in zip(scene.names, scene.masks, scene.attributes, strict=True):
      assert set(attributes) <= set(storybook.ATTRIBUTE_NAMES)
      if name not in KINDS:
        assert attributes == ()
        continue
      assert KINDS[name].faces == bool({'left-facing', 'right-facing'} & set(attributes))
      rows, columns = np.nonzero(mask)
      if name == 'dog':  # whose head is its highest part
        upper = columns[rows < rows.min() + np.ptp(rows) / 3].mean()
        looks_left = upper < (columns.min() + columns.max()) / 2
        right['facing', ('left-facing' in attributes) == looks_left] += 1
      if name == 'car' and time != 'night' and {'red', 'blue'} & set(attributes):
        red, _, blue = np.median(scene.image[mask], 0)
        right['colour', ('red' in attributes) == (red > blue)] += 1
  for what in ('facing', 'colour'):
    assert right[what, True] > 20 * max(1, right[what, False]), right


def test_weather_is_that_of_the_picture(scenes):
  scenes = [scene for scene in scenes if scene.attributes_of_image[0] == 'day']
  weathers = collections.Counter(scene.attributes_of_image[1] for scene in scenes)
  assert weathers.keys() == CHANCES.keys()
  for weather, chance in CHANCES.items():
    assert abs(weathers[weather] / len(scenes) - chance) < 0.025
  contrast, colour, edges = (collections.defaultdict(list) for _ in range(3))
  for scene in scenes:
    weather, above = scene.attributes_of_image[1], scene.image[:20].astype(int)
    contrast[weather].append(above.std(axis=(0, 1)).mean())
    colour[weather].append(np.ptp(np.median(above, axis=(0, 1))))
    edges[weather].append(np.median(np.abs(np.diff(above, axis=1)).sum(-1).mean(1)))
  means = {
    weather: [np.mean(of[weather]) for of in (contrast, colour, edges)] for weather in CHANCES
  }
  assert means['foggy'][0] < 0.7 * means['clear'][0]  # pale
  assert means['rainy'][1] < 0.7 * means['clear'][1]  # grey
  assert min(means['rainy'][2], means['snowing'][2]) > 1.3 * means['clear'][2]  # drops and flakes


def test_weather_changes_nothing_but_the_picture(monkeypatch):
  foggy = next(
    index for index in range(100) if draw_scene(0, index).attributes_of_image[1] == 'foggy'
  )
  drawn = draw_scene(0, foggy)
  monkeypatch.setitem(CHANCES, 'clear', 1.0)
  for weather in set(CHANCES) - {'clear'}:
    monkeypatch.setitem(CHANCES, weather, 0.0)
  clear = draw_scene(0, foggy)
  assert clear.attributes_of_image == (drawn.attributes_of_image[0], 'clear')
  assert (clear.names, clear.relations, clear.attributes) == (
    drawn.names,
    drawn.relations,
    drawn.attributes,
  )
  np.testing.assert_array_equal(clear.masks, drawn.masks)
  assert (clear.image != drawn.image).mean() > 0.9


def test_seed_and_index_make_other_pictures(scenes):
  assert not np.array_equal(draw_scene(1, 0).image, scenes[0].image)
  assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)


def test_boxes_are_tight_around_masks_and_grounds_share_no_pixel(scenes):
  for scene in scenes:
    assert scene.image.shape == (64, 64, 3) and scene.image.dtype == np.uint8
    assert scene.boxes.dtype == np.float32 and scene.masks.dtype == bool
    grounds = scene.masks[[name not in KINDS for name in scene.names]]
    assert (
      grounds.sum(axis=0).max() == 1 and grounds.any(axis=0).mean() > 0.97
    )  # but for pixels on their borders
    for mask, box in zip(scene.masks, scene.boxes, strict=True):
      rows, columns = np.nonzero(mask)
      expected = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 64
      np.testing.assert_array_equal(box, expected)
      assert crop_mask(mask, box, 16).any()


def test_mask_is_where_the_thing_is_seen(scenes):
  yellow = np.array([255, 200, 60])
  for scene in scenes[:300]:
    if scene.attributes_of_image[1] != 'clear':
      continue
    for index, name in enumerate(scene.names):
      seen = scene.masks[index] & ~scene.masks[index + 1 :].any(axis=0)
      if name == 'sun' and seen.any():
        assert np.abs(np.median(scene.image[seen], axis=0) - yellow).max() < 60


def test_a_mask_goes_on_behind_other_things(scenes):
  overlaps = [
    scene
    for scene in scenes
    if scene.masks[[name in KINDS for name in scene.names]].sum(axis=0).max() > 1
  ]
  assert len(overlaps) > 300


def test_number_and_size_of_objects(scenes):
  for scene in scenes:
    assert 3 <= len(scene.names) <= MAX_OBJECTS
    assert len(scene.names) == len(scene.boxes) == len(scene.masks)
    assert scene.names[0] in SKIES
    assert any(name in KINDS for name in scene.names)
    sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]) * 64
    assert sides.min() >= 5
    assert scene.masks.mean(axis=(1, 2)).min() >= 0.01


def test_every_class_and_predicate_occurs(scenes):
  names = collections.Counter(name for scene in scenes for name in set(scene.names))
  predicates = collections.Counter(
    predicate for scene in scenes for _, predicate, _ in scene.relations
  )
  assert set(names) == set(storybook.VOCABULARY.object_names[1:]) and len(names) == 32
  assert min(names.values()) >= 20
  assert set(predicates) == set(relations.PREDICATES)
  assert min(predicates.values()) >= 500


def test_relations_are_plausible(scenes):
  for scene in scenes:
    assert len(scene.relations) == len(set(scene.relations)) <= relations.MAX_RELATIONS
    carriers = collections.defaultdict(list)
    for subject, predicate, other in scene.relations:
      assert (
        subject != other and 0 <= min(subject, other) and max(subject, other) < len(scene.names)
      )
      if predicate in ('in', 'on', 'standing on'):
        carriers[subject].append((predicate, scene.names[other]))
      elif predicate == 'behind':
        assert subject < other  # painted before
      elif predicate == 'in front of':
        assert subject > other
    for index, name in enumerate(scene.names):
      if name in KINDS:
        ((predicate, ground),) = carriers[index]
        assert ground in GROUNDS
        assert (predicate == 'in') == (ground in ('sea', *SKIES))
        assert (ground in SKIES) == (not KINDS[name].sits)
        assert (predicate == 'standing on') <= (KINDS[name].predicate == 'standing on')


def test_foremost_thing_stands_on_the_ground_that_carries_it(scenes):
  for scene in scenes:
    for subject, predicate, other in scene.relations:
      if (
        predicate in ('on', 'standing on') and subject == len(scene.names) - 1
      ):  # nothing hides its foot
        assert scene.boxes[other, 1] < scene.boxes[subject, 3]


def test_boats_are_mostly_in_the_sea_and_sometimes_on_the_grass(scenes):
  places = collections.Counter(
    (predicate, scene.names[other])
    for scene in scenes
    for subject, predicate, other in scene.relations
    if scene.names[subject] == 'boat' and predicate in ('in', 'on')
  )
  on_land = sum(count for (predicate, _), count in places.items() if predicate == 'on')
  assert 0.08 < on_land / sum(places.values()) < 0.2
  assert places['on', 'grass'] >= 40


def test_scenes_of_the_paper_occur(scenes):
  together = [set(scene.names) for scene in scenes if {'sky', 'grass', 'sea'} <= set(scene.names)]
  assert len(together) > 0.25 * len(scenes)
  assert sum({'sheep', 'tree', 'boat'} <= names for names in together) > 0.02 * len(scenes)
  tree_behind_sheep = [
    scene
    for scene in scenes
    for subject, predicate, other in scene.relations
    if (scene.names[subject], predicate, scene.names[other]) == ('tree', 'behind', 'sheep')
  ]
  assert len(tree_behind_sheep) > 0.03 * len(scenes)


@pytest.mark.parametrize('size', [32, 128])
def test_same_composition_at_every_size(scenes, size):
  for index in range(150):
    scene, other = scenes[index], draw_scene(0, index, size)
    assert other.image.shape == (size, size, 3) and other.masks.shape[1:] == (size, size)
    assert (other.names, other.relations) == (scene.names, scene.relations)
    assert np.mean(np.abs(other.boxes - scene.boxes)) < 1.5 / 32


def _settings(tmp_path, *, options=None, **changes) -> DataSettings:
  options = {'num_train': 6, 'num_val': 3, 'scene_seed': 4} | (options or {})
  return data_settings(
    storybook_config.get_config(), data_dir=str(tmp_path), options=options, **changes
  )


def test_builder_writes_records(tmp_path):
  builder = storybook.make_builder(_settings(tmp_path))
  builder.download_and_prepare()
  assert (
    builder.info.splits['train'].num_examples == 6 and builder.info.splits['val'].num_examples == 3
  )
  vocabulary = Vocabulary.from_dict(builder.info.metadata['vocabulary'])
  assert vocabulary == storybook.VOCABULARY
  records = {
    record['image_id'].decode(): record
    for record in tfds.as_numpy(builder.as_dataset(split='train'))
  }
  assert set(records) == {f'4-{index}' for index in range(6)}
  for index in range(6):
    record, scene = records[f'4-{index}'], draw_scene(4, index)
    num_objects = len(scene.names)
    np.testing.assert_array_equal(record['image'], scene.image)
    np.testing.assert_array_equal(record['boxes'], scene.boxes)
    assert [vocabulary.object_names[class_id] for class_id in record['object_class']] == list(
      scene.names
    )
    assert record['masks'].shape == (num_objects, 32, 32) and record['masks'].dtype == np.uint8
    np.testing.assert_array_equal(record['masks'][0], crop_mask(scene.masks[0], scene.boxes[0], 32))
    relations = tuple(
      (int(subject), vocabulary.predicate_names[predicate], int(other))
      for subject, predicate, other in record['relations']
    )
    assert relations == scene.relations
  counts = [
    (len(draw_scene(4, index).names), len(draw_scene(4, index).relations))
    for index in (*range(6), *range(storybook.FIRST_VAL_INDEX, storybook.FIRST_VAL_INDEX + 3))
  ]
  metadata = builder.info.metadata
  assert (metadata['max_objects'], metadata['max_relations']) == tuple(np.max(counts, axis=0))


def test_other_options_make_another_data_set(tmp_path):
  changes = (
    {},
    {'image_size': (128, 128)},
    {'mask_size': 8},
    {'options': {'num_train': 7}},
    {'options': {'num_val': 4}},
    {'options': {'scene_seed': 5}},
  )
  assert len(
    {storybook.make_builder(_settings(tmp_path, **change)).data_dir for change in changes}
  ) == len(changes)


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    ({'image_size': (64, 96)}, r'data.image_size is \(64, 96\), expected a square of at least 32'),
    ({'image_size': (16, 16)}, r'data.image_size is \(16, 16\), expected a square of at least 32'),
    ({'mask_size': None}, 'data.mask_size is None, but the objects of storybook have masks'),
    ({'mask_size': 0}, 'data.mask_size is 0, expected 1 or more'),
    ({'options': {'num_train': 0}}, 'data.options.num_train is 0, expected 1 or more'),
    ({'options': {'num_val': 0}}, 'data.options.num_val is 0, expected 1 or more'),
    ({'options': {'scene_seed': -1}}, 'data.options.scene_seed is -1, expected 0 or more'),
  ],
)
def test_impossible_settings_are_named(tmp_path, change, expected):
  with pytest.raises(SettingsError, match=expected):
    storybook.make_builder(_settings(tmp_path, **change))


def _run_command(*flags: str) -> subprocess.CompletedProcess:
  command = [sys.executable, '-m', 'data_pipelines.storybook', *flags]
  return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_draws_a_sheet(tmp_path):
  path = tmp_path / 'sheet.png'
  assert _run_command(f'--output={path}', '--num_scenes=9', '--size=32').returncode == 0
  with Image.open(path) as sheet:
    assert sheet.size == (8 * 36 + 4, 2 * 36 + 4)


def test_command_names_a_bad_path(tmp_path):
  result = _run_command(f'--output={tmp_path}/none/sheet.png', '--num_scenes=1')
  assert result.returncode == 2
  assert result.stderr.startswith('error: --output is ') and 'Traceback' not in result.stderr

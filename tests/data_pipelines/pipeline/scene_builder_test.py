"""Records and metadata do not depend on who makes them: threads, or workers of Apache Beam."""

import json
import pathlib
from collections.abc import Callable

import pytest

from data_pipelines import preparation
from data_pipelines.configs import debug, scenes
from data_pipelines.pipeline.parallel import BeamSettings
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.data_settings import DataSettings
from tests.data_pipelines import conftest
from tests.data_pipelines.coco import panoptic_test
from tests.data_pipelines.settings import data_settings
from tests.data_pipelines.visual_genome import visual_genome_test

EXAMPLE = pathlib.Path(__file__).parents[3] / 'examples/scenes'


@pytest.fixture(autouse=True)
def beam():
  pytest.importorskip('apache_beam')


def contents(directory: pathlib.Path) -> dict[str, list]:
  """By the name of each file, its records in order, parsed, as maps have no order of their own."""
  found = {}
  for path in sorted(directory.rglob('*.tfrecord*')):
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    found[path.name] = [tf.train.Example.FromString(record) for record in records]
  assert found
  return found


def metadata(directory: pathlib.Path) -> str:
  (path,) = directory.rglob('metadata.json')
  return path.read_text()


def processes(number: int) -> BeamSettings:
  options = ('direct_running_mode=multi_processing', f'direct_num_workers={number}')
  return BeamSettings('DirectRunner', options)


def storybook(root: pathlib.Path) -> Callable[[pathlib.Path], DataSettings]:
  options = {'num_train': 45, 'num_val': 2}  # two shards; the second has scenes of both splits
  return lambda data_dir: data_settings(debug.get_config(), data_dir=str(data_dir), options=options)


def coco_stuff(root: pathlib.Path) -> Callable[[pathlib.Path], DataSettings]:
  """With images that are missing and damaged, and an object without a pixel."""
  conftest.write_coco_files(root)
  path = root / 'annotations/instances_train2017.json'
  document = json.loads(path.read_text())
  document['annotations'][0]['segmentation'] = [[0, 0, 0.1, 0, 0.1, 0.1, 0, 0.1]]
  document['annotations'][0]['bbox'] = [20, 20, 30, 15]
  document['annotations'].append({'image_id': 1, 'category_id': 1, 'bbox': []})
  path.write_text(json.dumps(document))
  return lambda data_dir: conftest.make_settings(root, data_dir)


def coco_panoptic(root: pathlib.Path) -> Callable[[pathlib.Path], DataSettings]:
  panoptic_test.write_panoptic_files(root / 'source')
  return lambda data_dir: panoptic_test.make_settings(root, data_dir)


def visual_genome(root: pathlib.Path) -> Callable[[pathlib.Path], DataSettings]:
  visual_genome_test.write_files(root)
  return lambda data_dir: visual_genome_test.make_settings(root, data_dir)


def own_scenes(root: pathlib.Path) -> Callable[[pathlib.Path], DataSettings]:
  """The example, with a line that is wrong."""
  root.mkdir()
  for path in EXAMPLE.iterdir():
    if path.is_dir():
      (root / path.name).symlink_to(path)
  lines = (EXAMPLE / 'scenes.jsonl').read_text()
  (root / 'scenes.jsonl').write_text(f'{lines}\n{{"file": "images/nowhere.png"}}\n')
  return lambda data_dir: data_settings(
    scenes.get_config(), source_dir=str(root), data_dir=str(data_dir)
  )


DATA_SETS = (storybook, coco_stuff, coco_panoptic, visual_genome, own_scenes)


def said(caplog) -> list[str]:
  """The messages so far of the builders, which name what is left out; without directories."""
  texts = [record.getMessage() for record in caplog.records if record.name == 'absl']
  caplog.clear()
  return [text for text in texts if 'apitools' not in text]


@pytest.mark.slow
@pytest.mark.parametrize('data_set', DATA_SETS, ids=lambda data_set: data_set.__name__)
def test_workers_make_the_same_records_as_threads(tmp_path, caplog, data_set):
  make_settings = data_set(tmp_path / 'source')
  preparation.prepare(make_settings(tmp_path / 'threads'))
  expected = said(caplog)
  preparation.prepare(make_settings(tmp_path / 'beam'), BeamSettings('DirectRunner'))
  assert contents(tmp_path / 'beam') == contents(tmp_path / 'threads')
  assert metadata(tmp_path / 'beam') == metadata(tmp_path / 'threads')
  assert said(caplog) == expected
  if data_set in (coco_stuff, visual_genome, own_scenes):
    assert any('Skipped' in text for text in expected)
  if data_set is coco_stuff:
    assert len(json.loads(metadata(tmp_path / 'beam'))['faults']) == 2
  assert not list((tmp_path / 'beam').rglob('beam.*'))


@pytest.mark.slow
@pytest.mark.parametrize(
  'number', [2, pytest.param(4, marks=pytest.mark.exhaustive)], ids='{} processes'.format
)
@pytest.mark.parametrize(
  'data_set',
  [
    coco_stuff,
    *(pytest.param(one, marks=pytest.mark.exhaustive) for one in (storybook, own_scenes)),
  ],
  ids=lambda data_set: data_set.__name__,
)
def test_processes_make_the_same_records_as_threads(tmp_path, data_set, number):
  make_settings = data_set(tmp_path / 'source')
  preparation.prepare(make_settings(tmp_path / 'threads'))
  preparation.prepare(make_settings(tmp_path / 'beam'), processes(number))
  assert contents(tmp_path / 'beam') == contents(tmp_path / 'threads')
  assert metadata(tmp_path / 'beam') == metadata(tmp_path / 'threads')


def test_what_keeps_the_annotations_from_being_read_is_told_as_ever(tmp_path):
  (tmp_path / 'scenes.jsonl').write_text('{}\n')
  settings = data_settings(
    scenes.get_config(), source_dir=str(tmp_path), data_dir=str(tmp_path / 'data')
  )
  with pytest.raises(UserError, match='no line is usable'):
    preparation.prepare(settings, BeamSettings('DirectRunner'))
  assert not list((tmp_path / 'data').rglob('beam.*'))

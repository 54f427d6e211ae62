import importlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from absl import flags

from data_pipelines import data_sets, preparation, prepare
from data_pipelines.coco import official_files
from data_pipelines.pipeline import download
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from sg2im_jax.runtime import config_flag
from tests.data_pipelines import conftest, without_jax
from tests.data_pipelines.settings import data_settings

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
COCO = preparation.data_sets.find('coco_stuff')
DRAWN = [
  '--dataset=storybook',
  '--image_size=32',
  '--mask_size=8',
  '--option=num_train=3',
  '--option=num_val=2',
]


def run(*arguments) -> subprocess.CompletedProcess[str]:
  return without_jax.run('data_pipelines.prepare', *arguments)


def error_of(process: subprocess.CompletedProcess) -> str:
  assert process.returncode == 2
  assert process.stdout == ''
  return process.stderr.removesuffix('\n')


@pytest.fixture
def training_config(monkeypatch):
  """The config that a printed training command has."""

  def parse(command: str):
    values = flags.FlagValues()
    flags.DEFINE_string('workdir', None, '', flag_values=values)
    config_flag.define(values)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
      sys, 'argv', shlex.split(command)[2:]
    )  # config_flags looks for the overrides there
    config_flag.parse_flags(sys.argv, values)
    return values.config

  return parse


def test_training_finds_what_was_prepared(tmp_path, training_config):
  process = run(*DRAWN, f'--data_dir={tmp_path}')
  assert process.returncode == 0, process.stderr
  records, images, skipped, size, training = process.stdout.splitlines()[-5:]
  directory = pathlib.Path(records.removeprefix('records: '))
  assert directory.is_relative_to(tmp_path) and list(directory.glob('*.tfrecord*'))
  assert images == 'images: train 3, val 2; 32x32 pixels, masks 8x8'
  assert skipped == 'skipped images: 0'
  assert float(size.removeprefix('disk use: ').removesuffix(' MB')) == pytest.approx(
    sum(path.stat().st_size for path in directory.iterdir()) / 1e6, abs=0.05
  )
  config = training_config(training.removeprefix('train with: '))
  builder = data_sets.find('storybook').make_builder(data_settings(config))
  assert (builder.is_prepared(), str(builder.data_dir)) == (True, str(directory))
  assert config.model.mask_size == 8


def test_prepares_coco(coco_root, tmp_path, training_config):
  settings = preparation.data_settings(
    COCO,
    source=str(coco_root / 'source'),
    data_dir=str(tmp_path),
    image_size=[24, 32],
    mask_size=8,
    options=['num_val=4', 'stuff_whitelist=sky, other'],
  )
  builder = preparation.prepare(settings)
  lines = preparation.report(settings, builder).splitlines()
  assert lines[1:3] == [
    'images: train 12, val 4, test 2; 24x32 pixels, masks 8x8',
    'skipped images: 2',
  ]
  found = training_config(preparation.training_command(settings))
  assert data_settings(found) == settings
  assert len(lines) == 5
  settings = settings.replace(max_objects=3)
  assert preparation.report(settings, builder).splitlines()[5:] == [
    'note: data.max_objects is 3, but scenes of up to 4 objects need 5 slots; set '
    'data.max_objects=5'
  ]


def test_options_have_the_type_of_the_config():
  settings = preparation.data_settings(
    COCO,
    options=[
      'min_object_area=1',
      'min_objects=2',
      'include_other=True',
      'num_val=3',
      'min_objects=4',
      'train_images=all',
      'stuff_whitelist=sky',
      'instance_whitelist=dog, traffic light',
    ],
  )
  options = settings.options
  assert (options.train_images, options.stuff_whitelist) == ('all', ('sky',))
  assert options.instance_whitelist == ('dog', 'traffic light')
  assert (options.min_object_area, options.min_objects, options.include_other, options.num_val) == (
    1.0,
    4,
    True,
    3,
  )
  assert isinstance(options.min_object_area, float)
  assert settings.max_objects == preparation.data_settings(COCO).max_objects


@pytest.mark.parametrize(
  'option, message',
  [
    ('min_object=2', '--option=min_object is unknown; the nearest is min_objects'),
    ('min_objects', "--option is 'min_objects', expected NAME=VALUE; the names are .*min_objects"),
    ('min_objects=2.5', "--option=min_objects is '2.5', expected a whole number"),
    ('min_object_area=small', "--option=min_object_area is 'small', expected a number"),
    ('include_other=yes', "--option=include_other is 'yes', expected True or False"),
    ('min_objects=9', '--option=max_objects is 8, expected 9 or more, which is min_objects'),
  ],
)
def test_mistaken_options(option, message):
  with pytest.raises(SettingsError) as raised:
    preparation.data_settings(COCO, options=[option])
  assert re.fullmatch(f'{message}.*', raised.value.text(prepare.spell))


@pytest.mark.parametrize(
  'size, expected', [([0], '1 or more'), ([1, 2, 3], '2 values'), ([], 'more values')]
)
def test_mistaken_image_sizes(size, expected):
  with pytest.raises(SettingsError, match=rf'data.image_size is .*, expected {expected}'):
    preparation.data_settings(COCO, image_size=size)


def test_all_mistakes_are_told_at_once():
  with pytest.raises(SettingsError) as raised:
    preparation.data_settings(COCO, image_size=[64, 0], options=['num_vall=2', 'min_objects=-1'])
  assert raised.value.text(prepare.spell) == (
    '3 settings are wrong: --image_size is 0, expected 1 or more; --option=min_objects is -1, '
    'expected 0 or more; --option=num_vall is unknown; the nearest is num_val'
  )


def test_what_a_data_set_does_not_have():
  with pytest.raises(
    SettingsError, match=r'data.source_dir is x, but storybook is drawn by a prog'
  ):
    preparation.data_settings(preparation.data_sets.find('storybook'), source='x')
  with pytest.raises(SettingsError, match=r'data.mask_size is 8, but visual_genome has no masks'):
    preparation.data_settings(preparation.data_sets.find('visual_genome'), mask_size=8)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      ['--dataset=storybook', '--download'],
      'error: --download: storybook has no official files; it is for coco_stuff',
    ),
    (
      ['--dataset=coco_stuff', '--check'],
      'error: --check is for --dataset=scenes, not coco_stuff',
    ),
    (
      ['--dataset=storybook', '--option=num_train=0'],
      'error: --option=num_train is 0, expected 1 or more',
    ),
    (
      ['--dataset=cocostuff'],
      "error: --dataset is 'cocostuff', expected one of storybook, coco_stuff, ",
    ),
    (
      ['--dataset=storybook', '--beam_options=direct_num_workers=2'],
      'error: --beam_options=direct_num_workers=2: only with --beam_runner',
    ),
    (
      ['--dataset=storybook', '--beam_runner=Spark'],
      'error: flag --beam_runner=Spark: value should be one of <DirectRunner|',
    ),
    ([], 'error: --dataset is missing'),
    (
      ['--dataset=storybook', '--image_size=64x64'],
      'error: --image_size=64x64: expected whole numbers: Side of the pictures in pixels',
    ),
    (
      ['--dataset=storybook', 'num_train=3'],
      "error: unexpected argument 'num_train=3'; every option is a flag",
    ),
  ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
  error = error_of(run(*arguments, *([f'--data_dir={tmp_path}'] if arguments else [])))
  assert error.startswith('error: ') and message in error
  assert 'data.' not in error


def test_missing_files_are_named_by_the_flag(tmp_path):
  options = prepare.PrepareOptions(dataset='coco_stuff', source='nowhere', data_dir=str(tmp_path))
  with pytest.raises(SettingsError) as raised:
    prepare.prepare(options)
  assert raised.value.text(prepare.spell).startswith(
    '--source is nowhere, which lacks annotations/instances_train2017.json (in '
  )


def test_help():
  process = run('--help')
  assert (process.returncode, process.stderr) == (0, '')
  assert 'Prepares a data set for training' in process.stdout
  for flag in (
    '--dataset',
    '--source',
    '--data_dir',
    '--image_size',
    '--mask_size',
    '--option',
    '--beam_runner=DirectRunner|DataflowRunner|SparkRunner|FlinkRunner',
    '--beam_options',
    '--[no]download',
    '--[no]check',
  ):
    assert re.search(rf'^  {re.escape(flag)}(=\.\.\.)?$', process.stdout, re.MULTILINE), flag
  assert '--option=min_objects=2' in process.stdout


def test_check_of_scenes(capsys, tmp_path):
  (tmp_path / 'scenes.jsonl').write_text('{\n')
  options = prepare.PrepareOptions(dataset='scenes', source=str(tmp_path), check=True)
  assert prepare.prepare(options) == 1
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('scenes.jsonl:1: not JSON') and len(lines) == 3
  good = str(ROOT / 'examples/scenes')
  assert prepare.prepare(options.replace(source=good)) == 0
  assert capsys.readouterr().out == f'{good}: nothing wrong\n'


def test_downloads_before_it_prepares(monkeypatch, coco_root, tmp_path, capsys):
  fetched = []
  monkeypatch.setattr(
    download, 'fetch', lambda files, directory, listener: fetched.append((files, directory))
  )
  options = prepare.PrepareOptions(
    dataset='coco_stuff',
    source=str(coco_root / 'source'),
    data_dir=str(tmp_path),
    image_size=(16,),
    mask_size=4,
    download=True,
  )
  assert prepare.prepare(options) == 0
  assert fetched == [(official_files.STUFF_FILES, str(coco_root / 'source'))]
  assert 'images: train 12, val 6; 16x16 pixels' in capsys.readouterr().out


def test_without_apache_beam_its_extra_is_named(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  monkeypatch.delitem(sys.modules, 'data_pipelines.pipeline.beam_map', raising=False)
  monkeypatch.delattr('data_pipelines.pipeline.beam_map', raising=False)
  options = prepare.PrepareOptions(
    dataset='storybook', data_dir=str(tmp_path), beam_runner='DirectRunner'
  )
  with pytest.raises(UserError) as raised:
    prepare.prepare(options)
  assert str(raised.value).startswith('--beam_runner=DirectRunner needs Apache Beam (')
  assert str(raised.value).endswith(': pip install "sg2im_jax[beam]"')


@pytest.mark.parametrize('data_set', data_sets.DATA_SETS, ids=lambda data_set: data_set.name)
def test_the_record_of_a_data_set_is_complete(data_set):
  settings = preparation.data_settings(data_set)  # the options class accepts those of the config
  assert settings.name == data_set.name and type(settings.options) is data_set.options
  assert f'configs/{data_set.config}.py' in preparation.training_command(settings)
  assert callable(importlib.import_module(data_set.module).make_builder)
  assert data_sets.find(data_set.name) is data_set


def test_coco_in_its_archives_is_the_same(coco_root, tmp_path):
  """Unpacked and zipped files make records of the same content."""
  source = tmp_path / 'zipped'
  source.mkdir()
  for part in ('train2017', 'val2017'):
    shutil.make_archive(str(source / part), 'zip', coco_root / 'source' / 'images', part)
  shutil.make_archive(
    str(source / 'annotations_trainval2017'), 'zip', coco_root / 'source', 'annotations'
  )
  builder = preparation.prepare(conftest.make_settings(source, tmp_path / 'prepared'))
  original = preparation.prepare(
    conftest.make_settings(coco_root / 'source', coco_root / 'prepared')
  )
  info, expected = (
    json.loads(pathlib.Path(one.data_dir, 'dataset_info.json').read_text())['splits']
    for one in (builder, original)
  )
  assert [(split['name'], split['shardLengths'], split['numBytes']) for split in info] == [
    (split['name'], split['shardLengths'], split['numBytes']) for split in expected
  ]

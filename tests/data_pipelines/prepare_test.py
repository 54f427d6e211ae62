import importlib
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import types

import pytest
from absl import flags

from data_pipelines import prepare
from data_pipelines.pipeline import download, input_pipeline
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import config_flag
from tests.data_pipelines import conftest

ROOT = pathlib.Path(__file__).parents[2]
DRAWN = [
  '--dataset=storybook',
  '--image_size=32',
  '--mask_size=8',
  '--option=num_train=3',
  '--option=num_val=2',
]
# TensorFlow imports jax if it can, so the command must do its work where nobody can.
PROGRAM = """
import runpy, sys
sys.modules['jax'] = None
sys.argv = ['prepare', *sys.argv[1:]]
runpy.run_module('data_pipelines.prepare', run_name='__main__', alter_sys=True)
"""


def run(*arguments) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, '-c', PROGRAM, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


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
  builder = importlib.import_module('data_pipelines.storybook.builder').make_builder(config.data)
  assert (builder.is_prepared(), str(builder.data_dir)) == (True, str(directory))
  assert config.model.mask_size == 8


def test_prepares_coco(coco_root, tmp_path, training_config):
  config = prepare.data_config(
    'coco_stuff',
    source=str(coco_root / 'source'),
    data_dir=str(tmp_path),
    image_size=['24', '32'],
    mask_size=8,
    options=['num_val=4', 'stuff_whitelist=sky, other'],
  )
  builder = input_pipeline.prepare(config)
  lines = prepare.report('coco_stuff', config, builder).splitlines()
  assert lines[1:3] == [
    'images: train 12, val 4, test 2; 24x32 pixels, masks 8x8',
    'skipped images: 2',
  ]
  found = training_config(prepare.training_command('coco_stuff', config)).data
  assert found.to_dict() == config.to_dict()
  assert len(lines) == 5
  config.max_objects = 3
  assert prepare.report('coco_stuff', config, builder).splitlines()[5:] == [
    'note: has scenes of up to 4 objects, which need 5 slots, but --config.data.max_objects is 3; '
    'set it to 5'
  ]


def test_options_have_the_type_of_the_config():
  config = prepare.data_config(
    'coco_stuff',
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
  options = config.options
  assert (options.train_images, options.stuff_whitelist) == ('all', ('sky',))
  assert options.instance_whitelist == ('dog', 'traffic light')
  assert (options.min_object_area, options.min_objects, options.include_other, options.num_val) == (
    1.0,
    4,
    True,
    3,
  )
  assert isinstance(options.min_object_area, float)
  assert config.max_objects == prepare.data_config('coco_stuff').max_objects


@pytest.mark.parametrize(
  'option, message',
  [
    (
      'min_object=2',
      r'--option=min_object=2: coco_stuff has no option "min_object"; the nearest is "min_objects"',
    ),
    ('min_objects', r'--option=min_objects: expected NAME=VALUE; the names are .*min_objects'),
    ('min_objects=2.5', r'--option=min_objects=2\.5: expected a whole number, such as 3'),
    ('min_object_area=small', r'--option=min_object_area=small: expected a number, such as 0\.02'),
    ('include_other=yes', r'--option=include_other=yes: expected true or false, such as false'),
  ],
)
def test_mistaken_options(option, message):
  with pytest.raises(UserError, match=message):
    prepare.data_config('coco_stuff', options=[option])


@pytest.mark.parametrize('size', ['64x64', '0', '1,2,3', ''])
def test_mistaken_image_sizes(size):
  with pytest.raises(
    UserError, match=rf'--image_size={size}: expected a number of pixels such as 64'
  ):
    prepare.data_config('coco_stuff', image_size=size.split(','))


def test_what_a_data_set_does_not_have():
  with pytest.raises(UserError, match=r'--source=x: storybook is drawn by a program'):
    prepare.data_config('storybook', source='x')
  with pytest.raises(UserError, match=r'--mask_size=8: visual_genome has no masks'):
    prepare.data_config('visual_genome', mask_size=8)
  with pytest.raises(UserError, match=r'--check is for --dataset=scenes, not coco_stuff'):
    prepare.check('coco_stuff', 'datasets/coco')


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--dataset=coco_stuff', '--source=nowhere'], 'nowhere'),
    (
      ['--dataset=storybook', '--download'],
      'error: --download: storybook has no official files; it is for coco_stuff',
    ),
    (
      ['--dataset=storybook', '--option=num_train=0'],
      'error: --option=num_train is 0; expected at least 1',
    ),
    (
      ['--dataset=cocostuff'],
      'error: flag --dataset=cocostuff: value should be one of <coco_stuff|',
    ),
    ([], 'error: flag --dataset=None'),
    (
      ['--dataset=storybook', 'num_train=3'],
      "error: unexpected argument 'num_train=3'; every option is a flag",
    ),
  ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
  error = error_of(run(*arguments, *([f'--data_dir={tmp_path}'] if arguments else [])))
  assert error.startswith('error: ') and message in error
  assert '--config.data' not in error


def test_help():
  process = run('--help')
  assert 'Prepares a data set for training' in process.stdout
  for flag in (
    '--dataset',
    '--source',
    '--data_dir',
    '--image_size',
    '--mask_size',
    '--option',
    '--[no]download',
    '--[no]check',
  ):
    assert f'  {flag}: ' in process.stdout
  assert '--option=min_objects=2' in process.stdout


def test_check_of_scenes(monkeypatch, capsys):
  problems = ['scenes.jsonl:1: object 0: no name', 'scenes.jsonl:3: not JSON']
  scenes_file = types.SimpleNamespace(check=lambda source: problems if source == 'bad' else [])
  monkeypatch.setattr('data_pipelines.scenes_file', scenes_file, raising=False)
  monkeypatch.setitem(sys.modules, 'data_pipelines.scenes_file', scenes_file)
  assert prepare.check('scenes', 'bad') == 1
  assert capsys.readouterr().out.splitlines() == problems
  assert prepare.check('scenes', 'good') == 0
  assert capsys.readouterr().out == 'good: nothing wrong\n'


def test_downloads_before_it_prepares(monkeypatch, coco_root, tmp_path, capsys):
  fetched = []
  monkeypatch.setattr(
    download, 'fetch', lambda files, directory: fetched.append((files, directory))
  )
  values = types.SimpleNamespace(
    dataset='coco_stuff',
    source=str(coco_root / 'source'),
    data_dir=str(tmp_path),
    image_size=['16'],
    mask_size=4,
    option=[],
    check=False,
    download=True,
  )
  monkeypatch.setattr(flags, 'FLAGS', values)
  assert prepare.main([]) == 0
  assert fetched == [(download.DATA_SETS['coco_stuff'], str(coco_root / 'source'))]
  assert 'images: train 12, val 6; 16x16 pixels' in capsys.readouterr().out


@pytest.mark.parametrize('data_set, config', prepare.CONFIGS.items())
def test_every_data_set_has_a_config(data_set, config):
  assert data_set in input_pipeline.DATA_SETS
  assert prepare.data_config(data_set).name == data_set
  assert config in prepare.training_command(data_set, prepare.data_config(data_set))


def test_coco_in_its_archives_is_the_same(coco_root, tmp_path):
  """Unpacked and zipped files make records of the same content."""
  source = tmp_path / 'zipped'
  source.mkdir()
  for part in ('train2017', 'val2017'):
    shutil.make_archive(str(source / part), 'zip', coco_root / 'source' / 'images', part)
  shutil.make_archive(
    str(source / 'annotations_trainval2017'), 'zip', coco_root / 'source', 'annotations'
  )
  config = conftest.make_data_config(source, tmp_path / 'prepared')
  builder = input_pipeline.prepare(config)
  original = input_pipeline.prepare(
    conftest.make_data_config(coco_root / 'source', coco_root / 'prepared')
  )
  info, expected = (
    json.loads(pathlib.Path(one.data_dir, 'dataset_info.json').read_text())['splits']
    for one in (builder, original)
  )
  assert [(split['name'], split['shardLengths'], split['numBytes']) for split in info] == [
    (split['name'], split['shardLengths'], split['numBytes']) for split in expected
  ]

import pytest
from absl import flags

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import config_flag

DEBUG = '--config=configs/debug.py'


@pytest.fixture
def parse(monkeypatch):
  """Parses arguments as a fresh process would."""
  values = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', values)
  config_flag.define(values)

  def parse_arguments(*arguments):
    argv = ['train', *arguments]
    monkeypatch.setattr('sys.argv', argv)  # config_flags looks for the overrides there
    config_flag.parse_flags(argv, values)
    return values.config

  return parse_arguments


def test_a_name_after_the_file(parse):
  config = parse('--config=configs/ablations.py:vg64_no_gconv', '--config.batch_size=8')
  assert (config.model.gconv_num_layers, config.data.name, config.batch_size) == (
    0,
    'visual_genome',
    8,
  )


@pytest.mark.parametrize('name', ['debug', 'configs/debug.py'])
def test_a_config_of_the_package_by_its_name_anywhere(parse, name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert parse('--config', name).to_dict() == debug.get_config().to_dict()


def test_overrides(parse):
  config = parse(
    DEBUG, '--config.batch_size=8', '--config.data.image_size=(64,32)', '--noconfig.data.flip'
  )
  assert (config.batch_size, config.data.image_size, config.data.flip) == (8, (64, 32), False)
  assert config.is_locked


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      (DEBUG, '--config.batchsize=3'),
      r'the config has no key "batchsize"; the nearest is --config.batch_size',
    ),
    (
      (DEBUG, '--config.gconv_dim=3'),
      r'no key "gconv_dim"; the nearest is --config.model.gconv_dim',
    ),
    (
      ('--config', 'configs/debug.py', '--config.data.naem=a'),
      '"data.naem"; the nearest is --config.data.name',
    ),
    ((DEBUG, '--config.batch_size=many'), '--config.batch_size=many: invalid literal for int'),
    (
      (DEBUG, '--config.data.image_size=64x64'),
      r"\('64x64',\): expected values of type int, such as \(32, 32\)",
    ),
    ((DEBUG, '--workdri=a'), "Unknown command line flag 'workdri'. Did you mean: workdir"),
    (
      ('--config=configs/missing.py',),
      r'configs/missing.py: no such file; expected one of .*coco64, .*debug, .*, or a file',
    ),
    (
      ('--config=configs/ablations.py:no_gcon',),
      "--config=configs/ablations.py:no_gcon: no row 'no_gcon'",
    ),
    (('--config=configs/of_workdir.py:nowhere',), 'of_workdir.py:nowhere: .*not a work directory'),
    (('--config=configs/coco64.py:tiny',), 'cannot be loaded: TypeError: get_config'),
    (('--workdir=a',), '--config is missing; expected a file of configs/ or one of .*debug'),
  ],
)
def test_mistakes(parse, arguments, message):
  with pytest.raises(UserError, match=message):
    parse(*arguments)

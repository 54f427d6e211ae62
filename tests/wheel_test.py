"""The wheel works without the checkout, and brings no modules but its two packages."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.training_runs import ROOT, small_settings


def run(*arguments, **options):
  result = subprocess.run(
    [*map(str, arguments)], capture_output=True, text=True, timeout=300, check=False, **options
  )
  assert result.returncode == 0, result.stderr
  return result.stdout


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """A directory with the installed wheel, as the only thing of this project on the path."""
  directory = tmp_path_factory.mktemp('wheel')
  source = directory / 'source'  # a copy, because a build leaves files behind
  source.mkdir()
  for name in ('configs', 'data_pipelines', 'sg2im_jax'):
    shutil.copytree(ROOT / name, source / name, symlinks=True)
  for name in ('LICENSE', 'README.md', 'pyproject.toml', 'requirements.txt'):
    shutil.copy(ROOT / name, source)
  pip = (sys.executable, '-m', 'pip', '--quiet')
  run(*pip, 'wheel', '--no-deps', f'--wheel-dir={directory}', source)
  (wheel,) = directory.glob('*.whl')
  run(*pip, 'install', '--no-deps', f'--target={directory / "installed"}', wheel)
  return directory / 'installed'


@pytest.mark.slow
def test_it_has_two_packages_and_commands(installed):
  packages = {path.name for path in installed.iterdir() if path.suffix != '.dist-info'}
  assert packages == {'bin', 'data_pipelines', 'sg2im_jax'}
  assert {'sg2im-train', 'sg2im-sample', 'sg2im-evaluate', 'sg2im-figures', 'sg2im-convert'} <= {
    path.name for path in (installed / 'bin').iterdir()
  }
  assert (installed / 'sg2im_jax/py.typed').exists()
  assert (installed / 'sg2im_jax/drawing/page.html').exists()
  assert (installed / 'sg2im_jax/serving/page/index.html').exists()
  configs = {path.name for path in (ROOT / 'configs').glob('*.py')}
  assert {path.name for path in (installed / 'data_pipelines/configs').glob('*.py')} == configs


@pytest.mark.exhaustive
@pytest.mark.slow
def test_it_trains_the_storybook_and_samples(installed, directory, tmp_path):
  """A configuration by its name, from a directory that has no configs/."""
  environment = {**os.environ, 'PYTHONPATH': str(installed)}
  settings = {
    **small_settings(directory),
    'data.image_size': (32, 32),
    'data.options.num_train': 32,
    'data.options.num_val': 8,
    'batch_size': 4,
    'num_steps': 1,
    'steps_per_dispatch': 1,
  }
  overrides = [f'--config.{name}={value}' for name, value in settings.items()]
  command = installed / 'bin/sg2im-train'
  printed = run(
    sys.executable,
    command,
    '--config=storybook',
    f'--workdir={tmp_path / "run"}',
    *overrides,
    cwd=tmp_path,
    env=environment,
  )
  assert 'done: step 1, saved in' in printed
  graphs = ROOT / 'examples/sheep.json'
  printed = run(
    sys.executable,
    installed / 'bin/sg2im-sample',
    f'--workdir={tmp_path / "run"}',
    f'--scene_graphs={graphs}',
    f'--output_dir={tmp_path / "pictures"}',
    '--samples_per_graph=1',
    cwd=tmp_path,
    env=environment,
  )
  assert 'by the model of step 1: look at' in printed
  assert (tmp_path / 'pictures/overview.png').exists()

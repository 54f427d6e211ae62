"""Every command with a tiny model and one short turn; what is measured here means nothing."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags

from benchmarks import (
  comparison,
  families,
  features,
  gpu,
  growth,
  precision,
  sampling,
  scaling,
  train_step,
)
from benchmarks.contestants import Devices
from benchmarks.measure import ContestantFailed, Outcome
from data_pipelines import command_line
from data_pipelines.configs import coco64, debug
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.settings import Settings
from tests.small_scenes import tiny_settings, tiny_token_settings
from tests.training_runs import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow

BRIEF = {'rounds': 1, 'turn_seconds': 0.0}
# Of configs/debug.py: as little to compile as the PyTorch peer allows.
TINY = {
  'data.max_objects': 5,
  'data.max_triples': 8,
  'data.mask_size': 1,
  'model.gconv_num_layers': 1,
  'model.mask_size': 1,
  'model.refinement_dims': (8,),
  'image_discriminator.arch': 'C4-8-2',
  'object_discriminator.arch': 'C4-8-2',
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
  """Of the processes that contestants run in. More threads would take longer for so little."""
  for name, value in {**ENVIRONMENT, 'OMP_NUM_THREADS': '1'}.items():
    monkeypatch.setenv(name, value)


@pytest.fixture
def config():
  config = debug.get_config()
  config.update_from_flattened_dict(TINY)
  return config


def run(module: str, *arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, '-m', f'benchmarks.{module}', *arguments],
    cwd=ROOT,
    text=True,
    capture_output=True,
    timeout=300,
  )


@pytest.mark.parametrize(
  'options_class, defaults',
  [
    (
      comparison.ComparisonOptions,
      {'peer': False, 'batch_sizes': None, 'dtypes': None, 'image_sizes': None},
    ),
    (scaling.ScalingOptions, {'devices': None}),
    (growth.GrowthOptions, {'output': 'benchmarks/growth.png'}),
    (
      features.FeaturesOptions,
      {
        'backbone': 'efficientnet-lite0',
        'weights': None,
        'num_images': 32,
        'image_size': 64,
        'torch_batch_size': 4,
      },
    ),
    (precision.PrecisionOptions, {'seeds': 3, 'workdir': 'runs/precision'}),
    (
      families.FamilyOptions,
      {
        'published': 'storybook_published',
        'tokens': 'storybook',
        'dtypes': ['float32'],
        'batch_size': None,
      },
    ),
    (gpu.GpuOptions, {'steps_per_dispatch': 10, 'output': 'benchmarks/RESULTS.md', 'minutes': 7.5}),
  ],
)
def test_flags_and_their_defaults(options_class, defaults):
  values = flags.FlagValues()
  command_line.define_flags(options_class, values)
  if issubclass(options_class, comparison.TurnOptions):
    defaults = {'rounds': 5, 'turn_seconds': 5, **defaults}
  assert {name: values[name].default for name in values} == defaults


@pytest.mark.exhaustive
def test_train_step_with_the_peer():
  pytest.importorskip('torch')
  done = run(
    'train_step',
    '--config=configs/debug.py',
    '--peer',
    *(f'--{name}={value}' for name, value in BRIEF.items()),
    *(f'--config.{name}={value}' for name, value in TINY.items()),
  )
  assert done.returncode == 0, done.stderr
  rows = [line.split('  ') for line in done.stdout.splitlines()]
  ours, eager = (
    [cell.strip() for cell in row if cell]
    for row in rows
    if row[0] in ('sg2im_jax', 'PyTorch eager')
  )
  assert ours[1:4] == eager[1:4] == ['float32', '4', '32']
  assert float(ours[5]) == pytest.approx(4 / float(ours[4]) * 1e3, rel=0.02)  # images/s and ms/step
  assert ours[7] == '-' and float(ours[8]) > 0 and float(ours[9]) > 0 and eager[8:10] == ['-', '-']
  assert float(ours[10]) > 0.1 and float(eager[10]) > 0.1
  assert re.search(r'sg2im_jax is \d+\.\d\d times as fast as PyTorch eager', done.stdout)


@pytest.mark.exhaustive
def test_sampling_at_another_size(config, capsys):
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  config.model.mask_size = 0
  options = comparison.ComparisonOptions(batch_sizes=(3,), image_sizes=(16,), **BRIEF)
  sampling.measure(options, config)
  assert [
    line.split()[2:4]
    for line in capsys.readouterr().out.splitlines()
    if line.startswith('sg2im_jax')
  ] == [['3', '16']]


@pytest.mark.exhaustive
def test_families_are_measured_beside_each_other(capsys, monkeypatch):
  models = {'published': tiny_settings(), families._TOKENS: tiny_token_settings()}
  monkeypatch.setattr(families, '_settings', models.get)
  monkeypatch.setattr(families, 'TRAINING', None)  # would take a minute to compile
  measure = families._measure
  monkeypatch.setattr(
    families, '_measure', lambda activity, *rest: activity and measure(activity, *rest)
  )
  families.measure(
    families.FamilyOptions(published='published', tokens=families._TOKENS, batch_size=2, **BRIEF)
  )
  rows = [
    re.split(r'\s{2,}', line) for line in capsys.readouterr().out.splitlines() if 'sampling' in line
  ]
  # Both have the same refinement network, so there is no third row.
  assert [row[:2] for row in rows] == [['published', 'sampling'], ['token model', 'sampling']]
  assert all(row[3] == '2' and float(row[4]) > 0 for row in rows)
  assert rows[1][7] == '1.00' and float(rows[0][7]) > 0


def test_scaling_reduces_gradients_over_forced_devices(config, capsys):
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  config.model.mask_size, config.model.gconv_hidden_dim = 0, 128
  scaling.measure(scaling.ScalingOptions(devices=(2,), **BRIEF), config)
  printed = capsys.readouterr().out
  row = printed.splitlines()[-1].split()
  assert 'share its cores' in printed and row[:2] == ['2', '8']
  assert float(row[5]) > 0.1  # MB: the gradients alone are more
  assert list(scaling._doublings(6)) == [1, 2, 4, 6] and list(scaling._doublings(1)) == [1]


@pytest.mark.parametrize(
  'module, arguments, message',
  [
    (
      'train_step',
      ('--config=configs/debug.py', '--batch_sizes=0'),
      '--batch_sizes=0: expected whole numbers',
    ),
    ('gpu', ('--output=somewhere/RESULTS.md',), 'there is no directory somewhere'),
  ],
)
def test_mistakes_are_one_line(module, arguments, message):
  before = (ROOT / 'benchmarks/RESULTS.md').read_text()
  done = run(module, *arguments)
  assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
  assert (ROOT / 'benchmarks/RESULTS.md').read_text() == before


def test_the_gpu_s_command_without_a_gpu():
  before = (ROOT / 'benchmarks/RESULTS.md').read_text()
  with pytest.raises(UserError, match='JAX finds no GPU, only 1 x cpu') as refused:
    gpu.measure(gpu.GpuOptions())
  assert '\n' not in str(refused.value)
  assert (ROOT / 'benchmarks/RESULTS.md').read_text() == before


@pytest.mark.parametrize(
  'values, message',
  [
    ({'image_sizes': (0,)}, '--image_sizes=0: expected whole numbers above 0'),
    ({'dtypes': ('float16',)}, '--dtypes=float16: expected float32, bfloat16 or both'),
  ],
)
def test_sizes_are_checked_before_anything_starts(values, message, config):
  with pytest.raises(UserError, match=message):
    train_step.measure(comparison.ComparisonOptions(**values), config)


def test_sizes_are_checked_with_all_other_settings(config):
  settings = Settings.from_config(config)
  with pytest.raises(UserError, match='num_steps is 20, expected a multiple'):
    comparison.resized(settings, steps_per_dispatch=3)
  with pytest.raises(UserError, match='data.image_size is 15x15, expected multiples of 2'):
    comparison.resized(settings, **{'data.image_size': (15, 15)})


def test_the_gpu_s_table_goes_on_where_a_contestant_fails(monkeypatch, tmp_path):
  raced = []

  def race(contestants, processes, deadline):
    raced.append(set(contestants))
    return {
      name: ContestantFailed('out of memory')
      if name == comparison.EAGER
      else Outcome(0.01, 2**30, None)
      for name in contestants
    }

  class NoProcess:
    def __init__(self, contestant):
      pass

    def __enter__(self):
      return self

    def __exit__(self, *exception):
      pass

  monkeypatch.setattr(gpu, 'ContestantProcess', NoProcess)
  monkeypatch.setattr(gpu, '_race', race)
  lines = []
  groups = list(
    gpu.groups(
      {name: Settings.from_config(debug.get_config()) for name in ('debug', 'other')},
      image_sizes=(32,),
      dtypes=('bfloat16', 'float32'),
      batch_sizes=(4, 8),
    )
  )
  gpu.measure_all(groups, Devices('gpu', 'NVIDIA H200', 1), time.monotonic() + 60, lines.append)
  text = '\n'.join(lines)
  ours, eager, compiled = comparison.OURS, comparison.EAGER, comparison.COMPILED
  published = [{ours, eager, compiled}, {ours, eager}]
  assert raced == 8 * published
  assert '| debug | training | PyTorch eager | bfloat16 | 4 | 32 | out of memory |' in text
  assert len({line.count('|') for line in text.splitlines() if line.startswith('|')}) == 1
  assert '- debug, sampling, float32, batch 4, 32 px: sg2im_jax is 1.00 times as fast as Py' in text

  lines.clear()
  gpu.measure_all(groups, Devices('gpu', 'NVIDIA H200', 1), time.monotonic(), lines.append)
  assert sum('the time was up' in line for line in '\n'.join(lines).splitlines()) == 16


def test_a_contestant_that_finds_no_memory_beside_others_is_tried_alone(monkeypatch):
  class Sized:
    def __init__(self, contestant):
      self.contestant = contestant

    def close(self):
      pass

    def __enter__(self):
      return self

    def __exit__(self, *exception):
      pass

  monkeypatch.setattr(gpu, 'ContestantProcess', Sized)
  monkeypatch.setattr(
    gpu,
    'take_turns',
    lambda processes, **_: {
      name: ContestantFailed('out of memory')
      if process.contestant + len(processes) > 3
      else Outcome(1, 1, None)
      for name, process in processes.items()
    },
  )
  contestants = {'small': 1, 'large': 2, 'too large': 3}
  outcomes = gpu._race(
    contestants, {name: Sized(size) for name, size in contestants.items()}, time.monotonic() + 60
  )
  assert isinstance(outcomes['large'], Outcome) and isinstance(outcomes['small'], Outcome)
  assert outcomes['too large'].out_of_memory


def test_growth_fits_what_it_draws(tmp_path):
  linear = [(8, 3.0), (16, 3.2), (40, 4.0), (80, 8.0)]
  assert growth.exponent(linear) == pytest.approx(1)
  assert 'exponent 1.00, 10 times the size costs 2.67 times' in growth._describe('step', linear)
  pytest.importorskip('matplotlib')
  growth.draw(
    {name: {'forward': linear, 'step': []} for name in ('objects', 'triples', 'pixels', 'images')},
    tmp_path / 'growth.png',
  )
  from PIL import Image

  assert np.asarray(Image.open(tmp_path / 'growth.png')).std() > 0


def test_growth_sweeps_one_size_at_a_time():
  sweeps = growth.sweeps(Settings.from_config(coco64.get_config()))
  sizes = {
    name: {
      (c.data.max_objects, c.data.max_triples, c.data.image_size, c.batch_size)
      for c in configs.values()
    }
    for name, configs in sweeps.items()
  }
  assert (81, 160, (64, 64), 32) in sizes['objects'] and (9, 160, (64, 64), 32) in sizes['triples']
  assert list(sweeps['pixels']) == [32 * 32, 64 * 64, 128 * 128, 192 * 192]
  assert list(sweeps['images']) == [8, 16, 32, 64]
  assert all((9, 16, (64, 64), 32) in found for found in sizes.values())

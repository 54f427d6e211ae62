"""Sampling and evaluating by the commands that users give; training: training/loop_test.py."""

import json
import shutil

import pytest

from tests.published_files import GOLDEN
from tests.training_runs import ROOT, start

pytestmark = pytest.mark.slow


@pytest.fixture
def workdir(tmp_path):
  """A copy of the work directory in tests/golden: a training of three steps."""
  return shutil.copytree(GOLDEN / 'work_directory/run', tmp_path / 'run')


def run(module, *arguments):
  process = start(module, *arguments)
  printed, errors = process.communicate(timeout=300)
  return process.returncode, printed, errors


def test_sample(workdir, tmp_path):
  status, _, errors = run(
    'sample',
    f'--workdir={workdir}',
    f'--scene_graphs={ROOT / "examples/sheep.json"}',
    f'--output_dir={tmp_path / "pictures"}',
    '--samples_per_graph=2',
  )
  assert status == 0, errors
  assert (tmp_path / 'pictures/overview.png').exists()
  assert (tmp_path / 'pictures/graph_000/sample_1.png').exists()


def test_evaluate(workdir, directory):
  status, printed, errors = run(
    'evaluate',
    f'--workdir={workdir}',
    f'--data_dir={directory / "data"}',
    '--split=val',
    '--num_graphs=6',
    '--backbone=none',
  )
  assert status == 0, errors
  results = json.loads((workdir / 'evaluation.json').read_text())
  assert (results['protocol']['num_graphs'], results['model']['step']) == (6, 3)
  predicted, mean_box, ground_truth = (
    results['layout'][name] for name in ('predicted', 'mean box of class', 'ground truth')
  )
  assert 0.8 < ground_truth['relation_accuracy'] <= 1.0
  assert (
    0 <= predicted['relation_accuracy'] <= 1 and 0 <= predicted['box_iou'] < mean_box['box_iou'] < 1
  )
  assert f'| predicted | {predicted["box_iou"]:.3f} |' in printed
  other = shutil.copytree(workdir, workdir.parent / 'other')
  status, printed, errors = run('evaluate', '--compare', str(workdir), str(other))
  assert (status, errors) == (0, '')
  for row in (workdir, other):
    assert f'| {row} | {predicted["box_iou"]:.3f} |' in printed
  status, _, errors = run('evaluate', '--compare')
  assert (status, errors.split(';')[0]) == (2, 'error: --compare is followed by nothing')
  status, _, errors = run('evaluate', str(workdir))
  assert (status, errors.split(';')[0]) == (2, f"error: unexpected argument '{workdir}'")


def test_a_mistake_is_one_line(workdir, tmp_path):
  status, printed, errors = run('evaluate', f'--workdir={tmp_path / "missing"}')
  assert (status, printed, len(errors.splitlines())) == (2, '', 1)
  assert errors.startswith(f'error: {tmp_path / "missing"} is not a work directory')
  status, printed, errors = run(
    'train',
    '--config=configs/debug.py',
    f'--workdir={workdir}',
    '--config.modle.gconv_dim=8',
  )
  assert (status, printed) == (2, '')
  assert (
    errors
    == 'error: the config has no key "modle.gconv_dim"; the nearest is --config.model.gconv_dim\n'
  )

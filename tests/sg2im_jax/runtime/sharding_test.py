"""1, 2 and 8 devices compute the same loss, gradients and BatchNorm statistics, and what a step
sends between them.
"""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import sharding
from tests import environment
from tests.training_runs import ROOT

pytestmark = pytest.mark.slow

MOMENTS = 4096  # bytes: more than the sums of all BatchNorms and losses of the tiny model need


@pytest.fixture(scope='module')
def computed(tmp_path_factory):
  """The directory that tests/processes/step_on_eight_devices.py has filled."""
  directory = tmp_path_factory.mktemp('devices')
  result = subprocess.run(
    [sys.executable, '-m', 'tests.processes.step_on_eight_devices', directory],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=environment.with_devices(8),
  )
  assert result.returncode == 0, result.stderr
  return directory


@pytest.fixture(scope='module')
def outputs(computed):
  return {int(path.stem): dict(np.load(path)) for path in computed.glob('*.npz')}


@pytest.mark.parametrize('devices', [2, 8])
def test_devices_agree(outputs, devices):
  assert outputs[devices].keys() == outputs[1].keys() and len(outputs[1]) > 50
  for name, expected in outputs[1].items():
    np.testing.assert_allclose(
      outputs[devices][name],
      expected,
      rtol=0,
      atol=1e-5 * max(1, np.abs(expected).max()),
      err_msg=name,
    )


def test_devices_agree_on_a_step_of_a_token_model(computed):
  found, expected = (dict(np.load(computed / f'tokens/{n}.npz')) for n in (8, 1))
  assert found.keys() == expected.keys() and len(expected) > 200
  for name, values in expected.items():
    np.testing.assert_allclose(
      found[name],
      values,
      rtol=0,
      atol=1e-5 * max(1, np.abs(values).max(initial=0)),
      err_msg=name,
    )


def test_a_step_sums_gradients_and_moments_and_nothing_else(computed):
  found = json.loads((computed / 'sent.json').read_text())
  assert found['collectives'].keys() == {'all-reduce'}
  gradients = found['generator'] + found['discriminators']
  # What XLA may send besides, as it sums over devices before it adds up: the gradients of a
  # discriminator on reals and on fakes, and those of the 16 taps that stand for the 9 of a kernel
  # in `convolve_upsampled`.
  separate = found['discriminators'] + found['upsampled'] * 7 // 9
  assert gradients <= found['collectives']['all-reduce'] <= gradients + separate + MOMENTS


@dataclasses.dataclass(frozen=True)
class Device:
  process_index: int
  id: int


def test_devices_of_a_process_are_adjacent():
  # As on a TPU slice, where the order of jax.devices() follows the wiring.
  devices = [Device(process, number) for number in range(2) for process in (1, 0)]
  assert [device.process_index for device in sharding.make_mesh(devices).devices] == [0, 0, 1, 1]


def test_processes_with_unequal_devices():
  with pytest.raises(
    UserError,
    match='the processes have 2, 1 devices; expected the same number in each; choose them',
  ):
    sharding.make_mesh([Device(0, 0), Device(0, 1), Device(1, 2)])

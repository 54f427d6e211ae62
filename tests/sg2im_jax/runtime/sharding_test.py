"""1, 2, 4 and 8 devices compute the same loss, gradients and BatchNorm statistics."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import sharding
from tests.training_runs import ENVIRONMENT

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import sys
import jax
import numpy as np
from sg2im_jax import sharding
from sg2im_jax.train_state import build_networks, create_train_state
from sg2im_jax.train_step import losses_and_gradients
from tests.small_scenes import VOCABULARY, random_batch, random_noise, tiny_config

config = tiny_config()
networks = build_networks(config, VOCABULARY)
created, rows = jax.jit(lambda: create_train_state(config, VOCABULARY))(), random_batch(batch_size=8)
for devices in (1, 2, 4, 8):
  mesh = sharding.make_mesh(jax.devices()[:devices])
  state = jax.device_put(created, sharding.replicated(mesh))
  batch = sharding.assemble(rows, sharding.batch_sharding(mesh))
  noise = jax.device_put(random_noise(rows, config.model.layout_noise_dim), sharding.batch_sharding(mesh))
  outputs = jax.jit(lambda state, batch, noise: losses_and_gradients(
      networks, state, batch, noise, config.losses, batch_norm_frozen=False),
      out_shardings=sharding.replicated(mesh))(state, batch, noise)
  leaves = jax.tree_util.tree_flatten_with_path(outputs)[0]
  np.savez(f'{sys.argv[1]}/{devices}.npz', **{jax.tree_util.keystr(path): leaf for path, leaf in leaves})
"""


@pytest.fixture(scope='module')
def outputs(tmp_path_factory):
  directory = tmp_path_factory.mktemp('devices')
  result = subprocess.run(
    [sys.executable, '-c', PROGRAM, str(directory)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, **ENVIRONMENT, 'XLA_FLAGS': '--xla_force_host_platform_device_count=8'},
  )
  assert result.returncode == 0, result.stderr
  return {int(path.stem): dict(np.load(path)) for path in directory.iterdir()}


@pytest.mark.parametrize('devices', [2, 4, 8])
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
    UserError, match='the processes have 2, 1 devices; expected equally many of each; choose them'
  ):
    sharding.make_mesh([Device(0, 0), Device(0, 1), Device(1, 2)])

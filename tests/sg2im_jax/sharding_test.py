"""1, 2 and 4 devices compute the same loss, gradients and BatchNorm statistics."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

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
mesh = sharding.make_mesh()
assert mesh.size == int(sys.argv[1])
state = jax.device_put(create_train_state(config, VOCABULARY), sharding.replicated(mesh))
batch = jax.device_put(random_batch(), sharding.batch_sharding(mesh))
noise = jax.device_put(random_noise(random_batch(), config.model.layout_noise_dim), sharding.batch_sharding(mesh))
networks = build_networks(config, VOCABULARY)
outputs = jax.jit(lambda state, batch, noise: losses_and_gradients(
    networks, state, batch, noise, config.losses, batch_norm_frozen=False),
    out_shardings=sharding.replicated(mesh))(state, batch, noise)
leaves = jax.tree_util.tree_flatten_with_path(outputs)[0]
np.savez(sys.argv[2], **{jax.tree_util.keystr(path): leaf for path, leaf in leaves})
"""


def run(devices: int, path: pathlib.Path) -> subprocess.Popen:
  return subprocess.Popen(
      [sys.executable, '-c', PROGRAM, str(devices), str(path)], cwd=ROOT, stderr=subprocess.PIPE, text=True,
      env={**os.environ, **ENVIRONMENT, 'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'})


@pytest.fixture(scope='module')
def outputs(tmp_path_factory):
  directory = tmp_path_factory.mktemp('devices')
  found = {}
  for devices in (1, 2, 4):
    process = run(devices, directory / f'{devices}.npz')
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    with np.load(directory / f'{devices}.npz') as file:
      found[devices] = dict(file)
  return found


@pytest.mark.parametrize('devices', [2, 4])
def test_devices_agree(outputs, devices):
  assert outputs[devices].keys() == outputs[1].keys() and len(outputs[1]) > 50
  for name, expected in outputs[1].items():
    np.testing.assert_allclose(outputs[devices][name], expected, rtol=0,
                               atol=1e-5 * max(1, np.abs(expected).max()), err_msg=name)

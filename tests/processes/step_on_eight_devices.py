"""What a step of the tiny model computes, and sends between devices, on 1, 2 and 8 of them.

  python -m tests.processes.step_on_eight_devices DIRECTORY

writes DIRECTORY/N.npz, losses, gradients and statistics on N devices, DIRECTORY/sent.json, and of
the tiny token model DIRECTORY/tokens/N.npz, the losses and the state after a step.
"""

import json
import pathlib
import sys

import jax
import numpy as np

from benchmarks.collectives import collective_bytes
from sg2im_jax.runtime import sharding
from sg2im_jax.settings import Settings
from sg2im_jax.training import dispatch
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.token_training import TokenTraining
from tests.small_scenes import (
  VOCABULARY,
  random_batch,
  random_noise,
  tiny_config,
  tiny_token_settings,
)


def on_devices(training, created, devices):
  """Losses, gradients and statistics of a step on the first of the devices, by path."""
  mesh = sharding.make_mesh(jax.devices()[:devices])
  rows = random_batch(batch_size=8)
  noise = random_noise(rows, training.settings.model.layout_noise_dim)
  outputs = jax.jit(training.gradients, out_shardings=sharding.replicated(mesh))(
    jax.device_put(created, sharding.replicated(mesh)),
    sharding.assemble(rows, sharding.batch_sharding(mesh)),
    jax.device_put(noise, sharding.batch_sharding(mesh)),
  )
  return by_path(outputs)


def token_step_on_devices(training, created, devices):
  """Losses and state after a step of the token model on the first of the devices, by path."""
  mesh = sharding.make_mesh(jax.devices()[:devices])
  rows = random_batch(batch_size=8, mask_size=8)
  outputs = jax.jit(training.train_step, out_shardings=sharding.replicated(mesh))(
    jax.device_put(created, sharding.replicated(mesh)),
    sharding.assemble(rows, sharding.batch_sharding(mesh)),
    jax.random.key(0),
  )
  return by_path(outputs)


def by_path(tree):
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def sent(training, created):
  """Bytes of the collectives of a compiled step on all devices, and those of the parameters."""
  mesh = sharding.make_mesh()
  assert mesh.size == 8
  state = jax.device_put(created, sharding.replicated(mesh))
  batch = sharding.assemble(random_batch(batch_size=8), sharding.batch_sharding(mesh))
  compiling = dispatch.compile_steps(training, state, batch, mesh, batch_norm_frozen=False)
  compiled = compiling.result()

  def size(network):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))

  params = state.generator.params
  layout_channels = training.settings.model.refinement_dims[0]
  upsampled = [params['refinement']['module_1']['conv_0']['kernel'][:, :, -layout_channels:]]
  upsampled += [leaf for leaf in jax.tree.leaves(params['mask_head']) if leaf.shape[:2] == (3, 3)]
  return {
    'collectives': collective_bytes(compiled.as_text()),
    'generator': size(state.generator),
    'discriminators': size(state.image_discriminator) + size(state.object_discriminator),
    'upsampled': sum(kernel.nbytes for kernel in upsampled),
  }


def main(directory: pathlib.Path):
  training = AdversarialTraining.build(Settings.from_config(tiny_config()), VOCABULARY)
  created = jax.jit(training.init)()
  for devices in (1, 2, 8):
    np.savez(directory / f'{devices}.npz', **on_devices(training, created, devices))
  (directory / 'sent.json').write_text(json.dumps(sent(training, created)))

  # A large epsilon: Adam's first steps are as long for a gradient of round-off as for any other.
  training = TokenTraining.build(tiny_token_settings({'optimizer.eps': 1.0}), VOCABULARY)
  created = jax.jit(training.init)()
  (directory / 'tokens').mkdir()
  for devices in (1, 8):
    stepped = token_step_on_devices(training, created, devices)
    np.savez(directory / 'tokens' / f'{devices}.npz', **stepped)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))

"""What a compiled step sends between devices."""

import json
import os
import pathlib
import subprocess
import sys

from benchmarks.collectives import collective_bytes
from tests.training_runs import ENVIRONMENT

ROOT = pathlib.Path(__file__).parents[2]
MOMENTS = 4096  # bytes: more than the sums of all BatchNorms and losses of the tiny model need

PROGRAM = """
import json
import jax
from benchmarks.collectives import collective_bytes
from sg2im_jax import dispatch, sharding
from sg2im_jax.train_state import create_train_state
from tests.small_scenes import VOCABULARY, random_batch, tiny_config

config = tiny_config()
mesh = sharding.make_mesh()
assert mesh.size == 8
state = jax.device_put(jax.jit(lambda: create_train_state(config, VOCABULARY))(), sharding.replicated(mesh))
batch = sharding.assemble(random_batch(batch_size=8), sharding.batch_sharding(mesh))
compiled = dispatch.compile_steps(config, VOCABULARY, state, batch, mesh, batch_norm_frozen=False)
def size(network):
  return sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))
params = state.generator.params
upsampled = [params['refinement']['module_1']['conv_0']['kernel'][:, :, -config.model.refinement_dims[0]:]]
upsampled += [leaf for leaf in jax.tree.leaves(params['mask_head']) if leaf.shape[:2] == (3, 3)]
print(json.dumps({'collectives': collective_bytes(compiled.as_text()), 'generator': size(state.generator),
                  'discriminators': size(state.image_discriminator) + size(state.object_discriminator),
                  'upsampled': sum(kernel.nbytes for kernel in upsampled)}))
"""


def test_a_step_sums_gradients_and_moments_and_nothing_else():
  result = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, **ENVIRONMENT, 'XLA_FLAGS': '--xla_force_host_platform_device_count=8'},
  )
  assert result.returncode == 0, result.stderr
  found = json.loads(result.stdout.splitlines()[-1])
  assert found['collectives'].keys() == {'all-reduce'}
  gradients = found['generator'] + found['discriminators']
  # What XLA may send besides, as it sums over devices before it adds up: the gradients of a
  # discriminator on reals and on fakes, and those of the 16 taps that stand for the 9 of a kernel
  # in `convolve_upsampled`.
  separate = found['discriminators'] + found['upsampled'] * 7 // 9
  assert gradients <= found['collectives']['all-reduce'] <= gradients + separate + MOMENTS


def test_bytes_by_kind():
  assert collective_bytes("""
  %sum.3 = (f32[8,4]{1,0:T(8,128)}, /*index=1*/bf16[16]{0}) all-reduce(%a, %b), channel_id=1, to_apply=%add
  gather = ((f32[2]{0}), f32[4]{0}) all-gather-start(%x), dimensions={0}
  done = f32[4]{0} all-gather-done(gather)
  ROOT %any = pred[] all-reduce(%q)
  %moved = f8e4m3fn[10]{0} collective-permute(%all-gather.1)
  %next = s32[] add(%all-reduce.3, %y)
""") == {'all-reduce': 8 * 4 * 4 + 16 * 2 + 1, 'all-gather': 16, 'collective-permute': 10}

"""Restores step 2 of the work directory of checkpoints_test on four devices, and saves step 3."""

import sys

import jax

from sg2im_jax.runtime import sharding
from tests.sg2im_jax.storage.checkpoints_test import assert_equal, make_state, restore, save

if __name__ == '__main__':
  (workdir,) = sys.argv[1:]
  assert len(jax.devices()) == 4
  replicated = sharding.replicated(sharding.make_mesh())
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated), make_state(0)
  )
  state = restore(workdir, abstract).tree
  assert_equal(state, make_state(2))
  assert all(leaf.sharding == replicated for leaf in jax.tree.leaves(state))
  save(workdir, [jax.device_put(make_state(3), replicated)])

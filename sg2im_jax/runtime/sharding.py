"""The mesh and the shardings of data parallelism: batches sharded, the rest replicated."""

import collections
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data_pipelines.scene_graphs.errors import UserError

Tree = TypeVar('Tree')


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
  """A mesh of one axis, "data".

  The devices of a process are adjacent, and the processes in order, so that process k reads the
  k-th contiguous part of a batch.

  Args:
    devices: None for all devices of all processes.

  Raises:
    UserError: the processes have unequal numbers of devices.
  """
  devices = sorted(
    jax.devices() if devices is None else devices,
    key=lambda device: (device.process_index, device.id),
  )
  counts = collections.Counter(device.process_index for device in devices)
  if len(set(counts.values())) > 1:
    raise UserError(
      f'the processes have {", ".join(map(str, counts.values()))} devices; expected the same '
      'number in each; choose them with CUDA_VISIBLE_DEVICES'
    )
  return Mesh(np.asarray(devices), ('data',))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For arrays whose first axis is B, which is sharded over the devices."""
  return NamedSharding(mesh, PartitionSpec('data'))


def stacked_batch_sharding(mesh: Mesh) -> NamedSharding:
  """For batches of several steps, [K, B, ...]."""
  return NamedSharding(mesh, PartitionSpec(None, 'data'))


def replicated(mesh: Mesh) -> NamedSharding:
  """For the state, of which each device holds a copy."""
  return NamedSharding(mesh, PartitionSpec())


def assemble(rows: Tree, sharding: NamedSharding) -> Tree:
  """The global arrays of a batch; their copy to the devices is asynchronous.

  Args:
    rows: this process' part of each array.
    sharding: of the global arrays.
  """
  return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), rows)

"""The mesh and the shardings of data-parallel training: batches split over "data", everything else
replicated.
"""

import collections
from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data_pipelines.scene_graphs.errors import UserError

Tree = TypeVar('Tree')


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh of one axis, "data", over the given devices (all there are, of all processes, by
  default).

  The devices of a process are adjacent, and the processes in order, so that what process k reads is
  the k-th contiguous part of a batch.

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
      f'the processes have {", ".join(map(str, counts.values()))} devices; expected equally many '
      'of '
      'each; choose them with CUDA_VISIBLE_DEVICES'
    )
  return Mesh(np.asarray(devices), ('data',))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For arrays whose first axis is B: each device holds its share of the images."""
  return NamedSharding(mesh, PartitionSpec('data'))


def stacked_batch_sharding(mesh: Mesh) -> NamedSharding:
  """For batches of several steps, [K, B, ...]."""
  return NamedSharding(mesh, PartitionSpec(None, 'data'))


def replicated(mesh: Mesh) -> NamedSharding:
  """For the state: each device holds all of it."""
  return NamedSharding(mesh, PartitionSpec())


def assemble(rows: Tree, batch_sharding: NamedSharding) -> Tree:
  """The global arrays of which this process has read the part `rows`; returns while they are being
  copied.
  """
  return jax.tree.map(
    lambda array: jax.make_array_from_process_local_data(batch_sharding, array), rows
  )

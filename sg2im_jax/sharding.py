"""The mesh and the two shardings of data-parallel training: batches split over "data", everything else replicated."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh of one axis, "data", over the given devices (all there are by default)."""
  return Mesh(np.asarray(jax.devices() if devices is None else devices), ('data',))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For arrays whose first axis is B: each device holds its share of the images."""
  return NamedSharding(mesh, PartitionSpec('data'))


def replicated(mesh: Mesh) -> NamedSharding:
  """For the state: each device holds all of it."""
  return NamedSharding(mesh, PartitionSpec())

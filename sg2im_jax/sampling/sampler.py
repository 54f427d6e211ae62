"""Batches of samples from a trained generator, on the devices of this process.

One XLA call a batch computes the noise, the images and their 8-bit pixels, its rows sharded over
the devices. The noise of a sample is a function of (seed, graph index, sample index), and no row of
a batch depends on another one: a sample is the same, up to round-off, whatever else is sampled, in
which batches and on how many devices.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import numpy as np
from jax.sharding import Mesh

from sg2im_jax.models import Generator, GeneratorOutputs, TokenGenerator, pixels
from sg2im_jax.runtime import sharding
from sg2im_jax.runtime.program_cache import CachedFunction
from sg2im_jax.scene_batch import SceneBatch

_IMAGES_PER_DEVICE = 64
_IMAGES_PER_PART = 16  # on CPUs, in whose caches the maps of more images do not stay


class SampledBatch(flax.struct.PyTreeNode):
  """A batch of samples on the devices, perhaps not computed yet.

  Attributes:
    pictures: uint8[B, H, W, 3].
    boxes: float32[B, O, 4], predicted, or those that were given to a token model.
    masks: float32[B, O, M, M], predicted; None without a mask head.
    latents: float32[B, O, L], appearances; None from a published model.
  """

  pictures: jax.Array
  boxes: jax.Array
  masks: jax.Array | None
  latents: jax.Array | None


class Sampler:
  """A trained generator, compiled once for each shape of a batch."""

  def __init__(
    self, generator: Generator | TokenGenerator, variables: Any, mesh: Mesh | None = None
  ):
    """Copies the variables to every device.

    Args:
      generator: the network.
      variables: its {'params': ..., 'batch_stats': ...}.
      mesh: over whose axis "data" batches are sharded; by default all devices of this process.
    """
    self.mesh = sharding.make_mesh(jax.local_devices()) if mesh is None else mesh
    self._variables = jax.device_put(variables, sharding.replicated(self.mesh))
    apply = functools.partial(generator.apply, train=False)

    def random_noise(seed, graph_index, sample_index, object_slots):
      key = jax.random.fold_in(jax.random.key(seed), graph_index)
      return generator.random_noise(jax.random.fold_in(key, sample_index), object_slots)

    def sample(variables, rows, *, stretch):
      batch, seeds, graph_indices, sample_indices, given = rows
      noise = jax.vmap(random_noise, (0, 0, 0, None))(
        seeds, graph_indices, sample_indices, batch.object_mask.shape[1]
      )
      uses: dict[str, Any] = {'use_boxes': False, 'use_masks': False}
      uses |= {f'use_{name}': which for name, which in given.items()}
      outputs: Any = apply(variables, batch, noise, **uses)
      return SampledBatch(
        pixels.denormalize(outputs.image, stretch), outputs.boxes, outputs.masks, outputs.latents
      )

    def sample_in_parts(variables, rows, *, stretch):
      of_device = functools.partial(_in_parts, functools.partial(sample, stretch=stretch))
      specs = sharding.replicated(self.mesh).spec, sharding.batch_sharding(self.mesh).spec
      return jax.shard_map(of_device, mesh=self.mesh, in_specs=specs, out_specs=specs[1])(
        variables, rows
      )

    is_cpu = self.mesh.devices.flat[0].platform == 'cpu'
    self._apply = jax.jit(apply, static_argnames=('use_boxes', 'use_masks'))
    self._random_noise = jax.jit(jax.vmap(random_noise, (None, None, 0, None)), static_argnums=3)
    self._sample = CachedFunction(
      sample_in_parts if is_cpu else sample,
      closes_over=repr(generator),
      devices=list(self.mesh.devices.flat),
      jit={'static_argnames': 'stretch', 'out_shardings': sharding.batch_sharding(self.mesh)},
    )

  def random_noise(
    self, seed: int, graph_index: int, sample_indices: np.ndarray, object_slots: int = 1
  ) -> Any:
    """The noise that `sample` uses for samples int32[S] of a graph, stacked."""
    return self._random_noise(seed, graph_index, sample_indices, object_slots)

  def __call__(
    self, batch: SceneBatch, noise: jax.Array, *, use_boxes: bool = False, use_masks: bool = False
  ) -> GeneratorOutputs:
    """All outputs for a batch and noise of any size; arguments as for `Generator.__call__`."""
    return self._apply(self._variables, batch, noise, use_boxes=use_boxes, use_masks=use_masks)

  def sample(
    self,
    batch: SceneBatch,
    seed: int | np.ndarray,
    graph_indices: np.ndarray,
    sample_indices: np.ndarray,
    *,
    stretch: bool,
    given: Mapping[str, np.ndarray] | None = None,
  ) -> SampledBatch:
    """Dispatches a batch of samples and their copy to the host; returns without waiting.

    Args:
      batch: B graphs, with the boxes, masks and latents that are to be used; B is a multiple of the
        number of devices.
      seed: the same seed gives the same samples; int32[B] for one of each row.
      graph_indices: int32[B], of each row's graph in its file.
      sample_indices: int32[B], number of the row among the samples of its graph.
      stretch: see `pixels.denormalize`.
      given: of `boxes`, `masks` and `latents`, bool[B, O]: of which objects the batch's are used;
        all others are predicted.
    """
    seeds = np.broadcast_to(np.asarray(seed, np.int32), np.shape(graph_indices))
    rows = jax.device_put(
      (batch, seeds, graph_indices, sample_indices, dict(given or {})),
      sharding.batch_sharding(self.mesh),
    )
    sampled = self._sample(self._variables, rows, stretch=stretch)
    for array in jax.tree.leaves(sampled):
      array.copy_to_host_async()
    return sampled

  def batch_size(self, num_images: int, largest: int | None = None) -> int:
    """The rows of a batch when `num_images` samples of one shape are wanted.

    Args:
      num_images: a power of two holds them if they are few.
      largest: limit of the rows; by default 64 a device. The result is a multiple of the number of
        devices, if need be above the limit.
    """
    size = min(largest or _IMAGES_PER_DEVICE * self.mesh.size, 1 << (num_images - 1).bit_length())
    return -(-size // self.mesh.size) * self.mesh.size


def _in_parts(
  sample: Callable[[Any, Any], SampledBatch], variables: Any, rows: Any
) -> SampledBatch:
  """`sample` of all rows, some of them at a time."""
  count = jax.tree.leaves(rows)[0].shape[0]
  if count <= _IMAGES_PER_PART:
    return sample(variables, rows)
  size = max(size for size in range(1, _IMAGES_PER_PART + 1) if count % size == 0)
  parts = jax.tree.map(lambda array: array.reshape(-1, size, *array.shape[1:]), rows)
  sampled = jax.lax.map(functools.partial(sample, variables), parts)
  return jax.tree.map(lambda array: array.reshape(count, *array.shape[2:]), sampled)

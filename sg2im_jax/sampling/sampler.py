"""From scene graphs to pictures, boxes and masks with a trained generator: what sampling and
verification share.

Many graphs are drawn in batches, each of graphs with the same number of slots (a bucket), so that
few shapes are ever compiled. One dispatch a batch draws the noise, the pictures and their 8-bit
pixels, its rows split over the devices of this process. The noise of a picture comes from (seed,
graph index, sample index) alone, and no row of a batch knows of another: a picture is the same, up
to float round-off, whatever else is drawn, in which batches and on how many devices.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import numpy as np
from jax.sharding import Mesh

from data_pipelines.scene_graphs.encoding import pad_scene_graph
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models import Generator, GeneratorOutputs, pixels
from sg2im_jax.runtime import sharding
from sg2im_jax.scene_batch import SceneBatch

_SMALLEST_BUCKET = 8
_IMAGES_PER_DEVICE = 64

Row = tuple[int, int]  # graph index, sample index: one picture


@dataclasses.dataclass(frozen=True)
class GraphSamples:
  """What the model makes of one graph with N objects (without `__image__`).

  Attributes:
    index: of the graph in its file.
    graph: the graph.
    pictures: uint8[S, H, W, 3].
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1], not clipped to 1.
    masks: float32[N, M, M] in [0, 1], each in the frame of its box; None without a mask head.
  """

  index: int
  graph: SceneGraph
  pictures: np.ndarray
  boxes: np.ndarray
  masks: np.ndarray | None


@flax.struct.dataclass
class DrawnBatch:
  """A batch of pictures, on the devices and perhaps not computed yet.

  Attributes:
    pictures: uint8[B, H, W, 3].
    boxes: float32[B, O, 4].
    masks: float32[B, O, M, M], or None without a mask head.
  """

  pictures: jax.Array
  boxes: jax.Array
  masks: jax.Array | None


def bucket_size(count: int) -> int:
  """The slots for `count` objects or triples: 8, 16, 32, ... so that few shapes are ever compiled."""
  size = _SMALLEST_BUCKET
  while size < count:
    size *= 2
  return size


def bucket(graph: SceneGraph) -> tuple[int, int]:
  """The object slots O and the triple slots T that a graph is drawn with."""
  return bucket_size(len(graph.objects) + 1), bucket_size(
    len(graph.objects) + len(graph.relationships)
  )


def encode_graph(graph: SceneGraph, vocabulary: Vocabulary, where: str) -> SceneBatch:
  """A graph as a `SceneBatch` without the batch axis, padded to its bucket.

  Args:
    graph: of any size.
    vocabulary: the model's names.
    where: what error messages begin with, such as "sheep.json: graph 0".

  Raises:
    UserError: a name is not in the vocabulary; tells which, where, and the nearest known names.
  """
  return SceneBatch(**pad_scene_graph(graph, vocabulary, *bucket(graph), where))


def check_graphs(graphs: Iterable[SceneGraph], vocabulary: Vocabulary, source: str):
  """Raises the UserError of `encode_graph` for the first graph that has one; messages begin with
  `source`.
  """
  for index, graph in enumerate(graphs):
    encode_graph(graph, vocabulary, f'{source}: graph {index}')


class Sampler:
  """A trained generator on the devices of this process, compiled once for each shape of a batch."""

  def __init__(self, generator: Generator, variables: Any, mesh: Mesh | None = None):
    """Copies the variables to every device.

    Args:
      generator: the network.
      variables: its {'params': ..., 'batch_stats': ...}.
      mesh: over whose axis "data" batches are split; by default all devices of this process.
    """
    self.mesh = sharding.make_mesh(jax.local_devices()) if mesh is None else mesh
    self._variables = jax.device_put(variables, sharding.replicated(self.mesh))
    apply = functools.partial(generator.apply, train=False)
    shape = (*generator.image_size, generator.layout_noise_dim)

    def draw_noise(seed, graph_index, sample_index):
      key = jax.random.fold_in(jax.random.key(seed), graph_index)
      return jax.random.normal(jax.random.fold_in(key, sample_index), shape)

    def draw(variables, batch, seed, graph_indices, sample_indices, stretch, use_boxes, use_masks):
      noise = jax.vmap(draw_noise, (None, 0, 0))(seed, graph_indices, sample_indices)
      outputs = apply(variables, batch, noise, use_boxes=use_boxes, use_masks=use_masks)
      return DrawnBatch(pixels.denormalize(outputs.image, stretch), outputs.boxes, outputs.masks)

    self._apply = jax.jit(apply, static_argnames=('use_boxes', 'use_masks'))
    self._draw_noise = jax.jit(jax.vmap(draw_noise, (None, None, 0)))
    self._draw = jax.jit(
      draw,
      static_argnames=('stretch', 'use_boxes', 'use_masks'),
      out_shardings=sharding.batch_sharding(self.mesh),
    )

  def draw_noise(self, seed: int, graph_index: int, sample_indices: np.ndarray) -> jax.Array:
    """The noise of pictures of a graph, int32[S] -> float32[S, H, W, layout_noise_dim]: that which
    `draw` draws.
    """
    return self._draw_noise(seed, graph_index, sample_indices)

  def __call__(
    self, batch: SceneBatch, noise: jax.Array, *, use_boxes: bool = False, use_masks: bool = False
  ) -> GeneratorOutputs:
    """All outputs for a batch and noise of any size; the arguments are those of
    `Generator.__call__`.
    """
    return self._apply(self._variables, batch, noise, use_boxes=use_boxes, use_masks=use_masks)

  def draw(
    self,
    batch: SceneBatch,
    seed: int,
    graph_indices: np.ndarray,
    sample_indices: np.ndarray,
    *,
    stretch: bool,
    use_boxes: bool = False,
    use_masks: bool = False,
  ) -> DrawnBatch:
    """Starts to draw pictures of graphs, split over the devices, and to copy them to the host; does
    not wait.

    Args:
      batch: B graphs, with the boxes and masks that are to be used; B is a multiple of the number
      of devices.
      seed: the same seed gives the same pictures.
      graph_indices: int32[B], of each row's graph in its file.
      sample_indices: int32[B], which picture of that graph each row is.
      stretch: see `pixels.denormalize`.
      use_boxes, use_masks: see `Generator.__call__`.
    """
    batch, graph_indices, sample_indices = jax.device_put(
      (batch, graph_indices, sample_indices), sharding.batch_sharding(self.mesh)
    )
    drawn = self._draw(
      self._variables,
      batch,
      seed,
      graph_indices,
      sample_indices,
      stretch=stretch,
      use_boxes=use_boxes,
      use_masks=use_masks,
    )
    for array in jax.tree.leaves(drawn):
      array.copy_to_host_async()
    return drawn

  def batch_size(self, num_images: int, largest: int | None = None) -> int:
    """The rows of each batch in which to draw so many pictures of one bucket.

    Args:
      num_images: how many there are to draw; few of them make a small batch, of a power of two.
      largest: at most so many rows; by default 64 a device, and always a whole number for each
      device.
    """
    size = min(largest or _IMAGES_PER_DEVICE * self.mesh.size, 1 << (num_images - 1).bit_length())
    return -(-size // self.mesh.size) * self.mesh.size


def sample_graphs(
  sampler: Sampler,
  graphs: Mapping[int, SceneGraph],
  vocabulary: Vocabulary,
  *,
  samples_per_graph: int,
  seed: int,
  stretch: bool,
  batch_size: int | None,
) -> Iterator[GraphSamples]:
  """Draws every graph, bucket after bucket; within a bucket in the order given.

  While the results of one batch are fetched and worked on, the next one is drawn already. Two
  batches and the pictures of one graph are in memory, whatever the number of graphs.

  Args:
    sampler: compiles once for each bucket.
    graphs: by their index in their file, whose names the vocabulary has.
    vocabulary: the model's names.
    samples_per_graph: S.
    seed: the same seed gives the same pictures.
    stretch: see `pixels.denormalize`.
    batch_size: see `Sampler.batch_size`.
  """
  buckets = collections.defaultdict(list)
  for index, graph in graphs.items():
    buckets[bucket(graph)].append(index)

  def dispatch() -> Iterator[tuple[list[Row], DrawnBatch]]:
    for _, indices in sorted(buckets.items()):
      size = sampler.batch_size(len(indices) * samples_per_graph, batch_size)
      for rows in _batched(_rows(indices, samples_per_graph), size):
        padded = rows + [rows[-1]] * (size - len(rows))
        encoded = {
          index: encode_graph(graphs[index], vocabulary, f'graph {index}') for index, _ in rows
        }
        batch = jax.tree.map(
          lambda *arrays: np.stack(arrays), *(encoded[index] for index, _ in padded)
        )
        graph_indices, sample_indices = np.array(padded, np.int32).T
        yield rows, sampler.draw(batch, seed, graph_indices, sample_indices, stretch=stretch)

  pictures = []
  for rows, drawn in one_ahead(dispatch()):
    drawn = jax.tree.map(np.asarray, drawn)
    for row, (index, sample) in enumerate(rows):
      pictures.append(drawn.pictures[row])
      if sample + 1 == samples_per_graph:
        objects = slice(1, len(graphs[index].objects) + 1)  # slot 0 is __image__
        masks = None if drawn.masks is None else drawn.masks[row, objects]
        yield GraphSamples(
          index, graphs[index], np.stack(pictures), drawn.boxes[row, objects], masks
        )
        pictures.clear()


def _rows(indices: Sequence[int], samples_per_graph: int) -> Iterator[Row]:
  return ((index, sample) for index in indices for sample in range(samples_per_graph))


def _batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
  while batch := list(itertools.islice(rows, size)):
    yield batch


def one_ahead(items: Iterator[Any]) -> Iterator[Any]:
  """The items, each after the one that follows it has been begun: devices go on while the host
  works on the first.
  """
  previous = next(items, None)
  for item in items:
    yield previous
    previous = item
  if previous is not None:
    yield previous

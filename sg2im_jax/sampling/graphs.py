"""Samples of many scene graphs of any sizes.

Graphs are batched with those of the same numbers of slots (a bucket), so that few shapes are
compiled.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import numpy as np

from data_pipelines.scene_graphs.encoding import pad_scene_graph
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.sampling.sampler import SampledBatch, Sampler
from sg2im_jax.scene_batch import SceneBatch

_SMALLEST_BUCKET = 8

Item = TypeVar('Item')
Row = tuple[int, int]  # graph index, sample index: one sample


@dataclasses.dataclass(frozen=True, eq=False)
class GraphLayout:
  """Where the N objects of a graph are (without `__image__`); what is None is predicted.

  Attributes:
    boxes: float32[N, 4] x0, y0, x1, y1, the image being [0, 1].
    masks: float32 or uint8[N, M, M] in [0, 1], each in the frame of its box.
  """

  boxes: np.ndarray | None = None
  masks: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class GraphSamples:
  """What a model makes of one graph with N objects (without `__image__`).

  Attributes:
    index: of the graph in its file.
    graph: the graph.
    pictures: uint8[S, H, W, 3].
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1], not clipped to 1: given or predicted.
    masks: float32[N, M, M] in [0, 1], each in the frame of its box; None without a mask head.
  """

  index: int
  graph: SceneGraph
  pictures: np.ndarray
  boxes: np.ndarray
  masks: np.ndarray | None


def bucket_size(count: int) -> int:
  """The slots for `count` objects or triples: the least of 8, 16, 32, ... that holds them."""
  size = _SMALLEST_BUCKET
  while size < count:
    size *= 2
  return size


def bucket(graph: SceneGraph) -> tuple[int, int]:
  """The object slots O and the triple slots T of a graph."""
  num_objects = len(graph.objects)
  return bucket_size(num_objects + 1), bucket_size(num_objects + len(graph.relationships))


def encode_graph(
  graph: SceneGraph, vocabulary: Vocabulary, where: str, layout: GraphLayout | None = None
) -> SceneBatch:
  """A graph as a `SceneBatch` without the batch axis, padded to its bucket.

  Args:
    graph: of any size.
    vocabulary: the model's names.
    where: what error messages begin with, such as "sheep.json: graph 0".
    layout: boxes and masks that go with it.

  Raises:
    UserError: a name is not in the vocabulary (tells which, where, and the nearest known names), or
      the layout has another shape.
  """
  batch = SceneBatch(**pad_scene_graph(graph, vocabulary, *bucket(graph), where))
  if layout is None:
    return batch
  num_slots, num_objects = len(batch.object_class), len(graph.objects)
  objects = slice(1, num_objects + 1)  # slot 0 is __image__
  if layout.boxes is not None:
    given = np.asarray(layout.boxes, np.float32)
    if given.shape != (num_objects, 4) or not np.isfinite(given).all():
      raise UserError(
        f'{where}: boxes are {list(given.shape)}, expected finite numbers [{num_objects}, 4], a '
        'box for each object'
      )
    boxes = np.zeros((num_slots, 4), np.float32)
    boxes[0], boxes[objects] = (0, 0, 1, 1), given
    batch = batch.replace(boxes=boxes)
  if layout.masks is not None:
    given = np.asarray(layout.masks)
    if given.ndim != 3 or len(given) != num_objects or given.shape[1] != given.shape[2]:
      raise UserError(
        f'{where}: masks are {list(given.shape)}, expected [{num_objects}, M, M], a square for '
        'each object'
      )
    masks = np.zeros((num_slots, *given.shape[1:]), given.dtype)
    masks[0], masks[objects] = 1, given
    batch = batch.replace(masks=masks)
  return batch


def check_graphs(graphs: Iterable[SceneGraph], vocabulary: Vocabulary, source: str):
  """Raises the UserError of `encode_graph` for the first graph that has one.

  Args:
    graphs: in the order of their file.
    vocabulary: the model's names.
    source: the file, with which messages begin.
  """
  for index, graph in enumerate(graphs):
    encode_graph(graph, vocabulary, f'{source}: graph {index}')


def sample_graphs(
  sampler: Sampler,
  graphs: Mapping[int, SceneGraph],
  vocabulary: Vocabulary,
  *,
  samples_per_graph: int,
  seed: int,
  stretch: bool,
  batch_size: int | None = None,
  layouts: Mapping[int, GraphLayout] | None = None,
) -> Iterator[GraphSamples]:
  """Samples every graph, bucket after bucket; within a bucket in the order given.

  One batch is computed while the results of the one before it are used. Two batches and the samples
  of one graph are in memory, whatever the number of graphs.

  Args:
    sampler: compiles once for each bucket.
    graphs: by their index in their file, whose names the vocabulary has.
    vocabulary: the model's names.
    samples_per_graph: S.
    seed: the same seed gives the same samples.
    stretch: see `pixels.denormalize`.
    batch_size: see `Sampler.batch_size`.
    layouts: given boxes and masks, by the index of the graph.
  """
  layouts = layouts or {}
  buckets = collections.defaultdict(list)
  for index, graph in graphs.items():
    layout = layouts.get(index, GraphLayout())
    mask_size = None if layout.masks is None else np.shape(layout.masks)[-1]
    buckets[*bucket(graph), layout.boxes is not None, mask_size or 0].append(index)

  def dispatch() -> Iterator[tuple[list[Row], SampledBatch]]:
    for (*_, use_boxes, mask_size), indices in sorted(buckets.items()):
      size = sampler.batch_size(len(indices) * samples_per_graph, batch_size)
      for rows in _batched(_rows(indices, samples_per_graph), size):
        padded = rows + [rows[-1]] * (size - len(rows))
        encoded = {
          index: encode_graph(graphs[index], vocabulary, f'graph {index}', layouts.get(index))
          for index, _ in rows
        }
        batch = jax.tree.map(
          lambda *arrays: np.stack(arrays), *(encoded[index] for index, _ in padded)
        )
        graph_indices, sample_indices = np.array(padded, np.int32).T
        yield (
          rows,
          sampler.sample(
            batch,
            seed,
            graph_indices,
            sample_indices,
            stretch=stretch,
            use_boxes=use_boxes,
            use_masks=mask_size > 0,
          ),
        )

  pictures = []
  for rows, sampled in one_ahead(dispatch()):
    sampled = jax.tree.map(np.asarray, sampled)
    for row, (index, sample) in enumerate(rows):
      pictures.append(sampled.pictures[row])
      if sample + 1 == samples_per_graph:
        objects = slice(1, len(graphs[index].objects) + 1)  # slot 0 is __image__
        given = layouts.get(index, GraphLayout())
        boxes, masks = sampled.boxes[row, objects], None
        if sampled.masks is not None:
          masks = sampled.masks[row, objects]
        if given.boxes is not None:
          boxes = np.asarray(given.boxes, np.float32)
        if given.masks is not None:
          masks = np.asarray(given.masks, np.float32)
        yield GraphSamples(index, graphs[index], np.stack(pictures), boxes, masks)
        pictures.clear()


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
  """Yields one item late, so that the next one is already dispatched while an item is used."""
  previous = list(itertools.islice(items, 1))
  for item in items:
    yield previous.pop()
    previous.append(item)
  yield from previous


def _rows(indices: Sequence[int], samples_per_graph: int) -> Iterator[Row]:
  return ((index, sample) for index in indices for sample in range(samples_per_graph))


def _batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
  while batch := list(itertools.islice(rows, size)):
    yield batch

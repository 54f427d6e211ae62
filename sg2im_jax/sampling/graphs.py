"""Samples of many scene graphs of any sizes.

Graphs are batched with those of the same numbers of slots (a bucket), so that few shapes are
compiled.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

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


@dataclasses.dataclass(frozen=True, eq=False)
class Pins:
  """What is given of the N objects of a graph (without `__image__`); the rest is predicted.

  Attributes:
    boxes: float32[N, 4] x0, y0, x1, y1, the image being [0, 1]; a row of nan is predicted.
    masks: float32 or uint8[N, M, M] in [0, 1], each in the frame of its box; one of nan is
      predicted.
    latents: float32[N, L], appearances for a token model; a row of nan is sampled.
    image_latents: float32[L], that of the whole image; only beside latents.
    nearness: float32[N], see `SceneBatch`.
  """

  boxes: np.ndarray | None = None
  masks: np.ndarray | None = None
  latents: np.ndarray | None = None
  image_latents: np.ndarray | None = None
  nearness: np.ndarray | None = None

  @property
  def kind(self) -> tuple[bool, int, bool, bool]:
    """Equal for graphs that fit into one batch."""
    mask_size = 0 if self.masks is None else np.shape(self.masks)[-1]
    has_latents, has_nearness = self.latents is not None, self.nearness is not None
    return self.boxes is not None, mask_size, has_latents, has_nearness


@dataclasses.dataclass(frozen=True, eq=False)
class GraphSamples:
  """S samples that a model makes of one graph with N objects (without `__image__`).

  Attributes:
    index: of the graph in its file.
    graph: the graph.
    pictures: uint8[S, H, W, 3].
    boxes: float32[S, N, 4] x0, y0, x1, y1 in [0, 1]: given or predicted. A published model predicts
      the same ones for each sample, and does not clip them to 1.
    masks: float32[S, N, M, M] in [0, 1], each in the frame of its box; None without a mask head.
    latents: float32[S, N, L], appearances; None from a published model.
    image_latents: float32[S, L], those of the whole image; likewise.
  """

  index: int
  graph: SceneGraph
  pictures: np.ndarray
  boxes: np.ndarray
  masks: np.ndarray | None
  latents: np.ndarray | None
  image_latents: np.ndarray | None

  def layout(self, sample: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The boxes and masks of a sample."""
    return self.boxes[sample], None if self.masks is None else self.masks[sample]


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """One sample that is asked for: a row of a batch.

  Attributes:
    batch: its graph without the batch axis.
    given: by the names of the pins, bool[O].
    seed: of its noise.
    graph: its graph's index, of which the noise is a function, too.
    sample: its number among the samples of its graph, likewise.
  """

  batch: SceneBatch
  given: dict[str, np.ndarray]
  seed: int
  graph: int = 0
  sample: int = 0


def dispatch(sampler: Sampler, rows: Sequence[Row], size: int, *, stretch: bool) -> SampledBatch:
  """Dispatches a batch of `size` samples: of the rows, whose arrays have the same shapes, then of
  the last one as padding."""
  padded = [*rows, *[rows[-1]] * (size - len(rows))]
  batch, given = jax.tree.map(
    lambda *arrays: np.stack(arrays), *((row.batch, row.given) for row in padded)
  )
  seeds, graphs, samples = np.array(
    [(row.seed, row.graph, row.sample) for row in padded], np.int32
  ).T
  return sampler.sample(batch, seeds, graphs, samples, stretch=stretch, given=given)


def bucket_size(count: int) -> int:
  """The slots for `count` objects or triples: the least of 8, 16, 32, ... that holds them."""
  size = _SMALLEST_BUCKET
  while size < count:
    size *= 2
  return size


def bucket(graph: SceneGraph) -> tuple[int, int, int]:
  """The object slots O, the triple slots T and the attribute slots A of a graph; A is 0 where it
  has no attributes."""
  num_objects = len(graph.objects)
  num_attributes = max(map(len, (graph.scene, *graph.attributes)))
  return (
    bucket_size(num_objects + 1),
    bucket_size(num_objects + len(graph.relationships)),
    bucket_size(num_attributes) if num_attributes else 0,
  )


def encode_graph(
  graph: SceneGraph,
  vocabulary: Vocabulary,
  where: str,
  pins: Pins | None = None,
  *,
  slots: tuple[int, int, int] | None = None,
) -> tuple[SceneBatch, dict[str, np.ndarray]]:
  """A graph as a `SceneBatch` without the batch axis, padded; and what is given.

  Args:
    graph: of any size.
    vocabulary: the model's names.
    where: what error messages begin with, such as "sheep.json: graph 0".
    pins: boxes, masks and latents that go with it.
    slots: O, T and A to pad to; None for those of its bucket.

  Returns:
    The batch, and by the names of the pins bool[O], of which slots they are given.

  Raises:
    UserError: a name is not in the vocabulary (tells which, where, and the nearest known names), or
      pins have another shape.
  """
  max_objects, max_triples, max_attributes = slots or bucket(graph)
  batch = SceneBatch(
    **pad_scene_graph(
      graph, vocabulary, max_objects, max_triples, where, max_attributes=max_attributes
    )
  )
  pins = pins or Pins()
  num_slots, count = len(batch.object_class), len(graph.objects)
  given = {}

  def rows(name: str, values: np.ndarray, of_image: Any) -> np.ndarray:
    is_given = ~np.isnan(values).reshape(count, -1).any(-1)
    given[name] = np.zeros(num_slots, bool)
    given[name][1 : count + 1] = is_given  # slot 0 is __image__
    padded = np.zeros((num_slots, *values.shape[1:]), values.dtype)
    padded[0] = of_image
    padded[1 : count + 1][is_given] = values[is_given]
    return padded

  if pins.boxes is not None:
    boxes = np.asarray(pins.boxes, np.float32)
    if boxes.shape != (count, 4) or np.isinf(boxes).any():
      raise UserError(
        f'{where}: boxes are {list(boxes.shape)}, expected finite numbers [{count}, 4], a box for '
        'each object, or nan for one that is predicted'
      )
    batch = batch.replace(boxes=rows('boxes', boxes, (0, 0, 1, 1)))
    given['boxes'][0] = True
  if pins.masks is not None:
    masks = np.asarray(pins.masks)
    if masks.ndim != 3 or len(masks) != count or masks.shape[1] != masks.shape[2]:
      raise UserError(
        f'{where}: masks are {list(masks.shape)}, expected [{count}, M, M], a square for each '
        'object'
      )
    batch = batch.replace(masks=rows('masks', masks, 1))
    given['masks'][0] = True
  if pins.latents is not None:
    latents = np.asarray(pins.latents, np.float32)
    if latents.ndim != 2 or len(latents) != count or np.isinf(latents).any():
      raise UserError(
        f'{where}: latents are {list(latents.shape)}, expected finite numbers [{count}, L], a row '
        'for each object, or nan for one that is sampled'
      )
    of_image = 0 if pins.image_latents is None else pins.image_latents
    batch = batch.replace(latents=rows('latents', latents, of_image))
    given['latents'][0] = pins.image_latents is not None
  if pins.nearness is not None:
    if np.shape(pins.nearness) != (count,):
      raise UserError(
        f'{where}: nearness is {list(np.shape(pins.nearness))}, expected a number for each object'
      )
    nearness = np.zeros(num_slots, np.float32)
    nearness[1 : count + 1] = pins.nearness
    batch = batch.replace(nearness=nearness)
  return batch, given


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
  pins: Mapping[int, Pins] | None = None,
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
    pins: what is given, by the index of the graph.
  """
  pins = pins or {}
  buckets = collections.defaultdict(list)
  for index, graph in graphs.items():
    buckets[*bucket(graph), *pins.get(index, Pins()).kind].append(index)

  def dispatched() -> Iterator[tuple[list[Row], SampledBatch]]:
    for _, indices in sorted(buckets.items()):
      size = sampler.batch_size(len(indices) * samples_per_graph, batch_size)
      for rows in batched(rows_of(indices), size):
        yield rows, dispatch(sampler, rows, size, stretch=stretch)

  def rows_of(indices: Sequence[int]) -> Iterator[Row]:
    for index in indices:
      encoded = encode_graph(graphs[index], vocabulary, f'graph {index}', pins.get(index))
      yield from (Row(*encoded, seed, index, sample) for sample in range(samples_per_graph))

  samples: list[SampledBatch] = []
  for rows, sampled in one_ahead(dispatched()):
    for row, found in zip(rows, unstacked(sampled)):
      samples.append(found)
      if row.sample + 1 == samples_per_graph:
        index = row.graph
        yield samples_of_graph(index, graphs[index], samples, pins.get(index, Pins()))
        samples.clear()


def unstacked(sampled: SampledBatch) -> Iterator[SampledBatch]:
  """The rows of a batch on the host, padding included; waits for the devices."""
  arrays = jax.tree.map(np.asarray, sampled)
  for row in range(len(arrays.pictures)):
    yield jax.tree.map(lambda array, row=row: array[row], arrays)


def samples_of_graph(
  index: int, graph: SceneGraph, samples: Sequence[SampledBatch], pins: Pins
) -> GraphSamples:
  """The samples of a graph, one row of a batch each, without `__image__` and padding."""
  stacked: Any = jax.tree.map(lambda *arrays: np.stack(arrays), *samples)
  objects = slice(1, len(graph.objects) + 1)  # slot 0 is __image__
  boxes = _with_given(stacked.boxes[:, objects], pins.boxes, len(samples))
  masks = None if stacked.masks is None else stacked.masks[:, objects]
  if pins.masks is not None:
    masks = _with_given(masks, pins.masks, len(samples))
  latents = image_latents = None
  if stacked.latents is not None:
    latents, image_latents = stacked.latents[:, objects], stacked.latents[:, 0]
  return GraphSamples(index, graph, stacked.pictures, boxes, masks, latents, image_latents)


def _with_given(predicted: np.ndarray | None, given: np.ndarray | None, count: int) -> np.ndarray:
  """What was predicted of `count` samples, with what was given of all where that is not nan."""
  if given is None:
    assert predicted is not None
    return predicted
  every = np.repeat(np.asarray(given, np.float32)[None], count, 0)
  return every if predicted is None else np.where(np.isnan(every), predicted, every)


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
  """Yields one item late, so that the next one is already dispatched while an item is used."""
  previous = list(itertools.islice(items, 1))
  for item in items:
    yield previous.pop()
    previous.append(item)
  yield from previous


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
  """Lists of `size` items, the last one perhaps of fewer."""
  items = iter(items)
  while batch := list(itertools.islice(items, size)):
    yield batch

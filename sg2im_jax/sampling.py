"""From scene graphs to pictures, boxes and masks with a trained generator: what sampling, evaluation and demo share."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from data_pipelines.encode import pad_scene_graph
from data_pipelines.scene_graph import SceneGraph
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax.models import Generator, GeneratorOutputs
from sg2im_jax.scene_batch import SceneBatch

_SMALLEST_BUCKET = 8
_LARGEST_BATCH = 16


@dataclasses.dataclass(frozen=True)
class GraphSamples:
  """What the model makes of one graph with N objects (without `__image__`).

  Attributes:
    graph: the graph.
    images: float32[S, H, W, 3], ImageNet-normalised.
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1], not clipped to 1.
    masks: float32[N, M, M] in [0, 1], each in the frame of its box; None without a mask head.
  """
  graph: SceneGraph
  images: np.ndarray
  boxes: np.ndarray
  masks: np.ndarray | None


def encode_graphs(graphs: Sequence[SceneGraph], vocabulary: Vocabulary, source: str) -> list[SceneBatch]:
  """Every graph as a `SceneBatch` without the batch axis, padded to its bucket.

  Args:
    graphs: scene graphs of any size.
    vocabulary: the model's names.
    source: where the graphs come from; error messages begin with it.

  Raises:
    UserError: a name is not in the vocabulary; tells which, where, and the nearest known names.
  """
  return [
      SceneBatch(**pad_scene_graph(
          graph, vocabulary, bucket_size(len(graph.objects) + 1),
          bucket_size(len(graph.objects) + len(graph.relationships)), f'{source}: graph {index}'))
      for index, graph in enumerate(graphs)
  ]


def bucket_size(count: int) -> int:
  """The slots for `count` objects or triples: 8, 16, 32, ... so that few shapes are ever compiled."""
  size = _SMALLEST_BUCKET
  while size < count:
    size *= 2
  return size


class Sampler:
  """A trained generator, compiled once for each shape of a batch and each way to lay objects out."""

  def __init__(self, generator: Generator, variables: Any):
    """variables: the generator's {'params': ..., 'batch_stats': ...}."""
    self._variables = variables
    self._apply = jax.jit(functools.partial(generator.apply, train=False), static_argnames=('use_boxes', 'use_masks'))
    shape = (*generator.image_size, generator.layout_noise_dim)

    @jax.jit
    def draw_noise(seed, graph_index, sample_indices):
      key = jax.random.fold_in(jax.random.key(seed), graph_index)
      return jax.vmap(lambda index: jax.random.normal(jax.random.fold_in(key, index), shape))(sample_indices)

    self._draw_noise = draw_noise

  def draw_noise(self, seed: int, graph_index: int, sample_indices: np.ndarray) -> jax.Array:
    """The noise of pictures of a graph, int32[S] -> float32[S, H, W, layout_noise_dim].

    It is drawn from (seed, graph index, sample index) alone: no other graph, and no number of samples, changes it.
    """
    return self._draw_noise(seed, graph_index, sample_indices)

  def __call__(self, batch: SceneBatch, noise: jax.Array, *, use_boxes: bool = False,
               use_masks: bool = False) -> GeneratorOutputs:
    """Draws a batch; the arguments are those of `Generator.__call__`."""
    return self._apply(self._variables, batch, noise, use_boxes=use_boxes, use_masks=use_masks)


def sample_graphs(sampler: Sampler, graphs: Sequence[SceneGraph], encoded: Sequence[SceneBatch], *,
                  samples_per_graph: int, seed: int) -> Iterator[GraphSamples]:
  """Draws every graph, in order.

  Args:
    sampler: compiles once for each bucket.
    graphs: scene graphs.
    encoded: the same graphs, from `encode_graphs`.
    samples_per_graph: S.
    seed: the same seed gives the same pixels.
  """
  batch_size = min(samples_per_graph, _LARGEST_BATCH)
  for index, (graph, arrays) in enumerate(zip(graphs, encoded, strict=True)):
    batch = jax.tree.map(lambda array: np.broadcast_to(array, (batch_size, *array.shape)), arrays)
    pictures = []
    for start in range(0, samples_per_graph, batch_size):  # the last batch may draw some that are not asked for
      outputs = sampler(batch, sampler.draw_noise(seed, index, start + np.arange(batch_size)))
      pictures.append(np.asarray(outputs.image))
    objects = slice(1, len(graph.objects) + 1)  # slot 0 is __image__
    masks = None if outputs.masks is None else np.asarray(outputs.masks[0, objects])
    boxes = np.asarray(outputs.boxes[0, objects])
    yield GraphSamples(graph, np.concatenate(pictures)[:samples_per_graph], boxes, masks)

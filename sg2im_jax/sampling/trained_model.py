"""A trained model as Python has it: loaded from a work directory, samples pictures of graphs."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import jax
import numpy as np
from PIL import Image

from data_pipelines.scene_graphs import graph as scene_graph
from data_pipelines.scene_graphs.completion import Addition, GraphStatistics
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.models import pixels
from sg2im_jax.runtime import reporting
from sg2im_jax.runtime.program_cache import CachedFunction
from sg2im_jax.sampling.editor import EditedScene, Repaint, edit
from sg2im_jax.sampling.graphs import GraphSamples, Pins, check_graphs, sample_graphs
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints, work_directory

Graph = SceneGraph | Mapping[str, Any]  # as an object, or as the dict that its JSON describes


class TrainedModel:
  """A generator with its weights and the names that it knows.

  Attributes:
    settings: of the training.
    vocabulary: the names of objects and predicates.
    step: training steps of the weights.
    statistics: of the training data's graphs; None of a converted model.
    generator: the network.
    variables: its {'params': ..., 'batch_stats': ...}.
  """

  def __init__(
    self,
    *,
    settings: Settings,
    vocabulary: Vocabulary,
    step: int,
    variables: Mapping[str, Any],
    statistics: GraphStatistics | None = None,
  ):
    self.settings, self.vocabulary, self.step = settings, vocabulary, step
    self.variables, self.statistics = variables, statistics
    self.generator = models.build_generator(settings, vocabulary)

  @classmethod
  def load(cls, workdir: str | os.PathLike, *, step: int | None = None) -> 'TrainedModel':
    """The model of a work directory; nothing else is needed, neither data nor TensorFlow.

    Args:
      workdir: of a training run or a converted checkpoint.
      step: of the checkpoint; None for the newest one that can be read.

    Raises:
      UserError: it is not a work directory, or has no such checkpoint, or a file is damaged.
    """
    settings = work_directory.load_settings(workdir)
    vocabulary = work_directory.load_vocabulary(workdir)
    checkpoint = checkpoints.load_generator(workdir, step)
    not_finite = [
      jax.tree_util.keystr(path, simple=True, separator='/')
      for path, array in jax.tree_util.tree_leaves_with_path(checkpoint.tree)
      if not np.isfinite(array).all()
    ]
    if not_finite:
      raise UserError(
        f'{workdir}: the weights of step {checkpoint.step} are not finite ({not_finite[0]} and '
        f'{len(not_finite) - 1} more arrays), as after a training that diverged; take an older '
        'checkpoint, or train again'
      )
    return cls(
      settings=settings,
      vocabulary=vocabulary,
      step=checkpoint.step,
      variables=checkpoint.tree,
      statistics=work_directory.load_statistics(workdir),
    )

  @functools.cached_property
  def fingerprint(self) -> str:
    """16 hexadecimal digits, equal for models that sample the same: of networks, names, arrays."""
    described = {
      'dtype': self.settings.dtype,
      'image_size': self.settings.data.image_size,
      'model': self.settings.model.model_dump(),
      'vocabulary': self.vocabulary.to_dict(),
    }
    if self.settings.tokens is not None:
      described['tokens'] = self.settings.tokens.model_dump()
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for path, array in jax.tree_util.tree_leaves_with_path(self.variables):
      digest.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}'.encode())
      digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]

  @functools.cached_property
  def sampler(self) -> Sampler:
    """The generator on all devices of this process."""
    return Sampler(self.generator, self.variables)

  @property
  def limits(self) -> list[str]:
    """What this model cannot do because of how it was trained, in sentences."""
    settings = self.settings
    lacking = {
      'This model was trained without a box loss: the boxes that it predicts mean nothing.': (
        settings.losses.bbox_weight == 0 and settings.tokens is None
      ),
      'This model was trained without relationships: those of graphs are left out.': (
        settings.data.relations == 'none'
      ),
      'This model predicts no masks: its layouts are boxes.': settings.model.mask_size == 0,
    }
    return [sentence for sentence, is_so in lacking.items() if is_so]

  def understood(self, graphs: Sequence[SceneGraph]) -> list[SceneGraph]:
    """The graphs without relationships or attributes if the model was trained without any, which is
    reported."""
    found = list(graphs)
    if self.settings.data.relations == 'none' and any(graph.relationships for graph in found):
      reporting.info('this model was trained without relationships: those of graphs are left out')
      found = [dataclasses.replace(graph, relationships=()) for graph in found]
    if not self.vocabulary.attribute_names and any(graph.has_attributes for graph in found):
      reporting.info('this model was trained without attributes: those of graphs are left out')
      found = [graph.without_attributes() for graph in found]
    return found

  def complete(
    self, graph: Graph, objects: int, *, seed: int = 0
  ) -> tuple[SceneGraph, list[Addition]]:
    """A graph with more objects, as likely as in the training data; and what was added.

    Args:
      graph: to complete.
      objects: how many to add.
      seed: of what is drawn.

    Raises:
      UserError: the graph is broken or names what the model does not know, or the model has no
        statistics.
    """
    (parsed,), source = _parse(graph)
    check_graphs(self.understood([parsed]), self.vocabulary, source)
    if self.statistics is None:
      raise UserError(
        'this model has no statistics of graphs (graph_statistics.json); training writes them, '
        'also when it continues'
      )
    return self.statistics.complete(parsed, objects, seed)

  @overload
  def sample(
    self,
    graphs: Graph,
    *,
    samples: int = ...,
    seed: int = ...,
    stretch: bool | None = ...,
    boxes: Any = ...,
    masks: Any = ...,
    latents: Any = ...,
  ) -> GraphSamples: ...

  @overload
  def sample(
    self,
    graphs: Sequence[Graph] | str | pathlib.Path,
    *,
    samples: int = ...,
    seed: int = ...,
    stretch: bool | None = ...,
    boxes: Sequence[Any] | None = ...,
    masks: Sequence[Any] | None = ...,
    latents: Sequence[Any] | None = ...,
  ) -> list[GraphSamples]: ...

  def sample(
    self,
    graphs: Graph | Sequence[Graph] | str | pathlib.Path,
    *,
    samples: int = 4,
    seed: int = 0,
    stretch: bool | None = None,
    boxes: Any = None,
    masks: Any = None,
    latents: Any = None,
  ) -> GraphSamples | list[GraphSamples]:
    """Samples pictures of one graph, or of each of several.

    Args:
      graphs: a graph, a sequence of graphs, JSON text, or the path of a JSON file.
      samples: S, pictures of each graph.
      seed: the same seed gives the same pixels as the command `sample` with this file of graphs.
      stretch: see `pixels.denormalize`; None for what the settings say.
      boxes: [N, 4] x0, y0, x1, y1 in [0, 1], a box for each object, or None for an object whose box
        is predicted; for several graphs a sequence of these, None for a graph of which none is
        given. A token model samples the other objects around those that are given.
      masks: [N, M, M] in [0, 1], a mask for every object, in the frame of its box.
      latents: [N, L], appearances for a token model, from `GraphSamples.latents` or `encode`; None
        for an object whose appearance is sampled.

    Returns:
      The samples of the graph; a list for several graphs, for JSON and for a file.

    Raises:
      UserError: a graph is broken or names what the model does not know, or what is given has
        another shape.
    """
    single = isinstance(graphs, SceneGraph | Mapping)
    parsed, source = _parse(graphs)
    parsed = self.understood(parsed)
    check_graphs(parsed, self.vocabulary, source)
    if latents is not None:
      self._latent_dim()
    pins = {}
    for index in range(len(parsed)):
      of_graph = [_of_graph(values, index, len(parsed), single) for values in (boxes, latents)]
      pins[index] = Pins(
        boxes=_rows(of_graph[0], 4),
        masks=_mask_array(_of_graph(masks, index, len(parsed), single)),
        latents=None if of_graph[1] is None else _rows(of_graph[1], self._latent_dim()),
      )
    found = self.sample_graphs(
      dict(enumerate(parsed)), samples=samples, seed=seed, stretch=stretch, pins=pins
    )
    ordered = sorted(found, key=lambda one: one.index)
    return ordered[0] if single else ordered

  def sample_graphs(
    self,
    graphs: Mapping[int, SceneGraph],
    *,
    samples: int,
    seed: int = 0,
    stretch: bool | None = None,
    batch_size: int | None = None,
    pins: Mapping[int, Pins] | None = None,
  ) -> Iterator[GraphSamples]:
    """Samples any number of graphs, with few of them in memory; see `graphs.sample_graphs`.

    Args:
      graphs: by index, which decides on their noise; `understood`, and their names are known.
      samples: S, pictures of each graph.
      seed: the same seed gives the same pixels.
      stretch: see `pixels.denormalize`; None for what the settings say.
      batch_size: pictures computed at a time; None for 64 a device.
      pins: what is given, by index.
    """
    return sample_graphs(
      self.sampler,
      graphs,
      self.vocabulary,
      samples_per_graph=samples,
      seed=seed,
      stretch=self.settings.sampling.stretch if stretch is None else stretch,
      batch_size=batch_size,
      pins=pins,
    )

  def encode(self, picture: np.ndarray, boxes: Any, masks: Any = None) -> np.ndarray:
    """The appearances of objects in a picture, for `sample(..., latents=...)` of a token model.

    Args:
      picture: uint8[height, width, 3], resized to the model's image size.
      boxes: [N, 4] x0, y0, x1, y1 in [0, 1] of the objects.
      masks: [N, M, M] in [0, 1], each in the frame of its box; None for the whole boxes.

    Returns:
      float32[N, L].

    Raises:
      UserError: this is not a token model, or the arguments have another shape.
    """
    self._latent_dim()
    picture, boxes = np.asarray(picture), np.asarray(boxes, np.float32)
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
      raise UserError(
        f'the picture is {picture.dtype}{list(picture.shape)}, expected uint8[height, width, 3]'
      )
    if boxes.ndim != 2 or boxes.shape[-1] != 4 or not len(boxes):
      raise UserError(f'boxes are {list(boxes.shape)}, expected [N, 4], a box for each object')
    height, width = self.settings.data.image_size
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    num_objects = len(boxes)
    batch = SceneBatch(
      object_class=np.zeros((1, num_objects), np.int32),
      object_mask=np.ones((1, num_objects), bool),
      triples=np.zeros((1, 1, 3), np.int32),
      triple_mask=np.zeros((1, 1), bool),
      boxes=boxes[None],
      masks=None if masks is None else np.asarray(masks, np.float32)[None],
      image=np.asarray(resized)[None],
    )
    return self.encode_batch(batch)[0]

  def edit(
    self,
    picture: np.ndarray,
    scene: PlacedScene | Mapping[str, Any],
    changes: Any,
    *,
    seed: int = 0,
    repaint: Repaint = 'changed',
  ) -> list[EditedScene]:
    """Changes what is in a picture; see `editor.edit`."""
    self._latent_dim()
    return edit(self, picture, scene, changes, seed=seed, repaint=repaint)

  def encode_batch(self, batch: SceneBatch) -> np.ndarray:
    """The appearances float32[B, O, L] of the objects of images uint8, with their boxes."""
    return np.asarray(self._encode(self.variables, batch))

  @functools.cached_property
  def _encode(self) -> Any:
    def encode(variables: Any, batch: SceneBatch) -> jax.Array:
      generator: Any = self.generator
      assert batch.image is not None
      image = pixels.normalize(batch.image)
      return generator.apply(variables, image, batch.replace(image=None), method='encode').mean

    return CachedFunction(encode, closes_over=repr(self.generator), devices=jax.local_devices()[:1])

  def _latent_dim(self) -> int:
    """Of a token model; UserError of another one."""
    if self.settings.tokens is None:
      raise UserError(
        'this model has no appearances of objects (latents): it is not a token model; train one '
        'with a config such as storybook or coco64_tokens'
      )
    return self.settings.tokens.latent_dim


def _parse(graphs: Any) -> tuple[list[SceneGraph], str]:
  """Checked graphs, and what messages call their source."""
  if isinstance(graphs, pathlib.Path) or (isinstance(graphs, str) and _is_path(graphs)):
    return scene_graph.load_scene_graphs(graphs), str(graphs)
  if isinstance(graphs, str):
    return scene_graph.parse_scene_graphs(graphs, 'graphs'), 'graphs'
  several = [graphs] if isinstance(graphs, SceneGraph | Mapping) else list(graphs)
  written = [graph.to_dict() if isinstance(graph, SceneGraph) else graph for graph in several]
  try:
    text = json.dumps(written)
  except (TypeError, ValueError) as error:
    raise UserError(f'graphs: {error}; expected graphs such as {scene_graph.EXAMPLE}') from None
  return scene_graph.parse_scene_graphs(text, 'graphs'), 'graphs'


def _is_path(text: str) -> bool:
  return not text.lstrip().startswith(('{', '['))


def _of_graph(values: Any, index: int, count: int, single: bool) -> Any:
  """What is given of one graph."""
  if values is None or single:
    return values
  if len(values) != count:
    raise UserError(
      f'boxes, masks or latents of {len(values)} graphs, expected of {count}, None for some'
    )
  return values[index]


def _rows(values: Any, width: int) -> np.ndarray | None:
  """Rows of numbers, with nan in those that are None."""
  if values is None:
    return None
  try:
    rows = [np.full(width, np.nan) if row is None else np.asarray(row, float) for row in values]
  except (TypeError, ValueError) as error:
    raise UserError(
      f'boxes or latents are not rows of {width} numbers ({error}); expected a row for each '
      'object, None for one that is not given'
    ) from None
  shapes = {row.shape for row in rows} - {(width,)}
  if shapes:
    raise UserError(
      f'boxes or latents are not rows of {width} numbers, but one is {list(shapes.pop())}; '
      'expected a row for each object, None for one that is not given'
    )
  return np.array(rows, np.float32).reshape(-1, width)


def _mask_array(values: Any) -> np.ndarray | None:
  return None if values is None else np.asarray(values)


load = TrainedModel.load  # as `sg2im_jax.load`

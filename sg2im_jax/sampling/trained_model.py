"""A trained model as Python has it: loaded from a work directory, samples pictures of graphs."""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import jax
import numpy as np

from data_pipelines.scene_graphs import graph as scene_graph
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.sampling.graphs import GraphLayout, GraphSamples, check_graphs, sample_graphs
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints, work_directory

Graph = SceneGraph | Mapping[str, Any]  # as an object, or as the dict that its JSON describes


class TrainedModel:
  """A generator with its weights and the names that it knows.

  Attributes:
    settings: of the training.
    vocabulary: the names of objects and predicates.
    step: training steps of the weights.
    generator: the network.
    variables: its {'params': ..., 'batch_stats': ...}.
  """

  def __init__(
    self, *, settings: Settings, vocabulary: Vocabulary, step: int, variables: Mapping[str, Any]
  ):
    self.settings, self.vocabulary, self.step = settings, vocabulary, step
    self.variables = variables
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
    return cls(
      settings=settings, vocabulary=vocabulary, step=checkpoint.step, variables=checkpoint.tree
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
        settings.losses.bbox_weight == 0
      ),
      'This model was trained without relationships: those of graphs are left out.': (
        settings.data.relations == 'none'
      ),
      'This model predicts no masks: its layouts are boxes.': settings.model.mask_size == 0,
    }
    return [sentence for sentence, is_so in lacking.items() if is_so]

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
  ) -> GraphSamples | list[GraphSamples]:
    """Samples pictures of one graph, or of each of several.

    Args:
      graphs: a graph, a sequence of graphs, JSON text, or the path of a JSON file.
      samples: S, pictures of each graph.
      seed: the same seed gives the same pixels as the command `sample` with this file of graphs.
      stretch: see `pixels.denormalize`; None for what the settings say.
      boxes: [N, 4] x0, y0, x1, y1 in [0, 1], a box for each object, in place of predicted ones; for
        several graphs a sequence of these, None for a graph whose boxes are predicted.
      masks: [N, M, M] in [0, 1], likewise, each in the frame of its box.

    Returns:
      The samples of the graph; a list for several graphs, for JSON and for a file.

    Raises:
      UserError: a graph is broken or names what the model does not know, or boxes or masks have
        another shape.
    """
    single = isinstance(graphs, SceneGraph | Mapping)
    parsed, source = _parse(graphs)
    check_graphs(parsed, self.vocabulary, source)
    layouts = {}
    for index in range(len(parsed)):
      of_graph = [_of_graph(values, index, len(parsed), single) for values in (boxes, masks)]
      layouts[index] = GraphLayout(*of_graph)
    found = self.sample_graphs(
      dict(enumerate(parsed)), samples=samples, seed=seed, stretch=stretch, layouts=layouts
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
    layouts: Mapping[int, GraphLayout] | None = None,
  ) -> Iterator[GraphSamples]:
    """Samples any number of graphs, with few of them in memory; see `graphs.sample_graphs`.

    Args:
      graphs: by index, which decides on their noise; their names are known.
      samples: S, pictures of each graph.
      seed: the same seed gives the same pixels.
      stretch: see `pixels.denormalize`; None for what the settings say.
      batch_size: pictures computed at a time; None for 64 a device.
      layouts: given boxes and masks, by index.
    """
    if self.settings.data.relations == 'none':
      graphs = {index: SceneGraph(graph.objects, ()) for index, graph in graphs.items()}
    return sample_graphs(
      self.sampler,
      graphs,
      self.vocabulary,
      samples_per_graph=samples,
      seed=seed,
      stretch=self.settings.sampling.stretch if stretch is None else stretch,
      batch_size=batch_size,
      layouts=layouts,
    )


def _parse(graphs: Any) -> tuple[list[SceneGraph], str]:
  """Checked graphs, and what messages call their source."""
  if isinstance(graphs, pathlib.Path) or (isinstance(graphs, str) and _is_path(graphs)):
    return scene_graph.load_scene_graphs(graphs), str(graphs)
  if isinstance(graphs, str):
    return scene_graph.parse_scene_graphs(graphs, 'graphs'), 'graphs'
  several = [graphs] if isinstance(graphs, SceneGraph | Mapping) else list(graphs)
  written = [
    {'objects': graph.objects, 'relationships': graph.relationships}
    if isinstance(graph, SceneGraph)
    else graph
    for graph in several
  ]
  try:
    text = json.dumps(written)
  except (TypeError, ValueError) as error:
    raise UserError(f'graphs: {error}; expected graphs such as {scene_graph.EXAMPLE}') from None
  return scene_graph.parse_scene_graphs(text, 'graphs'), 'graphs'


def _is_path(text: str) -> bool:
  return not text.lstrip().startswith(('{', '['))


def _of_graph(values: Any, index: int, count: int, single: bool) -> np.ndarray | None:
  """The boxes or masks of one graph."""
  if values is None:
    return None
  if not single:
    if len(values) != count:
      raise UserError(f'boxes or masks of {len(values)} graphs, expected of {count}, None for some')
    values = values[index]
  return None if values is None else np.asarray(values)


load = TrainedModel.load  # as `sg2im_jax.load`

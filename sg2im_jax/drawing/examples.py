"""Rows of the paper's figure 5: what a model makes of scenes of a data set."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from data_pipelines import preparation
from data_pipelines.pipeline import prepared
from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.graphs import GraphSamples, Pins
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
  """A row of figure 5.

  Attributes:
    scene: of the data set.
    painted: the model's picture of the scene's own layout, with the noise of the first sample.
    samples: of the graph alone.
  """

  scene: PreparedScene
  painted: UInt8[np.ndarray, 'H W 3']
  samples: GraphSamples


def load_scenes(settings: Settings, split: str, num_scenes: int) -> list[PreparedScene]:
  """The first scenes of a split, with the objects and relationships of an evaluation.

  Raises:
    SettingsError: there is no such split, or it is empty.
  """
  builder = preparation.prepare(settings.data)
  visits = prepared.SplitVisits.of_settings(builder, split, settings.data, settings.seed)
  scenes = list(visits.scenes(num_scenes))
  if not scenes:
    raise SettingsError(
      Fault('split', f'is {split!r}, which is empty; choose another'), str(builder.data_dir)
    )
  return scenes


def sample_examples(
  model: TrainedModel,
  scenes: Sequence[PreparedScene],
  *,
  samples: int,
  seed: int,
  use_masks: bool,
) -> list[Example]:
  """A row for each scene; the noise of scene i is that of graph number i.

  Args:
    model: to sample from; its vocabulary has the names of the scenes.
    scenes: of a data set.
    samples: pictures of the graph alone.
    seed: of the noise.
    use_masks: the scene's layout is its boxes and masks, else its boxes with predicted masks; the
      scenes and the model must have masks.
  """
  graphs = {index: scene.graph for index, scene in enumerate(scenes)}
  pins = {
    index: Pins(scene.boxes, scene.masks if use_masks else None)
    for index, scene in enumerate(scenes)
  }
  alone = reporting.with_progress(
    model.sample_graphs(graphs, samples=samples, seed=seed),
    total=len(scenes),
    noun='scenes sampled',
    images_each=samples,
  )
  of_graph = {found.index: found for found in alone}
  painted = {
    found.index: found.pictures[0]
    for found in model.sample_graphs(graphs, samples=1, seed=seed, pins=pins)
  }
  return [Example(scene, painted[index], of_graph[index]) for index, scene in enumerate(scenes)]

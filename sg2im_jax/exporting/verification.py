"""Whether an export makes the pictures that the model makes."""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import UNUSED_NAME
from sg2im_jax.exporting.programs import Arrays, Program, encode_graphs
from sg2im_jax.sampling.trained_model import TrainedModel

MOST_DIFFERENCE = 1  # grey levels of 255
_OBJECTS = 5  # of a graph

Run = Callable[[str, Arrays], dict[str, np.ndarray]]  # program, inputs -> outputs


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Pictures of an export beside those of `TrainedModel.sample`.

  Attributes:
    num_pictures: compared.
    largest_difference: of any pixel, in grey levels of 255.
    equal_share: of pixels that are exactly equal.
  """

  num_pictures: int
  largest_difference: int
  equal_share: float


def compare(model: TrainedModel, programs: Sequence[Program], run: Run, count: int) -> Comparison:
  """Samples graphs with the model and with the export, which is given the graphs alone, and then
  all that the model found besides.

  Args:
    model: that was exported.
    programs: of the export.
    run: runs one of them.
    count: of graphs.

  Raises:
    UserError: pixels differ by more than MOST_DIFFERENCE.
  """
  graphs, by_name = random_graphs(model, count), {program.name: program for program in programs}
  samples = [next(model.sample_graphs({0: one}, samples=1, seed=i)) for i, one in enumerate(graphs)]
  expected = np.concatenate([one.pictures for one in samples]).astype(int)

  def pictures(name: str, given: Mapping[str, Sequence[np.ndarray | None]]) -> np.ndarray:
    arrays = encode_graphs(by_name[name], model.vocabulary, graphs, range(count))
    arrays |= noise(model, by_name[name], *arrays['objects'].shape)
    for key in given.keys() & arrays.keys():
      for row, values in zip(arrays[key], given[key]):
        assert values is not None
        row[: len(values)] = values
    return run(name, arrays)['pictures']

  found = {
    'boxes': [one.boxes[0] for one in samples],
    'masks': [None if one.masks is None else one.masks[0] for one in samples],
    'latents': [None if one.latents is None else one.latents[0] for one in samples],
    'scene_latents': [
      None if one.image_latents is None else one.image_latents[0] for one in samples
    ],
  }
  of_graphs = pictures('sample' if 'sample' in by_name else 'sample_given', {})
  differences = np.abs([of_graphs - expected, pictures('sample_given', found) - expected])
  largest = int(differences.max())
  if largest > MOST_DIFFERENCE:
    raise UserError(
      f'the export draws other pictures than the model: pixels differ by up to {largest} of 255, '
      f'expected at most {MOST_DIFFERENCE}; it is not to be used'
    )
  return Comparison(2 * count, largest, float((differences == 0).mean()))


def noise(
  model: TrainedModel, program: Program, count: int, num_objects: int
) -> dict[str, np.ndarray]:
  """The noise that `TrainedModel.sample` has for the first picture of each of the seeds 0, 1, ...,
  if the program takes any.

  Args:
    model: that was exported.
    program: of sampling.
    count: of seeds.
    num_objects: N.
  """
  names = {port.name for port in program.inputs} & {'pixel_noise', 'token_noise'}
  if not names:
    return {}
  first = np.zeros(1, np.int32)
  found: list[Any] = [
    model.sampler.random_noise(seed, 0, first, num_objects + 1) for seed in range(count)
  ]
  if model.settings.tokens is None:
    return {'pixel_noise': np.concatenate(found)}
  both = {
    'pixel_noise': np.concatenate([one.pixels for one in found]),
    'token_noise': np.concatenate([one.tokens for one in found]),
  }
  return {name: both[name] for name in names}


def random_graphs(model: TrainedModel, count: int) -> list[SceneGraph]:
  """Graphs to try a model with: like those of its training data, if it has counts of them."""
  vocabulary, source = model.vocabulary, random.Random(0)
  names = [name for name in vocabulary.object_names[1:] if name != UNUSED_NAME]
  predicates = [name for name in vocabulary.predicate_names[1:] if name != UNUSED_NAME]
  graphs = []
  for number in range(count):
    first = SceneGraph((source.choice(names),), ())
    if model.statistics is not None and model.statistics.num_scenes:
      graphs.append(model.statistics.complete(first, _OBJECTS - 1, number)[0])
      continue
    objects = (*first.objects, *source.choices(names, k=_OBJECTS - 1))
    related = [
      (place, source.choice(predicates), place + 1) for place in range(_OBJECTS - 1) if predicates
    ]
    graphs.append(SceneGraph(objects, tuple(related)))
  return model.understood(graphs)

"""One scene as arrays of fixed shapes: cropped masks and padded graphs, in NumPy."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary


def crop_mask(
  mask: Bool[np.ndarray, 'H W'], box: Float[np.ndarray, '4'], mask_size: int
) -> UInt8[np.ndarray, 'M M']:
  """The part of a mask that lies in a box, resized to a square.

  The box is rounded to whole pixels and is at least one pixel wide and high; the crop is resampled
  bilinearly without anti-aliasing (pixel centres at halves, zeros outside) and is 1 where that
  exceeds one half (by 1/510: the published code compares 8-bit values with 128).

  Args:
    mask: bool[H, W].
    box: float32[4] x0, y0, x1, y1 in [0, 1].
    mask_size: M.

  Returns:
    uint8[M, M], 0 or 1, in the frame of the box.
  """
  height, width = mask.shape
  x0, y0, x1, y1 = (
    int(edge) for edge in np.round(box * np.array([width, height, width, height], np.float32))
  )
  x0, y0 = min(x0, width - 1), min(y0, height - 1)
  crop = mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
  crop = _resample_rows(_resample_rows(crop, mask_size).T, mask_size).T
  return (crop > 128 / 255).astype(np.uint8)


def _resample_rows(values: np.ndarray, size: int) -> np.ndarray:
  """[H, W] -> float32[size, W]: bilinear, each from the two nearest rows; those outside are zeros.

  Not written as a matrix product: BLAS would start threads of its own in each of the threads that
  prepare images.
  """
  length = len(values)
  positions = (np.arange(size) + 0.5) * length / size - 0.5
  result = np.zeros((size, values.shape[1]), np.float32)
  for offset in (0, 1):
    row = np.floor(positions).astype(int) + offset
    weight = np.where((row >= 0) & (row < length), 1 - np.abs(positions - row), 0).astype(
      np.float32
    )
    result += weight[:, None] * values[row.clip(0, length - 1)]
  return result


def pad_scene_graph(
  graph: SceneGraph,
  vocabulary: Vocabulary,
  max_objects: int,
  max_triples: int,
  where: str,
  *,
  max_attributes: int = 0,
) -> Mapping[str, Shaped[np.ndarray, '...']]:
  """One graph as the arrays of a `SceneBatch` without the batch axis.

  Slot 0 is `__image__`, the graph's objects follow in their order; its relationships come first
  among the triples and one `__in_image__` triple for each object after them. Padding holds zeros.

  Args:
    graph: names of objects and predicates, all of them in the vocabulary.
    vocabulary: from names to ids.
    max_objects: O, with `__image__`.
    max_triples: T, with the `__in_image__` triples.
    where: what error messages begin with, such as "sheep.json: graph 0".
    max_attributes: A, slots of each object, enough for the graph's; 0 leaves attributes out.

  Returns:
    object_class: int32[O].
    object_mask: bool[O].
    triples: int32[T, 3].
    triple_mask: bool[T].
    attributes: int32[O, A], absent if A is 0; see `SceneBatch`.

  Raises:
    SettingsError: the graph needs more slots.
    UserError: a name is not in the vocabulary.
  """
  num_objects = len(graph.objects) + 1
  num_triples = len(graph.relationships) + len(graph.objects)
  faults = []
  if num_objects > max_objects:
    faults.append(
      Fault(
        'data.max_objects',
        f'is {max_objects}, but {len(graph.objects)} objects and __image__ need {num_objects} '
        'object slots; leave objects out',
        str(num_objects),
      )
    )
  if num_triples > max_triples:
    faults.append(
      Fault(
        'data.max_triples',
        f'is {max_triples}, but {len(graph.relationships)} relationships and '
        f'{len(graph.objects)} objects need {num_triples} triple slots; leave relationships out',
        str(num_triples),
      )
    )
  if faults:
    raise SettingsError(faults, where)
  object_class = np.zeros(max_objects, np.int32)
  object_class[1:num_objects] = [
    vocabulary.object_id(name, f'{where}: object {index}')
    for index, name in enumerate(graph.objects)
  ]
  triples = np.zeros((max_triples, 3), np.int32)
  for index, (subject, predicate, object_) in enumerate(graph.relationships):
    predicate_id = vocabulary.predicate_id(predicate, f'{where}: relationship {index}')
    triples[index] = subject + 1, predicate_id, object_ + 1
  triples[len(graph.relationships) : num_triples, 0] = np.arange(1, num_objects)
  arrays = {
    'object_class': object_class,
    'object_mask': np.arange(max_objects) < num_objects,
    'triples': triples,
    'triple_mask': np.arange(max_triples) < num_triples,
  }
  if max_attributes:
    arrays['attributes'] = _pad_attributes(graph, vocabulary, (max_objects, max_attributes), where)
  return arrays


def _pad_attributes(
  graph: SceneGraph, vocabulary: Vocabulary, shape: tuple[int, int], where: str
) -> np.ndarray:
  attributes = np.zeros(shape, np.int32)
  of_slots = [('"scene"', graph.scene)] + [
    (f'object {index}', names) for index, names in enumerate(graph.attributes)
  ]
  for slot, (of_what, names) in enumerate(of_slots):
    ids = [vocabulary.attribute_id(name, f'{where}: {of_what}') for name in names]
    attributes[slot, : len(ids)] = np.array(ids, np.int32) + 1
  return attributes

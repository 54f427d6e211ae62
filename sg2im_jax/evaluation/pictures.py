"""What the metrics are computed from: samples of the graphs of a split, and its real images."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from data_pipelines.settings.data_settings import DataSettings
from sg2im_jax.evaluation import cache, classification
from sg2im_jax.evaluation.backbones import Activations, Backbone
from sg2im_jax.evaluation.classification import Crops
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics import layout_metrics
from sg2im_jax.metrics.layout_metrics import ScoredBoxes
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.graphs import one_ahead
from sg2im_jax.sampling.sampler import SampledBatch
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.scene_batch import SceneBatch

MOST_CROPS = 20_000
SHOWN_GRAPHS = 12  # whose pictures are kept for people to look at


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scenes:
  """Some scenes of a split, always the same ones with the same graphs.

  Attributes:
    builder: of the prepared data set.
    settings: how scenes are visited.
    vocabulary: of the model.
    split: train, val or test.
    numbers: of the G scenes in the split, in ascending order.
    seed: of the random relations.
  """

  builder: tfds.core.DatasetBuilder
  settings: DataSettings
  vocabulary: Vocabulary
  split: str
  numbers: Int[np.ndarray, ' G']
  seed: int

  def __len__(self) -> int:
    return len(self.numbers)

  def batches(self, batch_size: int) -> Iterator[SceneBatch]:
    """All scenes in order; the last batch is filled up with padding."""
    for arrays in input_pipeline.evaluation_batches(
      self.builder,
      self.settings,
      self.vocabulary,
      split=self.split,
      batch_size=batch_size,
      seed=self.seed,
      chosen=self.numbers.tolist(),
    ):
      yield SceneBatch(**arrays)

  def batch_numbers(self, index: int, batch_size: int) -> Int[np.ndarray, ' B']:
    """The numbers in their split of the scenes of a batch, 0 in padding."""
    numbers = np.zeros(batch_size, np.int32)
    here = self.numbers[index * batch_size : (index + 1) * batch_size]
    numbers[: len(here)] = here
    return numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
  """A set of pictures as the metrics see it.

  Attributes:
    activations: of all of them; None without a backbone.
    crops: of their objects, those of the first pictures, at most MOST_CROPS.
    crop_features: of C objects cut out of the first picture of each graph, for SceneFID; None
      without a backbone or without such crops.
    shown: S pictures of each of the first graphs (S is 1 for real ones).
  """

  activations: Activations | None
  crops: Crops
  crop_features: Float[np.ndarray, 'C D'] | None
  shown: UInt8[np.ndarray, 'G S H W 3']


def real_pictures(
  scenes: Scenes, protocol: Protocol, backbone: Backbone, batch_size: int
) -> Pictures:
  """The photographs of the scenes; what the backbone makes of them is cached on disk."""
  path = _cache_path(scenes, protocol, backbone)
  known = cache.read(path)
  gathered = Gathered(backbone if known is None else None, protocol, protocol.scene_crops)
  for batch in reporting.with_progress(
    scenes.batches(batch_size),
    total=-(-len(scenes) // batch_size),
    noun=f'batches of real images of split {scenes.split}',
    images_each=batch_size,
  ):
    assert batch.image is not None and batch.boxes is not None
    gathered.add(np.asarray(batch.image)[:, None], np.asarray(batch.boxes)[:, None], batch)

  pictures = gathered.pictures()
  if known is not None:
    return dataclasses.replace(
      pictures,
      activations=Activations(known['features'], known['probabilities']),
      crop_features=known.get('crop_features'),
    )
  assert pictures.activations is not None
  computed = dataclasses.asdict(pictures.activations)
  if pictures.crop_features is not None:
    computed['crop_features'] = pictures.crop_features
  cache.write(path, computed)
  return pictures


def sampled_pictures(
  model: TrainedModel, scenes: Scenes, protocol: Protocol, backbone: Backbone | None
) -> tuple[Pictures, ScoredBoxes, float | None]:
  """Samples every scene's graph samples_per_graph times.

  Pictures are in the order of the graphs; their noise comes from the seed, the scene's number and
  the sample's. The protocol's stretch is not None.

  Returns:
    The pictures, the predicted layouts of the first samples, and how much an object's boxes in the
    samples of one graph overlap (`layout_metrics.overlap`, the mean over all objects).
  """
  sampler = model.sampler
  batch_size = sampler.batch_size(len(scenes))
  parts = {'boxes': protocol.boxes, 'masks': protocol.masks}
  stretch = protocol.stretch
  assert stretch is not None

  def dispatch() -> Iterator[tuple[SceneBatch, list[SampledBatch]]]:
    for index, batch in enumerate(scenes.batches(batch_size)):
      numbers = scenes.batch_numbers(index, batch_size)
      given = {
        name: np.asarray(batch.object_mask)
        for name, source in parts.items()
        if source == 'ground_truth'
      }
      graphs = batch.replace(image=None, **{name: None for name in parts if name not in given})
      yield (
        batch,
        [
          sampler.sample(
            graphs,
            protocol.seed,
            numbers,
            np.full(batch_size, sample, np.int32),
            stretch=stretch,
            given=given,
          )
          for sample in range(protocol.samples_per_graph)
        ],
      )

  gathered, layouts, overlaps = Gathered(backbone, protocol, protocol.scene_crops), [], []
  for batch, samples in reporting.with_progress(
    one_ahead(dispatch()),
    total=-(-len(scenes) // batch_size),
    noun='batches of graphs sampled',
    images_each=batch_size * protocol.samples_per_graph,
  ):
    predicted = np.stack([np.asarray(one.boxes) for one in samples], 1)
    layouts.append(ScoredBoxes.of_batch(predicted[:, 0], batch, scenes.vocabulary))
    scored = np.array(batch.object_mask)
    scored[:, 0] = False  # __image__
    overlaps.append(layout_metrics.overlap(predicted.swapaxes(1, 2)[scored]))
    pictures = np.stack([np.asarray(one.pictures) for one in samples], 1)
    painted = predicted
    if protocol.boxes == 'ground_truth':
      painted = np.repeat(np.asarray(batch.boxes)[:, None], len(samples), 1)
    gathered.add(pictures, painted, batch)
  overlap = np.concatenate(overlaps)
  return (
    gathered.pictures(),
    ScoredBoxes.concatenate(layouts),
    float(overlap.mean()) if overlap.size else None,
  )


class Gathered:
  """Collects from batches of pictures what `Pictures` has."""

  def __init__(self, backbone: Backbone | None, protocol: Protocol, scene_crops: int = 0):
    """Nothing has been collected yet.

    Args:
      backbone: None to leave out activations and features.
      protocol: with the size of pictures and the seed.
      scene_crops: objects of each graph to cut out for SceneFID, or as many as there are.
    """
    self._backbone, self._protocol, self._scene_crops = backbone, protocol, scene_crops
    self._random = np.random.default_rng(protocol.seed)
    self._activations, self._pixels, self._classes, self._shown = [], [], [], []
    self._crop_features = []

  def add(
    self,
    pictures: UInt8[np.ndarray, 'B S H W 3'],
    boxes: Float[np.ndarray, 'B S O 4'],
    batch: SceneBatch,
  ):
    """Takes the pictures of a batch without the rows that are padding."""
    if self._backbone is not None and self._scene_crops:
      self._crop_features.extend(self._features_of_objects(pictures[:, 0], boxes[:, 0], batch))
    real = np.asarray(batch.example_mask)
    pictures, boxes = pictures[real], boxes[real]
    self._shown.extend(pictures[: SHOWN_GRAPHS - len(self._shown)])
    if self._backbone is not None:
      flat = pictures.reshape(-1, *pictures.shape[2:])
      self._activations.append(self._backbone(resized(flat, self._protocol.image_size)))
    if sum(map(len, self._classes)) < MOST_CROPS:
      scored = np.array(batch.object_mask)[real]
      scored[:, 0] = False  # __image__
      for sample in range(pictures.shape[1]):
        self._pixels.append(
          np.asarray(classification.cut(pictures[:, sample], boxes[:, sample]))[scored]
        )
        self._classes.append(np.asarray(batch.object_class)[real][scored])

  def _features_of_objects(
    self,
    pictures: UInt8[np.ndarray, 'B H W 3'],
    boxes: Float[np.ndarray, 'B O 4'],
    batch: SceneBatch,
  ) -> Iterator[Float[np.ndarray, '_ D']]:
    """Of some objects of each picture, the same ones in every set of the same scenes."""
    assert self._backbone is not None
    scored = np.asarray(batch.object_mask) & np.asarray(batch.example_mask)[:, None]
    scored[:, 0] = False  # __image__
    chosen = some_slots(scored, self._scene_crops, self._random)
    pictures, rows = resized(pictures, self._protocol.image_size), np.arange(len(pictures))
    for slots in chosen.T:  # one at a time: crops are much larger than pictures
      crops = classification.cut(pictures, boxes[rows, slots][:, None], self._backbone.input_size)
      crops = np.asarray(crops)[:, 0][slots >= 0]
      if len(crops):
        yield self._backbone(crops).features

  def pictures(self) -> Pictures:
    """All that has been added."""
    activations = None
    if self._activations:
      activations = Activations(
        *(
          np.concatenate([getattr(part, name) for part in self._activations])
          for name in ('features', 'probabilities')
        )
      )
    crops = Crops(
      np.concatenate(self._pixels)[:MOST_CROPS], np.concatenate(self._classes)[:MOST_CROPS]
    )
    crop_features = np.concatenate(self._crop_features) if self._crop_features else None
    return Pictures(activations, crops, crop_features, np.stack(self._shown))


def some_slots(
  scored: Bool[np.ndarray, 'B O'], count: int, random: np.random.Generator
) -> Int[np.ndarray, 'B {count}']:
  """Slots of `count` of the objects of each row at random, -1 where it has fewer."""
  chosen = np.full((len(scored), count), -1)
  for row, slots in zip(chosen, scored):
    some = random.permutation(np.flatnonzero(slots))[:count]
    row[: len(some)] = some
  return chosen


def resized(
  pictures: UInt8[np.ndarray, 'N _ _ 3'], size: tuple[int, int] | None
) -> UInt8[np.ndarray, 'N _ _ 3']:
  """The pictures resized to this height and width by Pillow's bicubic filter, unless it is None."""
  if size is None or pictures.shape[1:3] == tuple(size):
    return pictures
  height, width = size
  return np.stack(
    [
      np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
      for picture in pictures
    ]
  )


def _cache_path(scenes: Scenes, protocol: Protocol, backbone: Backbone) -> pathlib.Path:
  """The file of the cache for these records, scenes, sizes, crops and weights."""
  paths = map(pathlib.Path, input_pipeline.split_files(scenes.builder, scenes.split))
  return cache.path_of(
    'real_images',
    [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths],
    scenes.numbers.tolist(),
    list(protocol.image_size or scenes.settings.image_size),
    [protocol.scene_crops, protocol.seed, scenes.settings.max_objects],
    [backbone.name, backbone.sha256],
  )

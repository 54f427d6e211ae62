"""What the metrics are computed from: pictures that a model draws of the graphs of a split, and
real ones.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.evaluation import classification
from sg2im_jax.evaluation.backbones import Activations, Backbone
from sg2im_jax.evaluation.classification import Crops
from sg2im_jax.evaluation.layout_metrics import ScoredBoxes
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.runtime import atomic_files, command_line, compilation, hosts
from sg2im_jax.sampling.sampler import DrawnBatch, Sampler, one_ahead
from sg2im_jax.scene_batch import SceneBatch

MOST_CROPS = 20_000
SHOWN_GRAPHS = 12  # whose pictures are kept for people to look at


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
  """Some scenes of a split, always the same ones with the same graphs.

  Attributes:
    builder: of the prepared data set.
    config: of the model.
    vocabulary: of the model.
    split: train, val or test.
    numbers: of the scenes in the split, in ascending order.
    seed: of the relations that are drawn.
  """

  builder: tfds.core.DatasetBuilder
  config: ConfigDict
  vocabulary: Vocabulary
  split: str
  numbers: np.ndarray
  seed: int

  def __len__(self) -> int:
    return len(self.numbers)

  def batches(self, batch_size: int) -> Iterator[SceneBatch]:
    """Of all scenes, in order; the last one is filled up with padding."""
    for arrays in input_pipeline.evaluation_batches(
      self.builder,
      self.config.data,
      self.vocabulary,
      split=self.split,
      batch_size=batch_size,
      seed=self.seed,
      chosen=self.numbers,
    ):
      yield SceneBatch(**arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
  """A set of pictures as the metrics see it.

  Attributes:
    activations: of all of them; None without a backbone.
    crops: of their objects, those of the first pictures, at most MOST_CROPS.
    shown: uint8[G, S, H, W, 3], S pictures of each of the first graphs (S is 1 for real ones).
  """

  activations: Activations | None
  crops: Crops
  shown: np.ndarray


def real_pictures(
  scenes: Scenes, protocol: Protocol, backbone: Backbone, batch_size: int
) -> Pictures:
  """The photographs of the scenes. What the backbone makes of them is kept on the disk for the next
  time.
  """
  path = _cache_path(scenes, protocol, backbone)
  known = _read_activations(path)
  gathered = _Gathered(backbone if known is None else None, protocol)
  for batch in command_line.announced(
    scenes.batches(batch_size),
    -(-len(scenes) // batch_size),
    f'batches of real images of split {scenes.split}',
    batch_size,
  ):
    gathered.add(batch.image[:, None], batch.boxes, batch)
  pictures = gathered.pictures()
  if known is not None:
    return dataclasses.replace(pictures, activations=known)
  _write_activations(path, pictures.activations)
  return pictures


def drawn_pictures(
  sampler: Sampler, scenes: Scenes, protocol: Protocol, backbone: Backbone | None
) -> tuple[Pictures, ScoredBoxes]:
  """Draws every scene's graph samples_per_graph times, and gives the layouts that the model
  predicts.

  Pictures are in the order of the graphs; their noise comes from the seed, the scene's number and
  the sample's.
  """
  batch_size = sampler.batch_size(len(scenes))
  use_boxes, use_masks = protocol.boxes == 'ground_truth', protocol.masks == 'ground_truth'

  def dispatch() -> Iterator[tuple[SceneBatch, list[DrawnBatch]]]:
    for index, batch in enumerate(scenes.batches(batch_size)):
      numbers = np.zeros(batch_size, np.int32)
      here = scenes.numbers[index * batch_size : (index + 1) * batch_size]
      numbers[: len(here)] = here
      layout = batch.replace(
        image=None,
        boxes=batch.boxes if use_boxes else None,
        masks=batch.masks if use_masks else None,
      )
      yield (
        batch,
        [
          sampler.draw(
            layout,
            protocol.seed,
            numbers,
            np.full(batch_size, sample, np.int32),
            stretch=protocol.stretch,
            use_boxes=use_boxes,
            use_masks=use_masks,
          )
          for sample in range(protocol.samples_per_graph)
        ],
      )

  gathered, layouts = _Gathered(backbone, protocol), []
  for batch, drawn in command_line.announced(
    one_ahead(dispatch()),
    -(-len(scenes) // batch_size),
    'batches of graphs drawn',
    batch_size * protocol.samples_per_graph,
  ):
    boxes = np.asarray(drawn[0].boxes)
    layouts.append(ScoredBoxes.of_batch(boxes, batch, scenes.vocabulary))
    gathered.add(
      np.stack([np.asarray(one.pictures) for one in drawn], 1),
      batch.boxes if use_boxes else boxes,
      batch,
    )
  return gathered.pictures(), ScoredBoxes.concatenate(layouts)


class _Gathered:
  """What is kept of pictures that come batch by batch."""

  def __init__(self, backbone: Backbone | None, protocol: Protocol):
    self._backbone, self._protocol = backbone, protocol
    self._activations, self._pixels, self._classes, self._shown = [], [], [], []

  def add(self, pictures: np.ndarray, boxes: np.ndarray, batch: SceneBatch):
    """Takes uint8[B, S, H, W, 3] and float32[B, O, 4]; rows that are padding are left out."""
    real = np.asarray(batch.example_mask)
    pictures, boxes = pictures[real], boxes[real]
    self._shown.extend(pictures[: SHOWN_GRAPHS - len(self._shown)])
    if self._backbone is not None:
      flat = pictures.reshape(-1, *pictures.shape[2:])
      self._activations.append(self._backbone(resized(flat, self._protocol.image_size)))
    if sum(map(len, self._classes)) < MOST_CROPS:
      scored = batch.object_mask[real].copy()
      scored[:, 0] = False  # __image__
      for sample in range(pictures.shape[1]):
        self._pixels.append(np.asarray(classification.cut(pictures[:, sample], boxes))[scored])
        self._classes.append(batch.object_class[real][scored])

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
    return Pictures(activations, crops, np.stack(self._shown))


def resized(pictures: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
  """uint8[N, H, W, 3] at another height and width, by Pillow's bicubic filter; None leaves them as
  they are.
  """
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
  """Another file for other records, scenes, sizes or weights."""
  paths = [pathlib.Path(str(path)) for path in scenes.builder.info.splits[scenes.split].filepaths]
  records = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
  size = protocol.image_size or scenes.config.data.image_size
  key = json.dumps([records, scenes.numbers.tolist(), list(size), backbone.name, backbone.sha256])
  return (
    compilation.cache_directory()
    / 'real_images'
    / f'{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz'
  )


def _read_activations(path: pathlib.Path) -> Activations | None:
  try:
    with np.load(path) as arrays:
      return Activations(arrays['features'], arrays['probabilities'])
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or not whole
    return None


def _write_activations(path: pathlib.Path, activations: Activations):
  content = io.BytesIO()
  np.savez(content, **dataclasses.asdict(activations))
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, content.getvalue())
  except OSError as error:
    hosts.say(
      f'{path}: cannot be written ({error.strerror}); the next evaluation computes it again'
    )

"""How fast batches come: the prepared form, and a plain PyTorch DataLoader that decodes the
original files.

  python -m benchmarks.input_pipeline --source_dir=datasets/coco --data_dir=datasets/prepared

Both read COCO-Stuff with the filters of configs/coco64.py and make the same padded batches of
images, boxes, masks and freshly drawn relations. The DataLoader has 2 worker processes, each of
which decodes a photograph, resizes it and draws its masks at every visit, as the published code
does. The two take turns in one process, round after round; the table shows medians over the rounds.
`cold` is a first epoch whose records the page cache does not hold, the start of the pipeline
included, which is most of it where there are few.
"""

import itertools
import os
import pathlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from absl import app, flags
from ml_collections import ConfigDict

from data_pipelines import preparation
from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.configs import coco64
from data_pipelines.pipeline import input_pipeline
from data_pipelines.pipeline.images import read_image
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.geometry import geometric_predicate, mask_centres

BATCH_SIZE = 32
NUM_WORKERS = 2
PREPARED_BATCHES, ORIGINAL_BATCHES = (
  40,
  4,
)  # of a round; the slower takes longer for few than the faster for many
ROUNDS = 5


class Photographs(torch.utils.data.Dataset):
  """COCO-Stuff as a careful PyTorch user reads it: annotations in memory, all else from the files
  at each visit.
  """

  def __init__(self, data: ConfigDict, images: list[coco_annotations.AnnotatedImage]):
    self._data, self._images = data, images

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
    data, image = self._data, self._images[index]
    source = Source(data.source_dir)
    path = source.find(f'train2017/{image.file_name}', f'images/train2017/{image.file_name}')
    with source.open(path) as file:
      pixels = read_image(file, data.image_size)
    count = len(image.objects)
    boxes = np.zeros((data.max_objects, 4), np.float32)
    boxes[:count] = [object_.box for object_ in image.objects]
    masks = np.zeros((data.max_objects, data.mask_size, data.mask_size), np.uint8)
    masks[:count] = [
      encoding.crop_mask(image.mask(object_), object_.box, data.mask_size)
      for object_ in image.objects
    ]
    classes = np.zeros(data.max_objects, np.int64)
    classes[:count] = [object_.category_id for object_ in image.objects]
    triples = np.zeros((data.max_triples, 3), np.int64)
    subjects = np.arange(count)
    others = (subjects + np.random.randint(1, count, count)) % count
    centres = mask_centres(boxes, masks)
    predicates = geometric_predicate(
      boxes[subjects], boxes[others], centres[subjects], centres[others]
    )
    triples[:count] = np.stack([subjects, predicates + 1, others], 1)
    arrays = {
      'image': pixels.copy(),
      'boxes': boxes,
      'masks': masks,
      'object_class': classes,
      'triples': triples,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()} | {
      'num_objects': torch.tensor(count)
    }


def read_originals(data: ConfigDict) -> Iterator[dict[str, torch.Tensor]]:
  """Endless batches of the DataLoader, whose workers live on from epoch to epoch."""
  source, options = Source(data.source_dir), data.options
  filters = coco_annotations.Filters(
    **{name: options[name] for name in coco_annotations.Filters.__dataclass_fields__}
  )
  annotations = coco_annotations.read(
    source,
    'annotations/instances_train2017.json',
    'annotations/stuff_train2017.json',
    filters,
    None,
  )
  loader = torch.utils.data.DataLoader(
    Photographs(data, annotations.images),
    BATCH_SIZE,
    shuffle=True,
    num_workers=NUM_WORKERS,
    drop_last=True,
    persistent_workers=True,
    prefetch_factor=2,
    multiprocessing_context='spawn',
  )  # TensorFlow does not survive a fork
  while True:
    yield from loader


def read_prepared(builder, data: ConfigDict) -> Iterator[dict[str, np.ndarray]]:
  return input_pipeline.training_batches(
    builder,
    data,
    input_pipeline.stored_vocabulary(builder),
    batch_size=BATCH_SIZE,
    seed=0,
    first_step=0,
  )


def images_per_second(batches: Iterator, count: int) -> float:
  start = time.perf_counter()
  for batch in itertools.islice(batches, count):
    assert len(batch['image']) == BATCH_SIZE
  return count * BATCH_SIZE / (time.perf_counter() - start)


def cold_images_per_second(builder, data: ConfigDict) -> float:
  """Over one epoch of a new pipeline, its start included, with the records thrown out of the page
  cache before.
  """
  for path in pathlib.Path(builder.data_dir).glob('*.tfrecord*'):
    with path.open('rb') as file:
      os.fsync(file.fileno())
      os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
  start = time.perf_counter()
  count = max(input_pipeline.num_examples(builder, 'train') // BATCH_SIZE, 1)
  for _ in itertools.islice(read_prepared(builder, data), count):
    pass
  return count * BATCH_SIZE / (time.perf_counter() - start)


def in_turns(readers: dict[str, tuple[Iterator, int]]) -> dict[str, float]:
  """The median images/s of each reader, all of them measured in each round."""
  for batches, count in readers.values():
    images_per_second(batches, count)  # starts workers, threads and caches
  rounds = [
    {name: images_per_second(*reader) for name, reader in readers.items()} for _ in range(ROUNDS)
  ]
  return {name: statistics.median(figures[name] for figures in rounds) for name in readers}


def main(_):
  print(
    f'{"pixels":>6}  {"prepared, cold":>14}  {"prepared":>9}  {"original files":>14}  {"ratio":>6} '
    '  (images/s)'
  )
  for size in map(int, flags.FLAGS.image_sizes):
    data = coco64.get_config().data
    data.source_dir, data.data_dir, data.image_size = (
      flags.FLAGS.source_dir,
      flags.FLAGS.data_dir,
      (size, size),
    )
    builder = preparation.prepare(data)
    cold = cold_images_per_second(builder, data)
    medians = in_turns(
      {
        'prepared': (read_prepared(builder, data), PREPARED_BATCHES),
        'original': (read_originals(data), ORIGINAL_BATCHES),
      }
    )
    print(
      f'{size:6}  {cold:14.0f}  {medians["prepared"]:9.0f}  {medians["original"]:14.0f}  '
      f'{medians["prepared"] / medians["original"]:6.1f}',
      flush=True,
    )


if __name__ == '__main__':
  flags.DEFINE_string('source_dir', 'datasets/coco', 'Where COCO lies, see README.md.')
  flags.DEFINE_string(
    'data_dir', 'datasets/prepared', 'Where prepared records are, or are written now.'
  )
  flags.DEFINE_list('image_sizes', ['64', '128', '256'], 'Sides of the pictures in pixels.')
  app.run(main)

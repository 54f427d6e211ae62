"""Speed of input: prepared records, and a PyTorch DataLoader that decodes the original files.

  python -m benchmarks.input_pipeline --source_dir=datasets/coco --data_dir=datasets/prepared

Both read COCO-Stuff with the filters of configs/coco64.py and yield the same padded batches of
images, boxes, masks and random relations. The DataLoader has 2 worker processes, which decode and
resize each photograph and rasterise its masks at every visit, as the published code does. Both are
measured in turns in one process; the table shows medians over the rounds. `cold` is a first epoch
with an empty page cache, including the start of the pipeline, which dominates if there are few
records.
"""

import itertools
import os
import pathlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import torch
from pydantic import Field

from benchmarks.tables import Table
from data_pipelines import command_line, data_sets, preparation
from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco.options import CocoOptions
from data_pipelines.configs import coco64
from data_pipelines.pipeline import input_pipeline
from data_pipelines.pipeline.images import read_image
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.geometry import geometric_predicate, mask_centres
from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.settings.section import Section

TABLE = Table(
  (
    ('pixels', 6),
    ('prepared, cold', 14),
    ('prepared', 9),
    ('original files', 14),
    ('ratio', 6),
    ('  (images/s)', 12),
  )
)
BATCH_SIZE = 32
NUM_WORKERS = 2
PREPARED_BATCHES, ORIGINAL_BATCHES = 40, 4  # of a round
ROUNDS = 5


class InputPipelineOptions(Section):
  """The flags of the command."""

  source_dir: str = Field('datasets/coco', description='Directory of COCO, see README.md.')
  data_dir: str = Field(
    'datasets/prepared', description='Directory of the prepared records, which are made if missing.'
  )
  image_sizes: tuple[int, ...] = Field((64, 128, 256), description='Sides of the images in pixels.')


class Photographs(torch.utils.data.Dataset):
  """COCO-Stuff as a PyTorch data set: annotations in memory, images read at each visit."""

  def __init__(self, data: DataSettings, images: list[coco_annotations.AnnotatedImage]):
    """Takes the annotations.

    Args:
      data: settings of COCO-Stuff.
      images: of split `train`.
    """
    self._data, self._images = data, images

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
    data, image = self._data, self._images[index]
    mask_size = data.required_mask_size()
    source = Source(data.source_dir)
    path = source.find(f'train2017/{image.file_name}', f'images/train2017/{image.file_name}')
    if path is None:
      raise UserError(f'{data.source_dir}: train2017/{image.file_name} is missing; download it')
    with source.open(path) as file:
      pixels = read_image(file, data.image_size)

    count = len(image.objects)
    boxes = np.zeros((data.max_objects, 4), np.float32)
    boxes[:count] = [object_.box for object_ in image.objects]
    masks = np.zeros((data.max_objects, mask_size, mask_size), np.uint8)
    masks[:count] = [
      encoding.crop_mask(image.mask(object_), object_.box, mask_size) for object_ in image.objects
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
      'num_objects': np.array(count),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def read_annotations(data: DataSettings) -> list[coco_annotations.AnnotatedImage]:
  """The images of train2017 that pass the filters, with their annotations."""
  options = data.options
  assert isinstance(options, CocoOptions)
  annotations = coco_annotations.read(
    Source(data.source_dir),
    'annotations/instances_train2017.json',
    'annotations/stuff_train2017.json',
    options,
    None,
  )
  return annotations.images


def read_originals(data: DataSettings) -> Iterator[dict[str, torch.Tensor]]:
  """Endless batches of the DataLoader, which keeps its workers from epoch to epoch."""
  loader = torch.utils.data.DataLoader(
    Photographs(data, read_annotations(data)),
    BATCH_SIZE,
    shuffle=True,
    num_workers=NUM_WORKERS,
    drop_last=True,
    persistent_workers=True,
    prefetch_factor=2,
    multiprocessing_context='spawn',  # TensorFlow does not survive a fork
  )
  while True:
    yield from loader


def read_prepared(
  builder: tfds.core.DatasetBuilder, data: DataSettings
) -> Iterator[dict[str, np.ndarray]]:
  """Endless batches of the prepared records."""
  return input_pipeline.training_batches(
    builder,
    data,
    input_pipeline.stored_vocabulary(builder),
    batch_size=BATCH_SIZE,
    seed=0,
    first_step=0,
  )


def images_per_second(batches: Iterator, count: int) -> float:
  """Speed over the next `count` batches."""
  start = time.perf_counter()
  for batch in itertools.islice(batches, count):
    assert len(batch['image']) == BATCH_SIZE
  return count * BATCH_SIZE / (time.perf_counter() - start)


def cold_images_per_second(builder: tfds.core.DatasetBuilder, data: DataSettings) -> float:
  """Speed over one epoch of a new pipeline, its start included, without records in the page cache.

  Args:
    builder: of the prepared records.
    data: settings of their visits.
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
  """Median images/s of each reader over the rounds.

  Args:
    readers: by name, batches and how many of them are read in a round.
  """
  for batches, count in readers.values():
    images_per_second(batches, count)  # starts workers, threads and caches
  rounds = [
    {name: images_per_second(*reader) for name, reader in readers.items()} for _ in range(ROUNDS)
  ]
  return {name: statistics.median(figures[name] for figures in rounds) for name in readers}


def measure(options: InputPipelineOptions):
  values = coco64.get_config().to_dict()['data']
  coco = DataSettings.from_values(values, 'data', data_sets.OPTIONS)
  print(TABLE.header())
  for size in options.image_sizes:
    data = coco.replace(
      source_dir=options.source_dir, data_dir=options.data_dir, image_size=(size, size)
    )
    builder = preparation.prepare(data)
    cold = cold_images_per_second(builder, data)
    medians = in_turns(
      {
        'prepared': (read_prepared(builder, data), PREPARED_BATCHES),
        'original': (read_originals(data), ORIGINAL_BATCHES),
      }
    )
    ratio = medians['prepared'] / medians['original']
    speeds = [f'{speed:.0f}' for speed in (cold, medians['prepared'], medians['original'])]
    print(TABLE.row([str(size), *speeds, f'{ratio:.1f}']), flush=True)


def main():
  command_line.run(InputPipelineOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

"""A small data set in COCO's own formats, drawn here and prepared once for all tests."""

import json
import pathlib
import zipfile

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from data_pipelines import preparation
from data_pipelines.configs import coco64
from data_pipelines.settings.data_settings import DataSettings
from tests.data_pipelines.settings import data_settings

WIDTH, HEIGHT = 60, 40
IMAGE_SIZE = (24, 32)
MASK_SIZE = 8
CATEGORIES = [{'id': 1, 'name': 'person'}, {'id': 3, 'name': 'car'}]
STUFF_CATEGORIES = [{'id': 5, 'name': 'sky'}, {'id': 6, 'name': 'other'}]
MISSING_IMAGE, TRUNCATED_IMAGE = 3, 5


def rectangle_segmentation(kind: int, left: int, top: int, width: int, height: int) -> list | dict:
  """The same rectangle in each of COCO's three formats."""
  if kind == 0:
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]
  mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
  mask[top : top + height, left : left + width] = 1
  if kind == 1:
    starts = np.flatnonzero(np.diff(mask.ravel(order='F'), prepend=0, append=0))
    return {
      'size': [HEIGHT, WIDTH],
      'counts': np.diff(starts, prepend=0, append=mask.size).tolist(),
    }
  runs = coco_mask.encode(mask)
  return {'size': [HEIGHT, WIDTH], 'counts': runs['counts'].decode()}


def write_coco_files(root: pathlib.Path, num_train: int = 14, num_val: int = 6):
  """Images with two or three things and one piece of stuff in the format of COCO 2017."""
  rng = np.random.default_rng(0)
  (root / 'annotations').mkdir(parents=True)
  for part, num_images in (('train2017', num_train), ('val2017', num_val)):
    image_dir = root / 'images' / part
    image_dir.mkdir(parents=True)
    images, instances, stuff = [], [], []
    for image_id in range(1, num_images + 1):
      file_name = f'{image_id:012d}.jpg'
      images.append({'id': image_id, 'file_name': file_name, 'width': WIDTH, 'height': HEIGHT})
      for number in range(2 + image_id % 2):
        left, top, width, height = (
          int(value) for value in rng.integers((0, 0, 12, 10), (40, 24, 20, 16))
        )
        instances.append(
          {
            'image_id': image_id,
            'category_id': 1 + 2 * (number % 2),
            'bbox': [left, top, width, height],
            'iscrowd': 0,
            'segmentation': rectangle_segmentation(number, left, top, width, height),
          }
        )
      # Too small, and of the class that is dropped.
      instances.append(
        {
          'image_id': image_id,
          'category_id': 1,
          'bbox': [1, 1, 4, 4],
          'segmentation': rectangle_segmentation(0, 1, 1, 4, 4),
        }
      )
      for category in STUFF_CATEGORIES:
        stuff.append(
          {
            'image_id': image_id,
            'category_id': category['id'],
            'bbox': [0, 0, WIDTH, 20],
            'segmentation': rectangle_segmentation(2, 0, 0, WIDTH, 20),
          }
        )
      pixels = (
        rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
      )
      path = image_dir / file_name
      if part == 'val2017' or image_id != MISSING_IMAGE:
        PIL.Image.fromarray(pixels).save(path)
      if part == 'train2017' and image_id == TRUNCATED_IMAGE:
        path.write_bytes(path.read_bytes()[:400])
    for kind, annotations, categories in (
      ('instances', instances, CATEGORIES),
      ('stuff', stuff, STUFF_CATEGORIES),
    ):
      document = {'images': images, 'categories': categories, 'annotations': annotations}
      (root / 'annotations' / f'{kind}_{part}.json').write_text(json.dumps(document))


def zip_files(root: pathlib.Path, target: pathlib.Path, archives: dict[str, tuple[str, str]]):
  """Archives at `target`: by their name, which files under `root` (a pattern) go into which folder
  of it.
  """
  target.mkdir(parents=True, exist_ok=True)
  for name, (pattern, folder) in archives.items():
    with zipfile.ZipFile(target / name, 'w', zipfile.ZIP_DEFLATED) as archive:
      for path in sorted(root.glob(pattern)):
        archive.write(path, f'{folder}/{path.name}')


def make_settings(source_dir: pathlib.Path, data_dir: pathlib.Path) -> DataSettings:
  return data_settings(
    coco64.get_config(),
    source_dir=str(source_dir),
    data_dir=str(data_dir),
    image_size=IMAGE_SIZE,
    mask_size=MASK_SIZE,
    max_objects=6,
    max_triples=10,
    options={'num_val': 4},
  )


@pytest.fixture(scope='session')
def coco_root(tmp_path_factory):
  root = tmp_path_factory.mktemp('coco')
  write_coco_files(root / 'source')
  preparation.prepare(make_settings(root / 'source', root / 'prepared'))
  return root


@pytest.fixture
def settings(coco_root):
  return make_settings(coco_root / 'source', coco_root / 'prepared')


@pytest.fixture
def builder(settings):
  return preparation.prepare(settings)

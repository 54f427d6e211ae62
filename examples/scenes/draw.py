"""Draws this example: ten pictures of the storybook, described in scenes.jsonl as one describes
one's own.

python examples/scenes/draw.py
"""

import json
import pathlib

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from data_pipelines.storybook.scenes import draw_scene

FOLDER = pathlib.Path(__file__).parent
SPLITS = ['train'] * 7 + ['val'] * 2 + ['test']
SEED, SIZE = 4, 96  # of the storybook; pixels
LARGE = 0.25  # share of the picture from which on a box is called large


def image_file(mask: np.ndarray, stem: str) -> str:
  """The mask as a picture in black and white."""
  path = FOLDER / 'masks' / f'{stem}.png'
  path.parent.mkdir(exist_ok=True)
  Image.fromarray(mask).save(path)
  return str(path.relative_to(FOLDER))


def polygons(mask: np.ndarray, stem: str) -> list[list[int]]:
  """About the outline: down the left edge of every fourth row, and up the right edge."""
  rows = np.flatnonzero(mask.any(axis=1))
  rows = [*rows[:-1:4], rows[-1]]
  left = [(int(mask[row].argmax()), int(row)) for row in rows]
  right = [(SIZE - int(mask[row, ::-1].argmax()), int(row) + 1) for row in rows]
  return [[number for point in left + right[::-1] for number in point]]


def run_lengths(mask: np.ndarray, stem: str) -> dict:
  """COCO's uncompressed run lengths."""
  starts = np.flatnonzero(np.diff(mask.ravel(order='F').astype(int), prepend=0, append=0))
  return {'size': [SIZE, SIZE], 'counts': np.diff(starts, prepend=0, append=mask.size).tolist()}


def compressed(mask: np.ndarray, stem: str) -> dict:
  """COCO's compressed run lengths."""
  counts = coco_mask.encode(np.asfortranarray(mask, np.uint8))['counts']
  return {'size': [SIZE, SIZE], 'counts': counts.decode()}


def describe(index: int) -> dict:
  """Draws a picture and its mask files; what its line says."""
  scene = draw_scene(SEED, index, SIZE)
  path = FOLDER / 'images' / f'{index}.jpg'
  path.parent.mkdir(exist_ok=True)
  Image.fromarray(scene.image).save(path, quality=85)
  objects = []
  for number, (name, box, mask) in enumerate(
    zip(scene.names, scene.boxes, scene.masks, strict=True)
  ):
    entry = {'name': name, 'box': (box * SIZE).round().astype(int).tolist()}
    # A way after the other, and no mask for every fifth object.
    as_json = (image_file, polygons, run_lengths, compressed, None)[(index + number) % 5]
    if as_json is not None:
      entry['mask'] = as_json(mask, f'{index}-{number}')
    if np.prod(box[2:] - box[:2]) > LARGE:
      entry['attributes'] = ['large']
    objects.append(entry)
  return {
    'file': f'images/{index}.jpg',
    'split': SPLITS[index],
    'objects': objects,
    'relationships': [list(relation) for relation in scene.relations],
  }


if __name__ == '__main__':
  lines = [json.dumps(describe(index)) + '\n' for index in range(len(SPLITS))]
  (FOLDER / 'scenes.jsonl').write_text(''.join(lines), encoding='utf-8')

"""Masks as data sets store them: polygons and COCO's run lengths, checked before they are used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from data_pipelines.pipeline.annotation_files import is_number
from data_pipelines.scene_graphs.graph import describe

_MOST_CHARACTERS = 7  # of one compressed run length; a picture has less than 2^31 pixels


class MaskFault(ValueError):
  """What is wrong with a mask, to follow its name in a sentence: found, expected."""


def polygon_mask(polygons: Sequence[Any], width: int, height: int) -> np.ndarray:
  """bool[height, width]: inside of any of the polygons.

  Args:
    polygons: each x, y, x, y, ... in pixels, of at least three corners; what is out of the picture
      is cut off.
    width, height: of the picture, in pixels.

  Raises:
    MaskFault: a polygon is something else, or farther out of the picture than its sides.
  """
  flat = []
  for polygon in polygons:
    corners = polygon.tolist() if isinstance(polygon, np.ndarray) else polygon
    if (
      not isinstance(corners, list)
      or len(corners) < 6
      or len(corners) % 2
      or not all(map(is_number, corners))
    ):
      raise MaskFault(
        f'has the polygon {describe(corners)}; expected [x, y, x, y, ...] of at least three corners'
      )
    side = max(width, height)
    if min(corners) < -side or max(corners) > 2 * side:  # pycocotools walks along every edge
      raise MaskFault(
        f'has the polygon {describe(corners)}, far out of the image of {width}x{height} pixels'
      )
    flat.append(corners)
  return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width))).astype(bool)


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
  """COCO's run lengths, as `run_length_mask` reads them, of bool[height, width]."""
  runs: Any = coco_mask.encode(np.asfortranarray(mask, np.uint8))
  return {'size': list(mask.shape), 'counts': runs['counts'].decode()}


def run_length_mask(runs: Any, width: int, height: int) -> np.ndarray:
  """bool[height, width] of COCO's run lengths.

  Decoded here, as pycocotools returns uninitialised memory where the runs are too short.

  Args:
    runs: {"size": [height, width], "counts": lengths, or COCO's text}.
    width, height: of the picture, in pixels.

  Raises:
    MaskFault: it is something else, of another size, or does not fill the picture exactly.
  """
  if not isinstance(runs, dict) or set(runs) != {'size', 'counts'}:
    raise MaskFault(f'is {describe(runs)}; expected {{"size": [height, width], "counts": ...}}')
  if runs['size'] != [height, width]:
    raise MaskFault(
      f'has the size {describe(runs["size"])}; expected that of the image, [height, width] = '
      f'[{height}, {width}]'
    )
  counts = _counts(runs['counts'])
  if counts.sum() != width * height:
    raise MaskFault(
      f'has counts of {counts.sum()} pixels together; expected {height} x {width} = '
      f'{width * height}'
    )
  # Columns one after the other, beginning with the pixels that do not belong to the object.
  return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _counts(counts: Any) -> np.ndarray:
  """int64[n] lengths of runs, from 0 on."""
  if isinstance(counts, str):
    lengths = _decompressed(counts)
  elif isinstance(counts, list) and all(
    type(count) is int and abs(count) < 2**31 for count in counts
  ):
    lengths = np.array(counts, np.int64)
  else:
    raise MaskFault(
      f"has the counts {describe(counts)}; expected the lengths of runs, or COCO's text"
    )
  if (lengths < 0).any():
    raise MaskFault(f'has the counts {describe(counts)}, some below 0; expected lengths of runs')
  return lengths


def _decompressed(text: str) -> np.ndarray:
  """int64[n] from COCO's text: five bits a character, lowest first; from the fourth number on,
  differences to the number before the last.
  """
  try:
    bits = np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int64) - ord('0')
  except UnicodeEncodeError:
    bits = np.array([-1])
  if ((bits < 0) | (bits >= 64)).any():
    raise MaskFault(f"has the counts {describe(text)} with other characters than COCO's")
  ends = np.flatnonzero(bits & 32 == 0)
  if not len(bits) or len(ends) == 0 or ends[-1] != len(bits) - 1:
    raise MaskFault(f"has the counts {describe(text)}, which end too early; expected COCO's text")
  starts = np.concatenate([[0], ends[:-1] + 1])
  lengths = ends - starts + 1
  if lengths.max() > _MOST_CHARACTERS:
    raise MaskFault(
      f"has the counts {describe(text)} with a number too large; expected COCO's text"
    )
  shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
  counts = np.add.reduceat((bits & 31) << shifts, starts)
  counts -= np.where(bits[ends] & 16, 1 << (5 * lengths), 0)  # the highest bit is the sign
  counts[1::2] = np.cumsum(counts[1::2])
  counts[2::2] = np.cumsum(counts[2::2])
  return counts

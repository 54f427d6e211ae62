"""Several evaluations side by side, beside the published scores of the same data set."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation.classification import OBJECT_METRICS
from sg2im_jax.evaluation.report import PICTURES, cells, table
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS

# Inception scores of pictures of 64 x 64 by the network of 2015 in 5 splits (table 1), on
# COCO-Stuff and on Visual Genome; recall of boxes (table 2). Quoted from memory of the paper,
# without its standard deviations.
_DATA_SETS = ('COCO-Stuff', 'Visual Genome')
_INCEPTION_SCORES = {
  'real images': (16.3, 13.9),
  'no graph convolution': (4.6, 4.2),
  'no relationships': (3.7, 4.9),
  'no discriminators': (4.8, 3.6),
  'no object discriminator': (5.0, 5.0),
  'no image discriminator': (5.7, 5.7),
  'full model': (6.7, 5.5),
  'ground-truth layout, no graph convolution': (7.0, 6.0),
  'ground-truth layout': (7.3, 6.3),
}
_RECALL = {'full model': {'recall_at_0.3': (0.524, 0.219), 'recall_at_0.5': (0.322, 0.106)}}
_COLUMN_OF_DATA = {'coco_stuff': 0, 'coco_panoptic': 0, 'visual_genome': 1}  # by setting data.name
_PAPER = 'Johnson et al. 2018'


def comparison(directories: Sequence[str | os.PathLike]) -> str:
  """Tables of several evaluations and the published scores of their data sets.

  Every setting in which their protocols differ is named.

  Args:
    directories: of the evaluations, each with its evaluation.json.

  Raises:
    UserError: a directory has no evaluation.json that can be read.
  """
  evaluations = {str(directory): _load(directory) for directory in directories}
  evaluated = {results['protocol']['data'] for results in evaluations.values()}
  columns = sorted({_COLUMN_OF_DATA[name] for name in evaluated if name in _COLUMN_OF_DATA})

  def found(
    section: str, part: str, name: str | None = None
  ) -> list[tuple[str, Mapping[str, Any]]]:
    return [
      (name or directory, results[section][part])
      for directory, results in evaluations.items()
      if part in results.get(section, {})
    ]

  layouts = found('layout', 'predicted') + found('layout', 'ground truth', 'ground truth')
  pictures = found('images', 'drawn')
  for part in ('perturbed', 'reconstructed'):
    pictures += [
      (f'{directory}: {PICTURES[part]}', scores) for directory, scores in found('images', part)
    ]
  pictures += found('images', 'real', 'real images')
  objects = [
    (directory, results['objects'])
    for directory, results in evaluations.items()
    if 'objects' in results
  ]
  for column in columns:
    source = f'published ({_PAPER}, {_DATA_SETS[column]})'
    for row, values in _INCEPTION_SCORES.items():
      pictures.append((f'{source}: {row}', {'inception_score': values[column]}))
    for row, recall in _RECALL.items():
      of_row = {name: values[column] for name, values in recall.items()}
      layouts.append((f'{source}: {row}', of_row))
  lines = []
  for title, metrics, rows in (
    ('Layout (paper table 2)', LAYOUT_METRICS, layouts),
    ('Images (paper table 1)', IMAGE_METRICS, pictures),
    ('Objects', OBJECT_METRICS, objects),
  ):
    # Evaluations of the same real images share their rows.
    distinct = list(map(list, dict.fromkeys(map(tuple, cells(metrics, rows)))))
    if distinct:
      header = ['', *(metric.label for metric in metrics)]
      lines += [f'## {title}', '', *table(header, distinct), '']
  lines += _differences({name: results['protocol'] for name, results in evaluations.items()})
  if columns:
    lines.append(
      'Published Inception scores are of stretched pictures of 64 x 64 pixels, by the Inception '
      'network of 2015 in 5 splits; other backbones, splits and sizes give scores of another '
      'scale. The published scores are quoted from memory: look them up before citing them.'
    )
  return '\n'.join(lines)


def _differences(protocols: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """A line for each setting that is not the same in all protocols."""
  names = dict.fromkeys(name for protocol in protocols.values() for name in protocol)
  lines = []
  for name in names:
    values = {directory: protocol.get(name) for directory, protocol in protocols.items()}
    if len({json.dumps(value) for value in values.values()}) > 1:
      lines.append(
        f'- not the same protocol: {name} is '
        + ', '.join(f'{value} in {directory}' for directory, value in values.items())
      )
  return lines


def _load(directory: str | os.PathLike) -> dict[str, Any]:
  path = pathlib.Path(directory) / 'evaluation.json'
  try:
    results = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path}: cannot be read ({error}); evaluate first: python -m sg2im_jax.evaluate '
      f'--workdir={directory}'
    ) from error
  if not {'model', 'protocol', 'layout'} <= set(results):
    raise UserError(
      f'{path}: not written by this version; evaluate again: python -m sg2im_jax.evaluate '
      f'--workdir={directory}'
    )
  return results

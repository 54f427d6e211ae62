"""Several evaluations side by side, beside the published scores of the same data set."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation.classification import OBJECT_METRICS
from sg2im_jax.evaluation.report import cells, table
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS

# Johnson et al. 2018, tables 1 (Inception score of pictures of 64 x 64, 2015 Inception, 5 splits)
# and 2 (recall): [row, Inception score on COCO-Stuff, on Visual Genome, R@0.3, R@0.5 on either].
# Quoted from memory of the paper, without its standard deviations.
_PUBLISHED = (
  ('real images', 16.3, 13.9, None, None),
  ('no graph convolution', 4.6, 4.2, None, None),
  ('no relationships', 3.7, 4.9, None, None),
  ('no discriminators', 4.8, 3.6, None, None),
  ('no object discriminator', 5.0, 5.0, None, None),
  ('no image discriminator', 5.7, 5.7, None, None),
  ('full model', 6.7, 5.5, (0.524, 0.219), (0.322, 0.106)),
  ('ground-truth layout, no graph convolution', 7.0, 6.0, None, None),
  ('ground-truth layout', 7.3, 6.3, None, None),
)
_COLUMN_OF_DATA = {'coco_stuff': 0, 'coco_panoptic': 0, 'visual_genome': 1}
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
  columns = sorted(
    {_COLUMN_OF_DATA.get(results['protocol']['data']) for results in evaluations.values()} - {None}
  )

  def found(
    section: str, part: str, name: str | None = None
  ) -> list[tuple[str, Mapping[str, Any]]]:
    return [
      (name or directory, results[section][part])
      for directory, results in evaluations.items()
      if section in results
    ]

  layouts = found('layout', 'predicted') + found('layout', 'ground truth', 'ground truth')
  pictures = found('images', 'drawn') + found('images', 'real', 'real images')
  objects = [
    (directory, results['objects'])
    for directory, results in evaluations.items()
    if 'objects' in results
  ]
  for column in columns:
    data_set = ('COCO-Stuff', 'Visual Genome')[column]
    for row, *inception_scores, at_low, at_high in _PUBLISHED:
      name = f'published ({_PAPER}, {data_set}): {row}'
      pictures.append((name, {'inception_score': inception_scores[column]}))
      if at_low is not None:
        layouts.append((name, {'recall_at_0.3': at_low[column], 'recall_at_0.5': at_high[column]}))
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

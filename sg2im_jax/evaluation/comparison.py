"""Several evaluations side by side, beside the published scores of the same data set."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation.classification import OBJECT_METRICS
from sg2im_jax.evaluation.published_scores import PUBLISHED_SCORES
from sg2im_jax.evaluation.report import PICTURES, cells, table
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS


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
  published = [scores for scores in PUBLISHED_SCORES if scores.data in evaluated]
  labels = {
    directory: _label(directory, results['protocol']) for directory, results in evaluations.items()
  }

  def found(
    section: str, part: str, name: str | None = None
  ) -> list[tuple[str, Mapping[str, Any]]]:
    return [
      (name or labels[directory], results[section][part])
      for directory, results in evaluations.items()
      if part in results.get(section, {})
    ]

  layouts = found('layout', 'predicted') + found('layout', 'ground truth', 'ground truth')
  pictures = found('images', 'drawn')
  for part in ('perturbed', 'reconstructed'):
    pictures += [(f'{label}: {PICTURES[part]}', scores) for label, scores in found('images', part)]
  pictures += found('images', 'real', 'real images')
  objects = [
    (labels[directory], results['objects'])
    for directory, results in evaluations.items()
    if 'objects' in results
  ]
  sources = list(dict.fromkeys(f'{scores.paper}: {scores.source}' for scores in published))
  for scores in published:
    number = 1 + sources.index(f'{scores.paper}: {scores.source}')
    of = ', '.join([f'{scores.size} px', *([scores.protocol] if scores.protocol else [])])
    pictures.append((f'published: {scores.method}, {scores.data} ({of}) [{number}]', scores.scores))
  lines = []
  for title, metrics, rows in (
    ('Layout', LAYOUT_METRICS, layouts),
    ('Images', IMAGE_METRICS, pictures),
    ('Objects', OBJECT_METRICS, objects),
  ):
    # Evaluations of the same real images share their rows.
    distinct = list(map(list, dict.fromkeys(map(tuple, cells(metrics, rows)))))
    if distinct:
      header = ['', *(metric.label for metric in metrics)]
      lines += [f'## {title}', '', *table(header, distinct), '']
  lines += _differences({name: results['protocol'] for name, results in evaluations.items()})
  if published:
    lines += [
      '',
      'Published scores are by the Inception network of 2015; scores by other backbones are of '
      'another scale, and FIDs compare with those of as many pictures only. Read in:',
      '',
      *(f'{number}. {source}' for number, source in enumerate(sources, 1)),
    ]
  return '\n'.join(lines)


def _label(directory: str, protocol: Mapping[str, Any]) -> str:
  """The directory, with the name of its protocol, and with what of that was changed."""
  if protocol.get('name') is None:
    return directory
  changes = f', changed: {", ".join(protocol["changed"])}' if protocol['changed'] else ''
  return f'{directory} ({protocol["name"]}{changes})'


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

"""An evaluation in words and tables, and several of them side by side with the published figures."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation.backbones import Backbone
from sg2im_jax.evaluation.protocol import Protocol

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

_LAYOUT = {
  'box_iou': 'mean IoU',
  'recall_at_0.3': 'R@0.3',
  'recall_at_0.5': 'R@0.5',
  'sigma_x': 'sigma_x',
  'sigma_area': 'sigma_area',
  'relation_accuracy': 'relations kept',
}
_IMAGES = {
  'num_pictures': 'pictures',
  'inception_score': 'Inception score',
  'fid': 'FID',
  'kid': 'KID x 1000',
  'precision': 'precision',
  'recall': 'recall',
  'diversity': 'diversity',
}
_OBJECTS = {
  'real_to_real': 'real → real',
  'real_to_drawn': 'real → drawn',
  'drawn_to_real': 'drawn → real',
}
_SHARES = {'recall_at_0.3', 'recall_at_0.5', 'relation_accuracy', 'precision', 'recall', *_OBJECTS}


def describe_protocol(
  protocol: Protocol,
  config: ConfigDict,
  num_graphs: int,
  other_split: str,
  backbone: Backbone | None,
) -> dict[str, Any]:
  """Everything that must be the same for figures to compare, fit for JSON.

  Args:
    protocol: as asked for.
    config: of the model.
    num_graphs: that were evaluated.
    other_split: whose real images stand for the best that can be expected.
    backbone: None for the layout alone.
  """
  ids = (
    protocol.image_ids
    and hashlib.sha256('\n'.join(sorted(protocol.image_ids)).encode()).hexdigest()
  )
  described = {
    'data': config.data.name,
    'relations': config.data.relations,
    'split': protocol.split,
    'num_graphs': num_graphs,
    'image_ids_sha256': ids,
    'boxes': protocol.boxes,
    'masks': protocol.masks,
    'seed': protocol.seed,
  }
  if backbone is None:
    return described
  return described | {
    'samples_per_graph': protocol.samples_per_graph,
    'num_real_images': num_graphs,
    'other_real_images': other_split,
    'stretch': protocol.stretch,
    'image_size': list(protocol.image_size or config.data.image_size),
    'backbone': backbone.name,
    'weights': backbone.weights,
    'weights_sha256': backbone.sha256,
    'resize': backbone.resize,
    'num_features': backbone.num_features,
    'inception_splits': protocol.num_splits,
  }


def markdown(results: Mapping[str, Any]) -> str:
  """evaluation.md: the protocol in sentences, and a table for each kind of score."""
  model, protocol = results['model'], results['protocol']
  lines = [
    f'# {model["workdir"]}, step {model["step"]}',
    '',
    f'{protocol["num_graphs"]} graphs of split {protocol["split"]} of {protocol["data"]}, '
    'relations '
    f'{protocol["relations"]}; drawn with {_way(protocol)}; seed {protocol["seed"]}; model '
    f'{model["fingerprint"]}.',
    '',
    '## Layout',
    '',
  ]
  layout = results['layout']
  lines += _table(
    ['boxes', *_LAYOUT.values()],
    [[name, *(_cell(key, of_boxes[key]) for key in _LAYOUT)] for name, of_boxes in layout.items()],
  )
  lines += [
    '',
    f'Of {layout["predicted"]["num_objects"]} objects and {layout["predicted"]["num_relations"]} '
    'geometric '
    'relations. sigma: mean over classes of the standard deviation within a class. Ground-truth '
    'boxes need not '
    'keep all relations, which go by the centres of masks where there are any.',
    '',
  ]
  kept = {name: of_boxes['relation_accuracy_of'] for name, of_boxes in layout.items()}
  if kept['predicted']:
    lines += _table(
      ['relations kept', *kept['predicted']],
      [[name, *map(_percent, of_predicate.values())] for name, of_predicate in kept.items()],
    )
    lines.append('')
  if 'images' not in results:
    return '\n'.join(lines)
  height, width = protocol['image_size']
  lines += [
    '## Images',
    '',
    f'{protocol["samples_per_graph"]} samples a graph, beside {protocol["num_real_images"]} real '
    'images, at '
    f'{height} x {width} pixels, stretch {"on" if protocol["stretch"] else "off"}. Features of '
    f'{protocol["backbone"]} ({protocol["weights"]}, SHA-256 {protocol["weights_sha256"]}); '
    'resized '
    f'{protocol["resize"]}. Inception score over {protocol["inception_splits"]} splits; KID over '
    'random '
    f'subsets; precision and recall of one sample a graph; row "real": images of split '
    f'{protocol["other_real_images"]} instead of drawn ones.',
    '',
  ]
  lines += _table(
    ['pictures', *_IMAGES.values()],
    [
      [name, *(_cell(key, of_pictures[key]) for key in _IMAGES)]
      for name, of_pictures in results['images'].items()
    ],
  )
  if protocol['num_graphs'] < protocol['num_features']:
    lines += [
      '',
      f'With fewer images than features ({protocol["num_features"]}) FID is far too high, and '
      'compares '
      'only with FIDs of as many images.',
    ]
  objects = results['objects']
  lines += [
    '',
    '## Objects',
    '',
    f'Accuracy of a classifier, learned on the one and tried on the other; '
    f'{objects["num_learned"]} real objects to learn from, {objects["num_real"]} real and '
    f'{objects["num_drawn"]} drawn ones to name.',
    '',
  ]
  lines += _table(list(_OBJECTS.values()), [[_cell(key, objects[key]) for key in _OBJECTS]])
  return '\n'.join([*lines, ''])


def comparison(directories: Sequence[str | os.PathLike]) -> str:
  """Several evaluations in the tables of the paper, beside its figures of their data sets, and how
  protocols differ.

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
  for title, keys, rows in (
    ('Layout (paper table 2)', _LAYOUT, layouts),
    ('Images (paper table 1)', _IMAGES, pictures),
    ('Objects', _OBJECTS, objects),
  ):
    cells = [
      [name, *(_cell(key, scores[key]) if key in scores else '' for key in keys)]
      for name, scores in rows
    ]
    distinct = [
      row for index, row in enumerate(cells) if row not in cells[:index]
    ]  # what is real is so for several
    if distinct:
      lines += [f'## {title}', '', *_table(['', *keys.values()], distinct), '']
  lines += _differences({name: results['protocol'] for name, results in evaluations.items()})
  if columns:
    lines.append(
      'Published figures: Inception scores of 64 x 64 pixels, by the Inception network of 2015 in '
      '5 splits, '
      'of stretched pictures; other backbones, splits and sizes give scores of another scale. They '
      'are '
      'quoted from memory: look them up before citing them.'
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


def _way(protocol: Mapping[str, Any]) -> str:
  boxes, masks = (protocol[key].replace('_', '-') for key in ('boxes', 'masks'))
  return f'{boxes} boxes and masks' if boxes == masks else f'{boxes} boxes and {masks} masks'


def _cell(key: str, value: Any) -> str:
  if value is None:
    return 'none'
  if key in _SHARES:
    return _percent(value)
  if isinstance(value, list):
    mean, deviation = (1000 * part if key == 'kid' else part for part in value)
    return f'{mean:.2f} ± {deviation:.2f}'
  return (
    str(value) if isinstance(value, int) else f'{value:.3f}' if key in _LAYOUT else f'{value:.1f}'
  )


def _percent(value: float) -> str:
  return f'{value:.1%}'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
  return [f'| {" | ".join(cells)} |' for cells in (header, ['---'] * len(header), *rows)]

"""An evaluation in words and tables: its protocol, and evaluation.md."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_pipelines.settings.data_settings import DataSettings
from sg2im_jax.evaluation.attributes import ATTRIBUTE_METRICS
from sg2im_jax.evaluation.backbones import Backbone
from sg2im_jax.evaluation.classification import OBJECT_METRICS
from sg2im_jax.evaluation.edits import AS_ASKED, EDIT_METRICS
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS
from sg2im_jax.metrics.metric import Metric

# The sets of pictures that are scored, as tables call them: samples; those painted from boxes of
# the data that are shifted and scaled by up to 20 % (see `controls`), and from boxes and encoded
# appearances of the data; real images of another split.
PICTURES = {
  'drawn': 'samples',
  'perturbed': 'perturbed boxes',
  'reconstructed': 'reconstructed',
  'real': 'real',
}


def describe_protocol(
  protocol: Protocol,
  changed: Mapping[str, Mapping[str, Any]],
  data: DataSettings,
  num_graphs: int,
  other_split: str,
  backbone: Backbone | None,
) -> dict[str, Any]:
  """Everything that must be the same for scores to compare, fit for JSON.

  Args:
    protocol: as asked for.
    changed: what is not as its name says, see `named_protocols.Resolved`.
    data: settings of what was evaluated.
    num_graphs: that were evaluated.
    other_split: whose real images stand for the best that can be expected.
    backbone: None for the layout alone.
  """
  ids = (
    protocol.image_ids
    and hashlib.sha256('\n'.join(sorted(protocol.image_ids)).encode()).hexdigest()
  )
  described = {
    'name': protocol.name,
    'changed': changed,
    'data': data.name,
    'options': data.options.model_dump(mode='json'),
    'relations': data.relations,
    'max_objects': data.max_objects,
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
    'image_size': list(protocol.image_size or data.image_size),
    'backbone': backbone.name,
    'weights': backbone.weights,
    'weights_sha256': backbone.sha256,
    'resize': backbone.resize,
    'num_features': backbone.num_features,
    'inception_splits': protocol.num_splits,
    'scene_crops': protocol.scene_crops,
  }


def markdown(results: Mapping[str, Any]) -> str:
  """evaluation.md: the protocol in sentences, and a table for each kind of score."""
  model, protocol = results['model'], results['protocol']
  lines = [
    f'# {model["workdir"] or "A model"}, step {model["step"]}',
    '',
    f'{protocol["num_graphs"]} graphs of split {protocol["split"]} of {protocol["data"]}, '
    f'relations {protocol["relations"]}; sampled with {_layouts(protocol)}; seed '
    f'{protocol["seed"]}; model {model["fingerprint"]}.',
    '',
    *_name_section(protocol),
    *_layout_section(results['layout'], results.get('layout_overlap')),
  ]
  if 'images' in results:
    lines += [
      *_image_section(results['images'], protocol),
      *_change_section(results.get('changes')),
      *_object_section(results['objects']),
      *_attribute_section(results.get('attributes')),
      *edit_section(results.get('edits')),
    ]
  return '\n'.join(lines)


def _name_section(protocol: Mapping[str, Any]) -> Iterator[str]:
  """What is not as the protocol's name says."""
  if protocol['name'] is None:
    return
  changes = '; '.join(
    f'{name} is {one["used"]}, published {one["published"]}'
    for name, one in protocol['changed'].items()
  )
  yield f'Protocol {protocol["name"]}{f", changed: {changes}" if changes else ""}.'
  yield ''


def _attribute_section(attributes: Mapping[str, Any] | None) -> Iterator[str]:
  if not attributes:
    return
  yield from ('', '## Attributes', '')
  yield (
    f'Every graph is drawn once more with the attributes of its scene, {attributes["num_asked"]} '
    'together. Seen: the share of attributes that a classifier of real objects sees in the objects '
    'that have them, '
    'or were asked to.'
  )
  yield ''
  yield from table(
    [metric.label for metric in ATTRIBUTE_METRICS],
    [[metric.text(attributes[metric.name]) for metric in ATTRIBUTE_METRICS]],
  )
  yield ''
  yield from table(
    ['attribute', 'asked for', 'F1 in real', 'F1 in sampled'],
    [
      [name, str(of['num_asked']), f'{of["real_f1"]:.1%}', f'{of["drawn_f1"]:.1%}']
      for name, of in attributes['of'].items()
    ],
  )
  yield ''


def edit_section(edits: Mapping[str, Any] | None) -> Iterator[str]:
  if not edits:
    return
  asked = '; '.join(f'{kind}: {meaning}' for kind, meaning in AS_ASKED.items())
  yield from ('## Edits', '')
  yield (
    f'{edits["num_scenes"]} real scenes, of each of which one object is changed in every way; '
    f'{edits["num_pictures"]} pictures came out. Pixels kept: of those outside of the region that '
    'a change repaints, the share that is as before. MAE: their mean absolute difference, as a '
    'share of the range from black to white, if everything is painted from its tokens. Named: the '
    'share of changed objects that the classifier of real objects names as their class. As asked, '
    f'{asked}.'
  )
  yield ''
  yield from score_table('change', EDIT_METRICS, edits['of'])
  yield ''
  fid = edits['fid']
  yield (
    f'FID of these pictures {fid["edited"]:.1f}; of the scenes before, {fid["before"]:.1f}. '
    'Reconstruction of the pictures from their tokens, inside and outside of the region of one '
    'object, whose appearance is encoded like those of all others, or sampled; distance: of the '
    "backbone's features, see `Backbone.distance_maps`."
  )
  yield ''
  yield from table(
    ['appearance of the object', 'region', 'MAE', 'SSIM', 'distance'],
    [
      [name, region, *(f'{of[metric]:.4f}' for metric in ('mae', 'ssim', 'distance'))]
      for name, regions in edits['reconstruction'].items()
      for region, of in regions.items()
    ],
  )
  yield ''


def score_table(
  title: str, metrics: Sequence[Metric], scores: Mapping[str, Mapping[str, Any]]
) -> list[str]:
  """A table with a row for each of several sets of scores, by name, and a column a metric."""
  return table([title, *(metric.label for metric in metrics)], cells(metrics, scores.items()))


def cells(
  metrics: Sequence[Metric], rows: Iterable[tuple[str, Mapping[str, Any]]]
) -> list[list[str]]:
  """Each row's name and its scores as text, '' for one that it lacks."""
  return [
    [name, *(metric.text(row[metric.name]) if metric.name in row else '' for metric in metrics)]
    for name, row in rows
  ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
  """The lines of a table in Markdown."""
  return [f'| {" | ".join(row)} |' for row in (header, ['---'] * len(header), *rows)]


def _layout_section(layout: Mapping[str, Any], overlap: float | None) -> Iterator[str]:
  yield from ('## Layout', '')
  yield from score_table('boxes', LAYOUT_METRICS, layout)
  predicted = layout['predicted']
  yield ''
  yield (
    f'Of {predicted["num_objects"]} objects and {predicted["num_relations"]} geometric relations. '
    'sigma: mean over classes of the standard deviation within a class. Ground-truth boxes need '
    'not keep all relations, which go by the centres of masks where there are any.'
  )
  yield ''
  if overlap is not None:
    yield (
      f'The boxes of an object in the samples of one graph overlap by an IoU of {overlap:.3f} '
      'between two of them, on the mean; a layout that is predicted and not sampled has 1.'
    )
    yield ''
  kept = {name: of_boxes['relation_accuracy_of'] for name, of_boxes in layout.items()}
  if kept['predicted']:
    yield from table(
      ['relations kept', *kept['predicted']],
      [[name, *map('{:.1%}'.format, shares.values())] for name, shares in kept.items()],
    )
    yield ''


def _image_section(images: Mapping[str, Any], protocol: Mapping[str, Any]) -> Iterator[str]:
  height, width = protocol['image_size']
  yield from ('## Images', '')
  yield (
    f'{protocol["samples_per_graph"]} samples a graph, beside {protocol["num_real_images"]} real '
    f'images, at {height} x {width} pixels, stretch {"on" if protocol["stretch"] else "off"}. '
    f'Features of {protocol["backbone"]} ({protocol["weights"]}, SHA-256 '
    f'{protocol["weights_sha256"]}); resized {protocol["resize"]}. Inception score over '
    f'{protocol["inception_splits"]} splits; SceneFID of at most '
    f'{protocol["scene_crops"]} objects a graph, in the real image and in the first sample; KID '
    'over random subsets; precision and recall of one sample a graph; row "real": images of split '
    f'{protocol["other_real_images"]} instead of samples.'
  )
  yield ''
  rows = {label: images[name] for name, label in PICTURES.items() if name in images}
  yield from score_table('pictures', IMAGE_METRICS, rows)
  if protocol['num_graphs'] < protocol['num_features']:
    yield ''
    yield (
      f'With fewer images than features ({protocol["num_features"]}) FID is far too high, and '
      'compares only with FIDs of as many images.'
    )
  yield ''


def _change_section(changes: Mapping[str, float] | None) -> Iterator[str]:
  if changes:
    yield (
      'Mean absolute difference of pixels, as a share of the range from black to white: '
      f'reconstructed from real images {changes["reconstruction"]:.4f}; after one object of each '
      f'scene was sampled anew, where it is seen {changes["edited objects"]:.4f}, where the pinned '
      f'objects are seen {changes["pinned objects"]:.4f}.'
    )
    yield ''


def _object_section(objects: Mapping[str, Any]) -> Iterator[str]:
  yield from ('## Objects', '')
  yield (
    'Accuracy of a classifier, trained on the one and tested on the other; '
    f'{objects["num_learned"]} real objects to train on, {objects["num_real"]} real and '
    f'{objects["num_drawn"]} sampled ones to name.'
  )
  yield ''
  yield from table(
    [metric.label for metric in OBJECT_METRICS],
    [[metric.text(objects[metric.name]) for metric in OBJECT_METRICS]],
  )
  yield ''


def _layouts(protocol: Mapping[str, Any]) -> str:
  """Where boxes and masks come from, in words."""
  boxes, masks = (protocol[key].replace('_', '-') for key in ('boxes', 'masks'))
  return f'{boxes} boxes and masks' if boxes == masks else f'{boxes} boxes and {masks} masks'

"""One evaluation in tables, and several of them side by side."""

import json
import re

import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation import report
from sg2im_jax.evaluation.comparison import comparison
from sg2im_jax.evaluation.named_protocols import NAMED_PROTOCOLS
from sg2im_jax.evaluation.published_scores import PUBLISHED_SCORES
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS

LAYOUT = {
  'num_objects': 20,
  'num_relations': 0,
  'box_iou': 0.4242,
  'recall_at_0.3': 0.5,
  'recall_at_0.5': 0.25,
  'sigma_x': 0.1,
  'sigma_area': None,
  'relation_accuracy': None,
  'sg_iou': 0.75,
  'relation_iou': None,
  'relation_accuracy_of': {},
}
PROTOCOL = {
  'name': None,
  'changed': {},
  'data': 'visual_genome',
  'relations': 'stored',
  'split': 'test',
  'num_graphs': 12,
  'image_ids_sha256': None,
  'boxes': 'predicted',
  'masks': 'ground_truth',
  'seed': 0,
}
IMAGES = {
  'num_pictures': 60,
  'inception_score': [5.5, 0.1],
  'fid': 70.25,
  'scene_fid': 40.5,
  'kid': [0.0123, 0.0004],
  'precision': 0.5,
  'recall': 0.25,
  'diversity': None,
}
OBJECTS = {
  'num_drawn': 3,
  'num_real': 2,
  'num_learned': 1,
  'real_to_real': 0.9,
  'real_to_drawn': 0.6,
  'drawn_to_real': 0.5,
}


def _results(**protocol):
  return {
    'model': {'workdir': 'runs/vg', 'step': 7, 'fingerprint': 'abc'},
    'protocol': PROTOCOL | protocol,
    'layout': {'predicted': LAYOUT, 'ground truth': {**LAYOUT, 'box_iou': 1.0}},
  }


def _with_pictures(**protocol):
  return {
    **_results(
      samples_per_graph=5,
      num_real_images=12,
      other_real_images='train',
      stretch=True,
      image_size=[64, 64],
      backbone='inception-2015',
      weights='w.pth',
      weights_sha256='f' * 64,
      resize='so and so',
      num_features=2048,
      inception_splits=5,
      scene_crops=2,
      **protocol,
    ),
    'images': {'drawn': IMAGES, 'real': {**IMAGES, 'fid': 30.5}},
    'objects': OBJECTS,
  }


def _evaluated(directory, results):
  directory.mkdir()
  (directory / 'evaluation.json').write_text(json.dumps(results))
  return str(directory)


def test_the_layout_alone():
  text = report.markdown(_results())
  assert 'predicted boxes and ground-truth masks' in text
  assert (
    '| predicted | 0.424 | 50.0% | 25.0% | 0.100 | none | none | 0.750 | none |'
    in text.splitlines()
  )
  assert 'Images' not in text


def test_pictures_and_what_they_depend_on():
  text = report.markdown(_with_pictures())
  assert (
    '| samples | 60 | 5.50 ± 0.10 | 70.2 | 40.5 | 12.30 ± 0.40 | 50.0% | 25.0% | none |'
    in text.splitlines()
  )
  for fact in (
    'inception-2015',
    'w.pth',
    'f' * 64,
    'so and so',
    'stretch on',
    '64 x 64',
    'over 5 splits',
    'at most 2 objects a graph',
    'FID is far',
  ):
    assert fact in text
  assert '| 90.0% | 60.0% | 50.0% |' in text.splitlines()


def test_comparison_with_the_published_figures(tmp_path):
  full = _evaluated(tmp_path / 'full', _with_pictures())
  other = _evaluated(tmp_path / 'other', _with_pictures(seed=3))
  text = comparison([full, other])
  layouts, rest = text.split('## Images')
  pictures, objects = rest.split('## Objects')
  assert (
    f'| {full} | 0.424 | 50.0% | 25.0% | 0.100 | none | none | 0.750 | none |'
    in layouts.splitlines()
  )
  assert (
    f'| {other} | 60 | 5.50 ± 0.10 | 70.2 | 40.5 | 12.30 ± 0.40 | 50.0% | 25.0% | none |'
    in pictures.splitlines()
  )
  assert (
    '| published: Layout2Im, visual_genome (64 px, layout2im) [2] |  | 8.1 |  |  |  |  |  |  |'
    in pictures.splitlines()
  )
  assert 'LostGAN, visual_genome (128 px, lostgan) [3] |  | 11.1 | 29.4 | 13.2 |' in pictures
  assert re.search(r'^2\. Zhao et al\. 2019, arXiv 1811\.11389: \S+/layout2im/issues/6', text, re.M)
  assert (
    layouts.count('| ground truth | 1.000 |') == pictures.count('| real images | 60 |') == 1
  )  # the same for both
  assert 'published' not in layouts
  assert f'| {full} | 90.0% | 60.0% | 50.0% |' in objects.splitlines()
  assert 'coco_stuff' not in text
  assert f'- not the same protocol: seed is 0 in {full}, 3 in {other}' in text.splitlines()
  assert text.count('not the same protocol') == 1


def test_every_published_score_says_what_it_is_of_and_where_it_was_read():
  metrics = {metric.name for metric in IMAGE_METRICS}
  protocols = {(None, data) for data in ('coco_stuff', 'visual_genome')} | {
    (named.name, graphs.data) for named in NAMED_PROTOCOLS for graphs in named.graphs
  }
  sizes = {named.name: named.sizes for named in NAMED_PROTOCOLS}
  for scores in PUBLISHED_SCORES:
    assert scores.scores.keys() <= metrics and scores.scores
    assert (scores.protocol, scores.data) in protocols
    assert scores.protocol is None or scores.size in sizes[scores.protocol]
    assert re.search('github.com/|paperswithcode.com/', scores.source)


def test_a_protocol_by_name_is_in_the_report_and_in_the_comparison(tmp_path):
  changed = {'num_graphs': {'published': 3097, 'used': 12}}
  named = _with_pictures(name='lostgan', changed=changed)
  assert 'Protocol lostgan, changed: num_graphs is 12, published 3097.' in report.markdown(named)
  assert 'Protocol lostgan.' in report.markdown(_with_pictures(name='lostgan'))
  directory = _evaluated(tmp_path / 'named', named)
  other = _evaluated(tmp_path / 'other', _with_pictures())
  text = comparison([directory, other])
  assert text.count(f'| {directory} (lostgan, changed: num_graphs) |') == 3  # a row a table
  assert f'- not the same protocol: name is lostgan in {directory}, None in {other}' in text


def test_comparison_of_unlike_evaluations(tmp_path):
  text = comparison(
    [
      _evaluated(tmp_path / 'a', _results(data='storybook')),
      _evaluated(tmp_path / 'b', _with_pictures(data='storybook')),
    ]
  )
  assert 'published' not in text
  assert 'backbone is None in' in text and 'inception-2015 in' in text
  assert {
    line.count('|') for line in text.split('## Images')[0].splitlines() if line.startswith('|')
  } == {10}


def test_what_cannot_be_compared(tmp_path):
  with pytest.raises(UserError, match='evaluate first'):
    comparison([str(tmp_path)])
  old = _evaluated(tmp_path / 'old', {'step': 3})
  with pytest.raises(UserError, match='evaluate again'):
    comparison([old])

"""What each published protocol asks for, what flags change, and what is refused."""

import collections
import pathlib
import types

import pytest

from data_pipelines.configs import coco64, coco_panoptic64, storybook, vg64
from data_pipelines.scene_graphs.errors import SettingsError
from sg2im_jax.evaluate import EvaluateOptions
from sg2im_jax.evaluation import named_protocols
from sg2im_jax.evaluation.named_protocols import NAMED_PROTOCOLS, ids_sha256, resolved
from sg2im_jax.evaluation.protocol import Protocol
from tests.data_pipelines.settings import data_settings

CONFIGS = {'coco_stuff': coco64, 'visual_genome': vg64}
PREDICTED, GIVEN = ('predicted', 'predicted'), ('ground_truth', 'predicted')
# Split, graphs, samples, boxes and masks, sizes, stretch, splits of the Inception score.
PUBLISHED = {
  ('sg2im', 'coco_stuff'): ('test', 2048, 5, PREDICTED, (64,), True, 5),
  ('sg2im', 'visual_genome'): ('test', None, 1, PREDICTED, (64,), True, 5),
  ('sg2im_gt', 'coco_stuff'): ('test', 2048, 5, ('ground_truth',) * 2, (64,), True, 5),
  ('sg2im_gt', 'visual_genome'): ('test', None, 1, GIVEN, (64,), True, 5),
  ('layout2im', 'coco_stuff'): ('test', 2048, 1, GIVEN, (64,), True, 10),
  ('layout2im', 'visual_genome'): ('test', None, 1, GIVEN, (64,), True, 10),
  ('lostgan', 'coco_stuff'): ('val+test', 3097, 5, GIVEN, (64, 128, 256), True, 10),
  ('lostgan', 'visual_genome'): ('val', None, 1, GIVEN, (64, 128, 256), True, 10),
  ('layoutdiffusion-3097x5', 'coco_stuff'): ('val+test', 3097, 5, GIVEN, (128, 256), False, 10),
  ('layoutdiffusion-2048x1', 'coco_stuff'): ('test', 2048, 1, GIVEN, (256,), False, 10),
  ('layoutdiffusion-vg', 'visual_genome'): ('test', None, 1, GIVEN, (128, 256), False, 10),
  ('sgdiff', 'visual_genome'): ('test', None, 1, PREDICTED, (256,), False, 10),
}
WITHOUT_CROWDS = ('lostgan', 'layoutdiffusion-3097x5')
every = pytest.mark.parametrize('name, data', PUBLISHED)


def settings_of(data, side):
  return data_settings(CONFIGS[data].get_config(), image_size=(side, side))


def records(**splits):
  """A builder whose prepared records have so many graphs."""
  info = {name: types.SimpleNamespace(num_examples=count) for name, count in splits.items()}
  return types.SimpleNamespace(info=types.SimpleNamespace(splits=info), data_dir='prepared/here')


def test_these_are_all():
  found = [(named.name, graphs.data) for named in NAMED_PROTOCOLS for graphs in named.graphs]
  assert found == list(PUBLISHED)
  assert all(named.sources and 'arXiv' in named.paper for named in NAMED_PROTOCOLS)


@every
def test_the_name_stands_for_what_is_published(name, data):
  split, num_graphs, samples, layout, sizes, stretch, num_splits = PUBLISHED[name, data]
  for side in sizes:
    found = resolved(Protocol(name=name), settings_of(data, side), None)
    protocol, options = found.protocol, found.data.options
    assert (protocol.split, protocol.num_graphs) == (split, num_graphs)
    assert protocol.samples_per_graph == samples
    assert (protocol.boxes, protocol.masks) == layout
    assert (protocol.stretch, protocol.num_splits) == (stretch, num_splits)
    assert protocol.scene_crops == 8
    assert found.backbone == 'inception-2015' and found.changed == {}
  if data == 'coco_stuff':
    assert (options.min_objects, options.max_objects, options.min_object_area) == (3, 8, 0.02)
    assert options.keep_crowds == (name not in WITHOUT_CROWDS)
    assert options.num_val == 1024 and not options.include_other
  else:
    assert (options.min_objects, options.max_objects, options.min_object_size) == (3, 30, 32)
    slots = 31 if name in ('lostgan', 'sgdiff') else 10
    assert found.data.max_objects == slots


def test_filters_of_the_training_give_way():
  other = data_settings(
    coco64.get_config(), options={'keep_crowds': False, 'max_objects': 4, 'train_images': 'all'}
  )
  options = resolved(Protocol(name='sg2im'), other, None).data.options
  assert options.keep_crowds and options.max_objects == 8
  assert options.train_images == 'all'  # of which no protocol says anything


def test_without_a_name_nothing_changes():
  asked, data = Protocol(num_graphs=7), settings_of('coco_stuff', 64)
  found = resolved(asked, data, None)
  assert (found.protocol, found.data, found.changed) == (asked, data, {})
  assert found.backbone == 'efficientnet-lite0'
  found.check_records(records())
  found.check_ids([])


def test_what_is_given_wins_and_is_on_record():
  asked = Protocol(name='lostgan', num_graphs=100, samples_per_graph=5, seed=3, stretch=False)
  found = resolved(asked, settings_of('coco_stuff', 64), 'efficientnet-lite0')
  assert found.protocol.num_graphs == 100 and found.protocol.seed == 3
  assert found.protocol.boxes == 'ground_truth'  # which was not given, and has another default
  assert found.backbone == 'efficientnet-lite0'
  assert found.changed == {
    'num_graphs': {'published': 3097, 'used': 100},
    'stretch': {'published': True, 'used': False},
    'backbone': {'published': 'inception-2015', 'used': 'efficientnet-lite0'},
  }
  again = resolved(asked.replace(seed=4), settings_of('coco_stuff', 64), 'efficientnet-lite0')
  assert again.changed == found.changed  # defaults that were not given are not given by a copy


def test_flags_that_are_given():
  flags = {'protocol': 'lostgan', 'split': 'val', 'workdir': 'runs/x'}
  found = resolved(EvaluateOptions(**flags).asked(), settings_of('coco_stuff', 64), None)
  assert found.changed == {'split': {'published': 'val+test', 'used': 'val'}}
  assert found.protocol.samples_per_graph == 5 and found.protocol.boxes == 'ground_truth'


def test_sizes():
  data = settings_of('coco_stuff', 64)
  with pytest.raises(
    SettingsError, match='is 64 x 64, .* 128 x 128 or 256 x 256; .*set image_size=256,256'
  ):
    resolved(Protocol(name='layoutdiffusion-3097x5'), data, None)
  asked = Protocol(name='layoutdiffusion-3097x5', image_size=(256, 256))
  size = resolved(asked, data, None).changed['image_size']
  assert size == {'published': [[128, 128], [256, 256]], 'used': [256, 256], 'painted': [64, 64]}
  same = Protocol(name='lostgan', image_size=(64, 64))
  assert resolved(same, data, None).changed == {}


@pytest.mark.parametrize(
  'name, config, message',
  [
    ('sgdiff', coco64, 'protocol is sgdiff, which is of visual_genome, but this model is of coco'),
    ('lostgan', storybook, 'is of coco_stuff and visual_genome, but this model is of storybook'),
    ('sg2im', coco_panoptic64, 'but this model is of coco_panoptic'),
    ('lostgans', coco64, "is 'lostgans', expected one of sg2im, "),
  ],
)
def test_what_cannot_be(name, config, message):
  with pytest.raises(SettingsError, match=message) as error:
    resolved(Protocol(name=name), data_settings(config.get_config()), None)
  assert '\n' not in str(error.value)


def test_too_few_graphs():
  data = settings_of('coco_stuff', 64)
  found = resolved(Protocol(name='lostgan'), data, None)
  found.check_records(records(val=1024, test=2073))
  for splits, count in (({'val': 1024, 'test': 2000}, '3,024'), ({'val': 60, 'train': 9999}, '60')):
    with pytest.raises(
      SettingsError, match=f'needs 3,097 graphs of split val.test, .*records have {count};'
    ):
      found.check_records(records(**splits))
  fewer = resolved(Protocol(name='lostgan', num_graphs=50), data, None)
  fewer.check_records(records(val=60))


def test_lists_of_ids(monkeypatch):
  ids = ['000000000042', '7', '000000000100']
  assert ids_sha256(ids) == ids_sha256(['100', '42', '7']) != ids_sha256(['100', '42'])
  named = named_protocols.find('layoutdiffusion-2048x1')
  graphs = named.graphs[0]
  monkeypatch.setattr(
    named_protocols,
    'NAMED_PROTOCOLS',
    (
      type(named)(
        **{
          **vars(named),
          'graphs': (type(graphs)(**{**vars(graphs), 'image_ids_sha256': ids_sha256(ids)}),),
        }
      ),
    ),
  )
  data = settings_of('coco_stuff', 256)
  plain = resolved(Protocol(name=named.name), data, None)
  plain.check_ids(['100', '42', '7'])
  with pytest.raises(SettingsError, match='split test of these records has other images than its'):
    plain.check_ids(['100', '42'])
  listed = resolved(Protocol(name=named.name, split='val+test', image_ids=tuple(ids)), data, None)
  assert listed.changed == {}
  others = resolved(Protocol(name=named.name, image_ids=('1', '2')), data, None)
  assert others.changed['image_ids']['published'] == ids_sha256(ids)
  others.check_ids(['1', '2'])


def test_the_documents_explain_every_protocol():
  text = (pathlib.Path(__file__).parents[3] / 'docs/evaluation.md').read_text()
  for row in named_protocols.rows():
    assert f'| {" | ".join(row)} |' in text.splitlines()
  for named in NAMED_PROTOCOLS:
    assert f'**{named.name}**' in text


def test_names_are_once():
  counts = collections.Counter(named.name for named in NAMED_PROTOCOLS)
  assert set(counts.values()) == {1}

"""Folders of a user's own scenes: what is read, what is refused and how, which names are kept, what
records hold.
"""

import json
import pathlib
import re

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from absl import logging
from pycocotools import mask as coco_mask

from data_pipelines import preparation
from data_pipelines.configs import scenes as scenes_config
from data_pipelines.own_scenes import builder as scenes
from data_pipelines.own_scenes import scenes_file
from data_pipelines.own_scenes.options import OwnScenesOptions
from data_pipelines.own_scenes.scenes_file import ObjectDescription, SceneDescription
from data_pipelines.pipeline import input_pipeline, parallel
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES
from tests.data_pipelines.settings import data_settings

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[3]
WIDTH, HEIGHT = 60, 40
DOG = {'name': 'dog', 'box': [10, 5, 30, 35]}
GRASS = {'name': 'grass', 'box': [0, 20, 60, 40]}


def write_image(path, mode='RGB', size=(WIDTH, HEIGHT), box=None, **options):
  """An image, of one colour or black outside of a box."""
  path.parent.mkdir(parents=True, exist_ok=True)
  white = 1 if mode == '1' else (255,) * len(PIL.Image.new(mode, (1, 1)).getbands())
  image = PIL.Image.new(mode, size, 0 if box else white)
  if box:
    image.paste(white, box)
  image.save(path, **options)


def write_folder(folder, *lines):
  """scenes.jsonl with these lines (as text, or to be written as JSON); an image for each line that
  names a new one.
  """
  texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
  for line in lines:
    if (
      isinstance(line, dict)
      and isinstance(line.get('file'), str)
      and line['file'].startswith('images/')
    ):
      write_image(folder / line['file'])
  folder.mkdir(exist_ok=True)
  (folder / 'scenes.jsonl').write_text('\n'.join(texts) + '\n', encoding='utf-8')
  return folder


def line(file='images/0.png', *objects, **rest):
  return {'file': file, 'objects': list(objects) or [DOG, GRASS], **rest}


def make_settings(folder, tmp_path, **options):
  return data_settings(
    scenes_config.get_config(),
    source_dir=str(folder),
    data_dir=str(tmp_path / 'prepared'),
    image_size=(24, 32),
    mask_size=8,
    options=options,
  )


def records(settings, split='train'):
  builder = preparation.prepare(settings)
  return {
    record['image_id'].decode(): record for record in tfds.as_numpy(builder.as_dataset(split=split))
  }


def faults(folder):
  return scenes_file.check(folder)


def test_a_folder_without_faults(tmp_path):
  mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
  mask[5:35, 10:20] = 1
  starts = np.flatnonzero(np.diff(mask.ravel(order='F'), prepend=0, append=0))
  masks = [
    {'size': [HEIGHT, WIDTH], 'counts': np.diff(starts, prepend=0, append=mask.size).tolist()},
    {'size': [HEIGHT, WIDTH], 'counts': coco_mask.encode(mask)['counts'].decode()},
    [[10, 5, 20, 5, 20, 20, 10, 20], [10, 20, 20, 20, 20, 35, 10, 35]],
    'masks/grey.png',
    'masks/rgb.png',
    'masks/bit.png',
    'masks/deep.png',
  ]
  for name, mode in (('grey', 'L'), ('rgb', 'RGB'), ('bit', '1')):
    write_image(tmp_path / f'masks/{name}.png', mode, box=(10, 5, 20, 35))
  PIL.Image.fromarray(mask.astype(np.uint16)).save(tmp_path / 'masks/deep.png')
  objects = [{**DOG, 'mask': value} for value in masks]
  objects[0] |= {'name': ' big dog\t', 'attributes': ['brown', ' brown', 'old']}
  write_folder(
    tmp_path,
    '',
    line('images/a.png', *objects, relationships=[[0, 'on ', 1], [0, 'on', 1]]),
    '  ',
    line('images/b.png', split='val'),
  )

  source = Source(tmp_path)
  reading = scenes_file.read(
    source, b'\xef\xbb\xbf' + scenes_file.read_content(source).replace(b'\n', b'\r\n')
  )
  assert reading.faults == {} and faults(tmp_path) == []
  first, second = reading.scenes
  assert (first.file, first.split, first.width, first.height) == (
    'images/a.png',
    'train',
    WIDTH,
    HEIGHT,
  )
  assert (second.split, second.relationships, second.objects[0].mask) == ('val', (), None)
  assert first.objects[0].name == 'big dog' and first.objects[0].attributes == ('brown', 'old')
  assert first.relationships == ((0, 'on', 1),)
  for value in masks:
    np.testing.assert_array_equal(
      scenes_file.read_mask(source, value, WIDTH, HEIGHT), mask == 1, str(value)
    )


def test_decompresses_as_pycocotools(tmp_path):
  rng = np.random.default_rng(0)
  for share in (0.001, 0.3, 0.9, 1.0):
    mask = np.asfortranarray(rng.random((300, 200)) < share, np.uint8)
    runs = {'size': [300, 200], 'counts': coco_mask.encode(mask)['counts'].decode()}
    np.testing.assert_array_equal(
      scenes_file.read_mask(Source(tmp_path), runs, 200, 300), mask == 1
    )


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('{"file": ', 'not JSON: .* expected one object a line, like {'),
    ('[1, 2]', 'found .1, 2.; expected one object a line'),
    ('[' * 100_000, 'not usable JSON'),
    (
      line(colour='red'),
      'unknown key "colour"; expected one of file, objects, split, relationships',
    ),
    ({'objects': [DOG]}, '"file" is missing'),
    ({'file': 'images/0.png'}, '"objects" is missing'),
    (line(split='training'), '"split" is "training"; expected one of train, val, test'),
    (line(split=['train']), '"split" is .*; expected one of'),
    (line('nowhere.png'), '"file" is "nowhere.png", but there is no such file'),
    (line('scenes.jsonl'), '"file" is "scenes.jsonl", which is no image of a known format'),
    (line('cut.png'), '"file" is "cut.png", which is no whole image'),
    (line('turned.jpg'), 'stored turned or mirrored .EXIF orientation 6.; save it upright'),
    (line('../0.png'), 'expected a path inside the folder'),
    (line('/0.png'), 'expected a path inside the folder'),
    (line('images\\0.png'), 'expected a path inside the folder'),
    (line(7), '"file" is 7; expected the path'),
    ({'file': 'images/0.png', 'objects': []}, '"objects" is ..; expected a list of at least one'),
    (
      {'file': 'images/0.png', 'objects': 'dog'},
      '"objects" is "dog"; expected a list of at least one',
    ),
    (line('images/0.png', 'dog'), 'object 0: found "dog"; expected .*"name"'),
    (line('images/0.png', {'name': 'dog'}), 'object 0: "box" is missing'),
    (
      line('images/0.png', DOG, {**GRASS, 'bbox': 1}),
      'object 1: unknown key "bbox"; expected one of name, box, mask',
    ),
    (line('images/0.png', {**DOG, 'name': '  '}), 'object 0: "name" is "  "; expected a name'),
    (line('images/0.png', {**DOG, 'name': None}), 'object 0: "name" is null; expected a name'),
    (
      line('images/0.png', {**DOG, 'name': '__image__'}),
      'object 0: "name" is "__image__", which has a meaning',
    ),
    (
      line('images/0.png', {**DOG, 'name': 'NONE'}),
      'object 0: "name" is "NONE", which has a meaning',
    ),
    (line('images/0.png', {**DOG, 'name': 'a\u200bb'}), 'the odd character U.200B'),
    (line('images/0.png', {**DOG, 'name': 'a\nb'}), 'the odd character U.000A'),
    (line('images/0.png', {**DOG, 'name': 'a\ud800b'}), 'the odd character U.D800'),
    (line('images/0.png', {**DOG, 'name': 'caf\ufffd'}), 'the odd character U.FFFD'),
    (
      line('images/0.png', {**DOG, 'box': [1, 2, 3]}),
      'expected four numbers .x0, y0, x1, y1. in pixels',
    ),
    (line('images/0.png', {**DOG, 'box': [0, 0, 9, True]}), 'expected four numbers'),
    (line('images/0.png', {**DOG, 'box': [0, 0, 9, float('nan')]}), 'expected four numbers'),
    (
      line('images/0.png', {**DOG, 'box': [30, 5, 20, 30]}),
      'has no area; .* .not width and height.',
    ),
    (line('images/0.png', {**DOG, 'box': [10, 5, 10, 35]}), 'has no area'),
    (
      line('images/0.png', {**DOG, 'box': [10, 5, 61, 35]}),
      'reaches out of the image of 60x40 pixels',
    ),
    (line('images/0.png', {**DOG, 'box': [-1, 5, 30, 35]}), 'reaches out of the image'),
    (
      line('images/0.png', {**DOG, 'box': [0.1, 0.2, 0.5, 0.8]}),
      'expected pixels, not shares of the image',
    ),
    (line('images/0.png', {**DOG, 'mask': None}), '"mask" is null; expected .* leave it out'),
    (line('images/0.png', {**DOG, 'mask': []}), '"mask" is ..; expected'),
    (
      line('images/0.png', {**DOG, 'mask': 'no.png'}),
      '"mask" is "no.png", but there is no such file',
    ),
    (
      line('images/0.png', {**DOG, 'mask': 'cut.png'}),
      '"mask" is "cut.png", which is no whole image',
    ),
    (
      line('images/0.png', {**DOG, 'mask': 'small.png'}),
      'of 30x20 pixels; expected the size of the image, 60x40',
    ),
    (
      line('images/0.png', {**DOG, 'mask': 'clear.png'}),
      'of mode RGBA; expected grey or RGB without transparency',
    ),
    (line('images/0.png', {**DOG, 'mask': 'mask.jpg'}), 'a JPEG'),
    (line('images/0.png', {**DOG, 'mask': 'black.png'}), '"mask" is empty'),
    (
      line('images/0.png', {**DOG, 'mask': [[40, 0, 50, 0, 50, 10]]}),
      '"mask" has nothing inside of "box"',
    ),
    (line('images/0.png', {**DOG, 'mask': [[10, 5, 30, 5]]}), 'at least three corners'),
    (line('images/0.png', {**DOG, 'mask': [10, 5, 30, 5, 30, 10]}), 'the polygon 10; expected'),
    (
      line('images/0.png', {**DOG, 'mask': [[10, 5, 1e8, 5, 30, 35]]}),
      'the polygon .* out of the image',
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'counts': []}}),
      'expected {"size": .height, width., "counts": ...}',
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [60, 40], 'counts': [2400]}}),
      r'\[height, width\] = \[40, 60\]',
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': [9, 9]}}),
      'of 18 pixels together; expected 40',
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': [-1, 2401]}}),
      'expected (the )?lengths of runs',
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': [0.5]}}),
      'expected (the )?lengths of runs',
    ),
    (line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': 'P'}}), 'end too early'),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': '~'}}),
      "with other characters than COCO's",
    ),
    (
      line('images/0.png', {**DOG, 'mask': {'size': [40, 60], 'counts': ''}}),
      'which end too early',
    ),
    (
      line('images/0.png', {**DOG, 'attributes': 'brown'}),
      'object 0: "attributes" is "brown"; expected a list',
    ),
    (
      line('images/0.png', {**DOG, 'attributes': ['']}),
      'object 0: an attribute is ""; expected a name',
    ),
    (line(relationships={}), '"relationships" is {}; expected a list'),
    (
      line(relationships=[[0, 'on']]),
      'relationship 0: found .*; expected .subject index, "predicate"',
    ),
    (
      line(relationships=[[0, 'on', 1], [0, 'on', 2]]),
      'relationship 1: object index 2 is out of range; .* 2 objects',
    ),
    (line(relationships=[[-1, 'on', 0]]), 'relationship 0: subject index -1 is out of range'),
    (
      line(relationships=[[0, 'on', True]]),
      'relationship 0: the object is true; expected the index',
    ),
    (line(relationships=[[0, 'on', 0]]), 'relationship 0: .* relates object 0 to itself'),
    (
      line(relationships=[[0, '__in_image__', 1]]),
      'relationship 0: the predicate is "__in_image__", which has',
    ),
  ],
)
def test_names_each_fault_with_its_line(tmp_path, text, expected):
  write_image(tmp_path / 'cut.png')
  (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:-30])
  exif = PIL.Image.Exif()
  exif[0x0112] = 6
  write_image(tmp_path / 'turned.jpg', exif=exif)
  write_image(tmp_path / 'small.png', 'L', (30, 20))
  write_image(tmp_path / 'clear.png', 'RGBA')
  write_image(tmp_path / 'mask.jpg', 'L')
  write_image(tmp_path / 'black.png', 'L', box=(0, 0, 0, 0))
  write_image(tmp_path / 'images/0.png')
  write_folder(tmp_path, line('images/1.png'), line('images/2.png', split='val'), text)
  found = faults(tmp_path)
  assert len(found) == 1 and '\n' not in found[0]
  assert found[0].startswith('scenes.jsonl:3: ')
  found[0].encode()
  assert re.search(expected, found[0]), found[0]


def test_lists_everything_that_is_wrong(tmp_path):
  bad = {
    'file': 'nowhere.png',
    'split': 'x',
    'objects': [{'name': '', 'box': [3, 3, 2, 2]}, {**GRASS, 'area': 3}],
    'relationships': [[5, '', 0], [0, 'on', 5]],
  }
  write_folder(
    tmp_path, line('images/0.png'), bad, line('images/0.png', split='val'), line('./images//0.png')
  )
  with (tmp_path / 'scenes.jsonl').open('ab') as file:
    file.write(b'\xff\n')
  found = faults(tmp_path)
  assert [fault.split(': ')[0] for fault in found] == ['scenes.jsonl:2'] * 7 + [
    'scenes.jsonl:3',
    'scenes.jsonl:4',
    'scenes.jsonl:5',
    'scenes.jsonl',
  ]
  assert '"file" is "images/0.png", which line 1 describes already' in found[7]
  assert '"file" is "images/0.png", which line 1 describes already' in found[8]
  assert 'not text in UTF-8' in found[9]
  assert 'no good line is of split "val"' in found[10]


def test_no_file(tmp_path):
  with pytest.raises(
    UserError, match='scenes.jsonl: .* there is no such file; expected one JSON object a line'
  ):
    faults(tmp_path)
  with pytest.raises(
    UserError, match='scenes.jsonl: data.source_dir is .* choose the folder that has it'
  ):
    preparation.prepare(make_settings(tmp_path, tmp_path))


def scene(split='train', names=(), relationships=(), attributes=(), area=100.0):
  objects = tuple(
    ObjectDescription(name, (0, 0, 10, area / 10), None, tuple(attributes)) for name in names
  )
  return SceneDescription('', split, 100, 100, objects, tuple(relationships))


def options(**changes):
  values = {
    'min_object_area': 0.0,
    'min_objects': 1,
    'max_objects': 9,
    'min_object_instances': 1,
    'min_predicate_instances': 1,
    'min_attribute_instances': 1,
  }
  return OwnScenesOptions(**values | changes)


def test_vocabulary_is_of_the_train_split_most_common_first():
  selection = scenes.select(
    [
      scene(
        names=['cat', 'dog', 'bee'],
        relationships=[(0, 'near', 1), (1, 'above', 2), (0, 'by', 1)],
        attributes=['red'],
      ),
      scene(names=['dog'], attributes=['big', 'red']),
      scene(
        'val', ['yak', 'dog', 'cat'], [(0, 'near', 1), (2, 'by', 1), (1, 'over', 2)], ['green']
      ),
    ],
    options(),
  )
  assert selection.names.vocabulary.object_names == ('__image__', 'dog', 'bee', 'cat')
  assert selection.names.vocabulary.predicate_names == (*COCO_PREDICATES, 'by', 'near')
  assert list(selection.names.attribute_ids) == ['red', 'big']
  val = selection.scenes[2]
  assert [object_.name for object_ in val.objects] == ['dog', 'cat']
  assert val.relationships == ((1, 'by', 0),)  # places counted anew; what touches the yak is gone


def test_thresholds():
  found = scenes.select(
    [
      scene(names=['a', 'a', 'b'], relationships=[(0, 'on', 1), (1, 'below', 0)], attributes=['x']),
      scene(names=['a', 'c'], relationships=[(0, 'on', 1)]),
    ],
    options(min_object_instances=2, min_predicate_instances=2, min_attribute_instances=3),
  )
  assert found.names.vocabulary.object_names == ('__image__', 'a')
  assert found.names.vocabulary.predicate_names == COCO_PREDICATES
  assert found.scenes[0].relationships == ((1, 'below', 0),)  # known from geometry, however rare
  assert found.names.attribute_ids == {}


def test_every_name_is_common_enough_in_what_is_kept():
  # b is rare, which leaves the second scene too small, which makes c rare.
  found = scenes.select(
    [scene(names=['a', 'a', 'c']), scene(names=['c', 'b']), scene(names=['a', 'a'])],
    options(min_object_instances=2, min_objects=2),
  )
  assert found.names.vocabulary.object_names == ('__image__', 'a')
  assert [[object_.name for object_ in kept.objects] for kept in found.scenes] == [
    ['a', 'a'],
    ['a', 'a'],
  ]


def test_filters_sizes_and_numbers():
  found = scenes.select(
    [scene(names=['a'], area=200), scene(names=['b'], area=199), scene(names=['c'] * 3, area=500)],
    options(min_object_area=0.0199, max_objects=2),
  )
  assert found.names.vocabulary.object_names == ('__image__', 'a')


def test_record(tmp_path):
  boxed = {**DOG, 'mask': [[10, 5, 20, 5, 20, 35, 10, 35]], 'attributes': ['old', 'brown']}
  write_folder(
    tmp_path,
    line('images/0.png', boxed, GRASS, relationships=[[0, 'on', 1], [1, 'below', 0]]),
    line('images/1.png', {**DOG, 'attributes': ['brown']}, split='val'),
  )
  settings = make_settings(tmp_path, tmp_path)
  record = records(settings)['images/0.png']
  metadata = preparation.prepare(settings).info.metadata
  names = metadata['vocabulary']
  assert names['object_idx_to_name'] == ['__image__', 'dog', 'grass']
  assert names['pred_idx_to_name'] == [*COCO_PREDICATES, 'on']
  assert metadata['attribute_names'] == ['brown', 'old']
  assert (metadata['max_objects'], metadata['max_relations'], metadata['num_skipped_images']) == (
    2,
    2,
    0,
  )
  np.testing.assert_array_equal(record['image'], np.full((24, 32, 3), 255))
  np.testing.assert_array_equal(record['object_class'], [1, 2])
  np.testing.assert_allclose(
    record['boxes'], [[1 / 6, 1 / 8, 1 / 2, 7 / 8], [0, 1 / 2, 1, 1]], rtol=1e-6
  )
  np.testing.assert_array_equal(
    record['masks'][0], np.repeat([[1, 0]], 4, axis=1).repeat(8, axis=0)
  )
  np.testing.assert_array_equal(
    record['masks'][1], np.ones((8, 8))
  )  # none of its own: the whole box
  np.testing.assert_array_equal(record['relations'], [[0, 7, 1], [1, 4, 0]])
  np.testing.assert_array_equal(record['attributes'], [[0, 1], [0, 0]])
  assert list(records(settings, 'val')) == ['images/1.png']


@pytest.mark.parametrize('relations', ['geometric', 'mixed', 'stored'])
@pytest.mark.parametrize('with_mask', [True, False])
def test_batches(tmp_path, relations, with_mask):
  dog = {**DOG, 'mask': [[10, 5, 20, 5, 20, 35, 10, 35]]} if with_mask else DOG
  write_folder(
    tmp_path,
    line('images/0.png', dog, GRASS, relationships=[[0, 'on', 1]]),
    line('images/1.png', split='val'),
  )
  settings = make_settings(tmp_path, tmp_path)
  settings = settings.replace(relations=relations)
  builder = preparation.prepare(settings)
  assert ('masks' in builder.info.features) == with_mask
  batches = input_pipeline.training_batches(
    builder,
    settings,
    input_pipeline.stored_vocabulary(builder),
    batch_size=16,
    seed=0,
    first_step=0,
  )
  batch = next(batches)
  assert ('masks' in batch) == with_mask
  triples = batch['triples'][batch['triple_mask']]
  drawn = set(triples[triples[:, 1] > 0, 1].tolist())
  on, geometric = len(COCO_PREDICATES), set(range(1, len(COCO_PREDICATES)))
  assert (on in drawn) == (relations != 'geometric')
  assert bool(drawn & geometric) == (relations != 'stored')


def test_uses_the_good_lines_and_names_the_bad(tmp_path, monkeypatch):
  with_tfds = []  # which warns, too
  monkeypatch.setattr(logging, 'warning', lambda text, *values: with_tfds.append(text % values))
  (tmp_path / 'folder').mkdir()
  folder = write_folder(
    tmp_path / 'folder',
    line('images/0.png'),
    '{',
    line('nowhere.png', split='x'),
    line('images/1.png', split='val'),
    line('images/2.png', {'name': 'ant', 'box': [0, 0, 2, 2]}),
  )
  settings = make_settings(folder, tmp_path)
  assert list(records(settings)) == ['images/0.png']
  assert preparation.prepare(settings).info.metadata['num_skipped_images'] == 2
  said = [text for text in with_tfds if not text.startswith('Using custom data configuration')]
  assert said[0].startswith('Skipped scenes.jsonl:2: not JSON')
  assert said[1].startswith('Skipped scenes.jsonl:3: "split" is "x"') and said[1].endswith(
    '(and 1 more)'
  )
  assert said[2] == (
    'scenes.jsonl: 5 lines: 2 used (1 train, 1 val, 0 test), 2 with faults, 1 filtered out; 2 '
    'object '
    'names, 1 more filtered out.'
  )
  assert 'delete the prepared directory scenes/' in said[3]


def test_an_image_that_goes_after_the_lines_were_read_is_skipped(tmp_path, monkeypatch, caplog):
  folder = write_folder(
    tmp_path / 'folder', line(), line('images/1.png'), line('images/2.png', split='val')
  )
  maps = []

  def losing_an_image(function, items):
    maps.append(function)
    if len(maps) == 2:  # the first one reads the lines
      (folder / 'images/1.png').unlink()
    return parallel.ordered_map(function, items)

  monkeypatch.setattr(scenes.Scenes, 'ordered_map', staticmethod(losing_an_image))
  settings = make_settings(folder, tmp_path)
  assert list(records(settings)) == ['images/0.png']
  assert preparation.prepare(settings).info.metadata['num_skipped_images'] == 1
  assert 'Skipped images/1.png: cannot be used any more (' in caplog.text


@pytest.mark.parametrize(
  ('lines', 'options', 'expected'),
  [
    ([], {}, 'no line is usable'),
    (['{'], {}, 'no line is usable; .* --check'),
    ([line('images/0.png')], {}, 'no usable line is of split "val"'),
    ([line('images/0.png', split='val')], {}, 'no usable line is of split "train"'),
    (
      [line('images/0.png'), line('images/1.png', split='val')],
      {'min_objects': 3},
      'no scene of split "train" passes the filter; loosen .*min_objects',
    ),
    (
      [line('images/0.png')],
      {'min_object_instances': 0},
      'data.options.min_object_instances is 0, expected 1 or more',
    ),
    (
      [line('images/0.png')],
      {'min_objects': 5, 'max_objects': 4},
      'data.options.max_objects is 4, expected 5 or more, which is min_objects',
    ),
  ],
)
def test_nothing_to_prepare(tmp_path, lines, options, expected):
  write_folder(tmp_path, *lines)
  with pytest.raises(UserError, match=expected) as raised:
    preparation.prepare(make_settings(tmp_path, tmp_path, **options))
  assert '\n' not in str(raised.value)


def test_other_content_or_options_are_another_data_set(tmp_path):
  write_folder(tmp_path, line('images/0.png'), line('images/1.png', split='val'))
  settings = make_settings(tmp_path, tmp_path)
  directories = {str(scenes.make_builder(settings).data_dir)}
  for name, value in (
    ('min_object_area', 0.1),
    ('min_objects', 2),
    ('max_objects', 8),
    ('min_object_instances', 2),
    ('min_predicate_instances', 2),
    ('min_attribute_instances', 2),
  ):
    changed = make_settings(tmp_path, tmp_path, **{name: value})
    directories.add(str(scenes.make_builder(changed).data_dir))
  write_folder(tmp_path, line('images/0.png', DOG), line('images/1.png', split='val'))
  directories.add(str(scenes.make_builder(settings).data_dir))
  assert len(directories) == 8


def test_example(tmp_path):
  folder = ROOT / 'examples/scenes'
  assert faults(folder) == []
  settings = make_settings(folder, tmp_path)
  builder = preparation.prepare(settings)
  assert [input_pipeline.num_examples(builder, split) for split in scenes_file.SPLITS] == [7, 2, 1]
  kinds = {
    type(object_.get('mask'))
    for text in (folder / 'scenes.jsonl').read_text().splitlines()
    for object_ in json.loads(text)['objects']
  }
  assert kinds == {str, list, dict, type(None)}
  record = next(iter(records(settings).values()))
  assert record['masks'].any((1, 2)).all()

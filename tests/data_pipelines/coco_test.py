import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import coco, input_pipeline
from data_pipelines.scene_graph import UserError
from tests.data_pipelines import conftest

SHARED = pathlib.Path(__file__).parents[2] / '..' / 'shared'


def records(builder, split):
  return {int(record['image_id']): record for record in tfds.as_numpy(builder.as_dataset(split=split))}


def test_keeps_what_passes_the_filter_and_can_be_read(builder):
  expected = sorted(set(range(1, 15)) - {conftest.MISSING_IMAGE, conftest.TRUNCATED_IMAGE})
  assert sorted(records(builder, 'train')) == expected
  assert sorted(records(builder, 'val')) == [1, 2, 3, 4]
  assert sorted(records(builder, 'test')) == [5, 6]
  metadata = builder.info.metadata
  assert (metadata['num_skipped_images'], metadata['max_objects'], metadata['max_relations']) == (2, 4, 0)


def test_record(builder, coco_root):
  document = json.loads((coco_root / 'source/annotations/instances_train2017.json').read_text())
  record = records(builder, 'train')[1]
  things = [annotation for annotation in document['annotations'] if annotation['image_id'] == 1][:3]
  left, top, width, height = np.array([annotation['bbox'] for annotation in things]).T
  boxes = np.stack([left / 60, top / 40, (left + width) / 60, (top + height) / 40], 1)
  assert record['image'].shape == (*conftest.IMAGE_SIZE, 3)
  np.testing.assert_array_equal(record['object_class'], [1, 3, 1, 5])
  np.testing.assert_allclose(record['boxes'], np.concatenate([boxes, [[0, 0, 1, 0.5]]]), rtol=1e-6)
  # Each object fills its box, whichever of COCO's formats it comes in.
  np.testing.assert_array_equal(record['masks'], np.ones((4, 8, 8)))
  assert record['relations'].shape == (0, 3)


def test_vocabulary(builder):
  vocabulary = input_pipeline.stored_vocabulary(builder)
  assert vocabulary.object_names == ('__image__', 'person', 'NONE', 'car', 'NONE', 'sky', 'other')


def test_prepares_once_and_needs_no_source_afterwards(data_config, monkeypatch):
  monkeypatch.setattr(coco.CocoStuff, '_generate_examples', None)
  data_config.source_dir = 'nowhere'
  assert input_pipeline.num_examples(input_pipeline.prepare(data_config), 'train') == 12


def test_another_filter_is_another_data_set(data_config, builder):
  for name, value in (('include_other', True), ('min_object_area', 0.1), ('num_val', 2), ('min_objects', 2)):
    changed = data_config.copy_and_resolve_references()
    changed.options[name] = value
    assert coco.make_builder(changed).data_dir != builder.data_dir


def test_refuses_records_of_other_annotations(data_config, tmp_path):
  conftest.write_coco_files(tmp_path / 'other', num_train=6)
  data_config.source_dir = str(tmp_path / 'other')
  with pytest.raises(UserError, match='prepared from other annotation files than those in .*--config.data.data_dir'):
    input_pipeline.prepare(data_config)


def test_an_interruption_leaves_nothing_half_done(coco_root, tmp_path, monkeypatch):
  data_config = conftest.make_data_config(coco_root / 'source', tmp_path)
  read_image = coco.read_image

  def interrupted(path, image_size):
    if path.parent.name == 'val2017':
      raise KeyboardInterrupt
    return read_image(path, image_size)

  with monkeypatch.context() as patch:
    patch.setattr(coco, 'read_image', interrupted)
    with pytest.raises(KeyboardInterrupt):
      input_pipeline.prepare(data_config)
  assert not coco.make_builder(data_config).is_prepared()
  assert input_pipeline.num_examples(input_pipeline.prepare(data_config), 'val') == 4


def test_lists_every_missing_file(tmp_path):
  conftest.write_coco_files(tmp_path / 'source')
  missing = [tmp_path / 'source/annotations' / name for name in ('stuff_train2017.json', 'instances_val2017.json')]
  for path in missing:
    path.unlink()
  expected = f'^missing: {missing[0]}, {missing[1]}; expected COCO 2017 .* --config.data.source_dir$'
  with pytest.raises(UserError, match=expected):
    input_pipeline.prepare(conftest.make_data_config(tmp_path / 'source', tmp_path / 'prepared'))


def test_finds_the_images_where_the_zips_put_them(tmp_path):
  (tmp_path / 'train2017').mkdir()
  sources = coco.source_files(tmp_path)
  assert sources['train2017']['images'] == tmp_path / 'train2017'
  assert sources['val2017']['images'] == tmp_path / 'images/val2017'


@pytest.mark.parametrize(('damage', 'expected'), [
    (lambda text: text[:300], 'not whole JSON .* download or unzip it again'),
    (lambda text: '[]', 'not in the layout of COCO annotations .TypeError'),
    (lambda text: text.replace('"bbox"', '"box"'), "not in the layout of COCO annotations .KeyError: 'bbox'"),
    (lambda text: text.replace('"counts"', '"runs"'), 'image 1: the segmentation .* of category 5 is not usable'),
    (lambda text: text.replace('"image_id": ', '"image_id": 9'), 'no image passes the filter'),
])
def test_names_a_damaged_annotation_file(tmp_path, damage, expected):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  path = tmp_path / 'source/annotations/stuff_train2017.json'
  path.write_text(damage(path.read_text()))
  with pytest.raises(UserError, match=expected):
    input_pipeline.prepare(conftest.make_data_config(tmp_path / 'source', tmp_path / 'prepared'))


def test_reports_that_no_image_can_be_read(tmp_path):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  for path in (tmp_path / 'source/images/train2017').iterdir():
    path.write_bytes(b'')
  with pytest.raises(UserError, match='train2017: none of the 2 images that pass the filter could be read'):
    input_pipeline.prepare(conftest.make_data_config(tmp_path / 'source', tmp_path / 'prepared'))


@pytest.fixture(scope='module')
def mini_builder(tmp_path_factory):
  if not (SHARED / 'data/coco_mini').is_dir():
    pytest.skip('needs ../shared/data/coco_mini')
  data_config = conftest.make_data_config(SHARED / 'data/coco_mini', tmp_path_factory.mktemp('mini'))
  data_config.image_size, data_config.mask_size, data_config.options.num_val = (64, 64), 16, 1024
  return input_pipeline.prepare(data_config)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_equals_the_published_preprocessing(mini_builder, split):
  path = SHARED / f'golden/coco_mini_{split}.npz'
  if not path.exists():
    pytest.skip(f'needs ../shared/golden/{path.name}')
  golden = np.load(path)
  found = records(mini_builder, split)
  assert sorted(found) == sorted(golden['image_ids'])
  assert mini_builder.info.metadata['vocabulary'] == json.loads(str(golden['vocab_json']))

  ordered = [found[image_id] for image_id in golden['image_ids']]
  is_image = golden['object_class'] == 0  # the golden arrays hold __image__ too
  np.testing.assert_array_equal(
      [len(record['object_class']) + 1 for record in ordered], golden['num_objects_with_image'])
  np.testing.assert_array_equal(
      np.concatenate([record['object_class'] for record in ordered]), golden['object_class'][~is_image])
  np.testing.assert_allclose(
      np.concatenate([record['boxes'] for record in ordered]), golden['boxes_xyxy'][~is_image], atol=1e-6)

  shape = golden['masks_shape']
  golden_masks = np.unpackbits(golden['masks_packed'])[:np.prod(shape)].reshape(shape)[~is_image] == 1
  masks = np.concatenate([record['masks'] for record in ordered]) == 1
  union = (masks | golden_masks).sum((1, 2))
  overlap = (masks & golden_masks).sum((1, 2))
  assert np.mean(np.where(union > 0, overlap / np.maximum(union, 1), 1)) > 0.999

  images = np.stack([record['image'] for record in ordered[:6]]) / 255
  normalised = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  assert np.abs(normalised - golden['first_images']).mean() < 1e-5

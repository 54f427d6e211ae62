import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import preparation
from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import stuff
from data_pipelines.pipeline import images, input_pipeline
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from tests.data_pipelines import conftest
from tests.data_pipelines.settings import with_options

pytestmark = pytest.mark.slow

SHARED = pathlib.Path(__file__).parents[3] / '..' / 'shared'


def records(builder, split):
  return {
    int(record['image_id']): record for record in tfds.as_numpy(builder.as_dataset(split=split))
  }


def test_keeps_what_passes_the_filter_and_can_be_read(builder):
  expected = sorted(set(range(1, 15)) - {conftest.MISSING_IMAGE, conftest.TRUNCATED_IMAGE})
  assert sorted(records(builder, 'train')) == expected
  assert sorted(records(builder, 'val')) == [1, 2, 3, 4]
  assert sorted(records(builder, 'test')) == [5, 6]
  metadata = builder.info.metadata
  assert (metadata['num_skipped_images'], metadata['max_objects'], metadata['max_relations']) == (
    2,
    4,
    0,
  )


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


def test_prepares_once_and_needs_no_source_afterwards(settings, monkeypatch):
  monkeypatch.setattr(stuff.CocoStuff, '_generate_examples', None)
  assert (
    input_pipeline.num_examples(
      preparation.prepare(settings.replace(source_dir='nowhere')), 'train'
    )
    == 12
  )


def test_another_filter_is_another_data_set(settings, builder):
  data_dirs = {builder.data_dir}
  for name, value in (
    ('include_other', True),
    ('min_object_area', 0.1),
    ('num_val', 2),
    ('min_objects', 2),
    ('keep_crowds', False),
    ('stuff_whitelist', ('sky',)),
    ('stuff_whitelist', ('sky', 'other')),
    ('instance_whitelist', ('car',)),
  ):
    changed = with_options(settings, **{name: value})
    data_dirs.add(stuff.make_builder(changed).data_dir)
  assert len(data_dirs) == 9


def test_refuses_records_of_other_annotations(settings, tmp_path):
  conftest.write_coco_files(tmp_path / 'other', num_train=6)
  with pytest.raises(
    SettingsError, match='data.data_dir has .* prepared from other annotation files than those in'
  ):
    preparation.prepare(settings.replace(source_dir=str(tmp_path / 'other')))


def test_an_interruption_leaves_nothing_half_done(coco_root, tmp_path, monkeypatch):
  settings = conftest.make_settings(coco_root / 'source', tmp_path)
  read_image = images.read_image

  def interrupted(file, image_size):
    if 'val2017' in file.name:
      raise KeyboardInterrupt
    return read_image(file, image_size)

  with monkeypatch.context() as patch:
    patch.setattr(images, 'read_image', interrupted)
    with pytest.raises(KeyboardInterrupt):
      preparation.prepare(settings)
  assert not stuff.make_builder(settings).is_prepared()
  assert input_pipeline.num_examples(preparation.prepare(settings), 'val') == 4


def test_lists_every_missing_file_and_its_archive(tmp_path):
  conftest.write_coco_files(tmp_path / 'source')
  for name in ('stuff_train2017.json', 'instances_val2017.json'):
    (tmp_path / 'source/annotations' / name).unlink()
  (tmp_path / 'source/images/val2017').rename(tmp_path / 'val2017')
  expected = (
    '^data.source_dir is .*/source, which lacks annotations/stuff_train2017.json .in '
    'stuff_annotations_trainval2017.zip., '
    'annotations/instances_val2017.json .in annotations_trainval2017.zip., val2017/ .in '
    'val2017.zip.; '
    'expected COCO 2017: .* or choose another directory$'
  )
  with pytest.raises(UserError, match=expected):
    preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))


def test_reads_the_official_archives(coco_root, builder, tmp_path):
  conftest.zip_files(
    coco_root / 'source',
    tmp_path / 'source',
    {
      'annotations_trainval2017.zip': ('annotations/instances_*', 'annotations'),
      'stuff_annotations_trainval2017.zip': ('annotations/stuff_*', 'annotations'),
      'train2017.zip': ('images/train2017/*', 'train2017'),
      'val2017.zip': ('images/val2017/*', 'val2017'),
    },
  )
  zipped = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert dict(zipped.info.metadata) == dict(builder.info.metadata)
  for split in ('train', 'val', 'test'):
    found, expected = records(zipped, split), records(builder, split)
    assert list(found) == list(expected)
    for image_id, record in found.items():
      for name, value in record.items():
        np.testing.assert_array_equal(value, expected[image_id][name])


def write_id_lists(root, train_ids, val_ids):
  folder = root / 'annotations/deprecated-challenge2017'
  folder.mkdir()
  for part, image_ids in (('train', train_ids), ('val', val_ids)):
    (folder / f'{part}-ids.txt').write_text(''.join(f'{image_id}\n' for image_id in image_ids))


def test_trains_on_the_published_images_where_they_are_listed(tmp_path):
  conftest.write_coco_files(tmp_path / 'source')
  write_id_lists(tmp_path / 'source', [9, 2, 7, 999], [1, 3, 4, 5, 6])
  settings = conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared')
  builder = preparation.prepare(settings)
  assert sorted(records(builder, 'train')) == [2, 7, 9]
  assert sorted(records(builder, 'val')) == [1, 3, 4, 5] and sorted(records(builder, 'test')) == [6]
  # `auto` finds what it has prepared
  assert stuff.make_builder(settings.replace(source_dir='nowhere')).data_dir == builder.data_dir
  settings = with_options(settings, train_images='all')
  assert input_pipeline.num_examples(preparation.prepare(settings), 'train') == 12


def test_says_that_the_lists_of_the_published_images_are_missing(settings, tmp_path, caplog):
  settings = settings.replace(data_dir=str(tmp_path))
  preparation.prepare(settings)
  assert (
    'lacks annotations/deprecated-challenge2017/train-ids.txt (in stuff_annotations_trainval2017'
    in caplog.text
  )
  with pytest.raises(
    SettingsError,
    match='train-ids.txt, .*val-ids.txt .*; put .*; set data.options.train_images=all',
  ):
    preparation.prepare(with_options(settings, train_images='stuff40k'))
  with pytest.raises(
    SettingsError, match="train_images is 'some', expected one of auto, stuff40k, all"
  ):
    with_options(settings, train_images='some')


@pytest.mark.parametrize(
  ('ids', 'expected'),
  [
    (['a.jpg'], 'train-ids.txt: found "a.jpg"; expected the id of an image in each line'),
    ([], 'train-ids.txt: found ""; expected the id'),
    ([999], 'no image of train2017 passes the filter'),
  ],
)
def test_names_a_damaged_list(tmp_path, ids, expected):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  write_id_lists(tmp_path / 'source', ids, [1, 2])
  with pytest.raises(UserError, match=expected):
    preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))


def kept_classes(source_dir, **changes):
  """Classes of the objects of each training image that is kept."""
  options = conftest.make_settings(source_dir, source_dir).options.replace(**changes)
  annotations = coco_annotations.read(
    Source(source_dir),
    'annotations/instances_train2017.json',
    'annotations/stuff_train2017.json',
    options,
    None,
  )
  return {
    image.image_id: [object_.category_id for object_ in image.objects]
    for image in annotations.images
  }


def test_filters(coco_root, tmp_path):
  source = coco_root / 'source'
  assert kept_classes(source)[1] == [1, 3, 1, 5]
  assert kept_classes(source, instance_whitelist=('car',), min_objects=1)[1] == [3, 5]
  assert kept_classes(source, stuff_whitelist=('other',), min_objects=1)[1] == [1, 3, 1]
  assert kept_classes(source, stuff_whitelist=('other',), include_other=True)[1] == [1, 3, 1, 6]
  assert kept_classes(source, include_other=True)[1] == [1, 3, 1, 5, 6]
  assert kept_classes(source, min_object_area=0.4, min_objects=1)[1] == [5]
  assert sorted(kept_classes(source, min_objects=4)) == [1, 3, 5, 7, 9, 11, 13]
  assert sorted(kept_classes(source, max_objects=3)) == [2, 4, 6, 8, 10, 12, 14]
  with pytest.raises(
    UserError, match='options.stuff_whitelist has the unknown object name "car"; .* "sky"'
  ):
    kept_classes(source, stuff_whitelist=('car',))

  conftest.write_coco_files(tmp_path)
  change_annotations(
    tmp_path / 'annotations/instances_train2017.json',
    lambda annotations: annotations[0].update(iscrowd=1),
  )
  assert kept_classes(tmp_path) == kept_classes(source)
  assert kept_classes(tmp_path, keep_crowds=False)[1] == [3, 1, 5]


def change_annotations(path, change):
  document = json.loads(path.read_text())
  change(document['annotations'])
  path.write_text(json.dumps(document))


@pytest.mark.parametrize(
  ('change', 'kind', 'classes'),
  [
    (dict(bbox=[5, 5, 0, 20]), 'boxes without area, left out', [3, 1, 5]),
    (dict(bbox=[-5, -5, -20, -20]), 'boxes without area, left out', [3, 1, 5]),
    (dict(bbox=[60, 5, 20, 20]), 'boxes out of the frame, left out', [3, 1, 5]),
    (dict(bbox=[50, -10, 20, 20]), 'boxes that leave the frame, clipped to it', [1, 3, 1, 5]),
    (dict(bbox=[50, 10, 10.5, 20]), None, [1, 3, 1, 5]),
    (dict(segmentation=[]), 'objects whose mask has no pixel, left out', [3, 1, 5]),
    (dict(segmentation=[[1, 1, 2, 2]]), 'objects whose mask has no pixel, left out', [3, 1, 5]),
    (dict(image_id=77), 'annotations whose image is not listed, left out', [3, 1, 5]),
    (dict(category_id=77), 'objects of a category that is not listed, left out', [3, 1, 5]),
    (dict(id=4711), None, [1, 3, 1, 5]),
  ],
)
def test_uses_what_a_fault_leaves(tmp_path, caplog, change, kind, classes):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=1)
  change_annotations(
    tmp_path / 'source/annotations/instances_train2017.json',
    lambda annotations: annotations[0].update(change),
  )
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  record = records(builder, 'train')[1]
  assert builder.info.metadata['faults'] == ({kind: 1} if kind else {})
  assert (f'{kind}: 1' in caplog.text) == bool(kind)
  np.testing.assert_array_equal(record['object_class'], classes)
  assert record['boxes'].min() >= 0 and record['boxes'].max() <= 1 + 0.5 / 60
  if 'clipped' in str(kind):
    np.testing.assert_allclose(record['boxes'][0], [50 / 60, 0, 1, 0.25])


def test_an_image_that_empty_masks_leave_too_few_objects_is_skipped(tmp_path, caplog):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=1)
  change_annotations(
    tmp_path / 'source/annotations/instances_train2017.json',
    lambda annotations: [annotations[index].update(segmentation=[]) for index in (0, 1)],
  )
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert list(records(builder, 'train')) == [2] and builder.info.metadata['num_skipped_images'] == 1
  assert '000000000001.jpg: 2 of its 4 objects have an empty mask' in caplog.text


def test_the_first_of_those_with_one_id_is_used(tmp_path):
  conftest.write_coco_files(tmp_path, num_train=2)
  path = tmp_path / 'annotations/instances_train2017.json'
  document = json.loads(path.read_text())
  for index, annotation in enumerate(document['annotations']):
    annotation['id'] = index
  document['annotations'].append(document['annotations'][0] | {'category_id': 3})
  document['images'].append(document['images'][0] | {'width': 1, 'file_name': 'second.jpg'})
  path.write_text(json.dumps(document))
  assert kept_classes(tmp_path) == {1: [1, 3, 1, 5], 2: [1, 3, 5]}
  annotations = coco_annotations.read(
    Source(tmp_path),
    'annotations/instances_train2017.json',
    'annotations/stuff_train2017.json',
    conftest.make_settings(tmp_path, tmp_path).options,
    None,
  )
  assert annotations.images[0].file_name == '000000000001.jpg'
  assert sorted(annotations.faults.values()) == [1, 1] and all(
    'listed twice' in kind for kind in annotations.faults
  )


@pytest.mark.parametrize(
  ('damage', 'expected'),
  [
    (lambda text: text[:300], 'not whole JSON .* download or unzip it again'),
    (lambda text: '[]', 'not in the format of COCO annotations .TypeError'),
    (
      lambda text: text.replace('"bbox"', '"box"'),
      "not in the format of COCO annotations .KeyError: 'bbox'",
    ),
    (
      lambda text: text.replace('"counts"', '"runs"'),
      'image 1: the segmentation .* of category 5 is not usable',
    ),
    (
      lambda text: text.replace('"image_id": ', '"image_id": 9'),
      'no image of train2017 passes the filter',
    ),
  ],
)
def test_names_a_damaged_annotation_file(tmp_path, damage, expected):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  path = tmp_path / 'source/annotations/stuff_train2017.json'
  path.write_text(damage(path.read_text()))
  with pytest.raises(UserError, match=expected):
    preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))


def test_reports_that_no_image_can_be_read(tmp_path):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  for path in (tmp_path / 'source/images/train2017').iterdir():
    path.write_bytes(b'')
  with pytest.raises(
    UserError, match='none of the 2 images of train2017 that pass the filter could be read'
  ):
    preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))


@pytest.fixture(scope='module')
def mini_builder(tmp_path_factory):
  if not (SHARED / 'data/coco_mini').is_dir():
    pytest.skip('needs ../shared/data/coco_mini')
  settings = conftest.make_settings(SHARED / 'data/coco_mini', tmp_path_factory.mktemp('mini'))
  settings = settings.replace(image_size=(64, 64), mask_size=16)
  return preparation.prepare(with_options(settings, num_val=1024))


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
    [len(record['object_class']) + 1 for record in ordered], golden['num_objects_with_image']
  )
  np.testing.assert_array_equal(
    np.concatenate([record['object_class'] for record in ordered]),
    golden['object_class'][~is_image],
  )
  np.testing.assert_allclose(
    np.concatenate([record['boxes'] for record in ordered]),
    golden['boxes_xyxy'][~is_image],
    atol=1e-6,
  )

  shape = golden['masks_shape']
  golden_masks = (
    np.unpackbits(golden['masks_packed'])[: np.prod(shape)].reshape(shape)[~is_image] == 1
  )
  masks = np.concatenate([record['masks'] for record in ordered]) == 1
  union = (masks | golden_masks).sum((1, 2))
  overlap = (masks & golden_masks).sum((1, 2))
  assert np.mean(np.where(union > 0, overlap / np.maximum(union, 1), 1)) > 0.999

  images = np.stack([record['image'] for record in ordered[:6]]) / 255
  normalised = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  assert np.abs(normalised - golden['first_images']).mean() < 1e-5

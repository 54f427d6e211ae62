import json
import pathlib

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from data_pipelines import preparation
from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import builder as coco
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

  def interrupted(file, *sizes):
    if 'val2017' in file.name:
      raise KeyboardInterrupt
    return read_image(file, *sizes)

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
    (dict(id=4711, image_id='1', category_id='1'), None, [1, 3, 1, 5]),
    (dict(category_id=1.0), None, [1, 3, 1, 5]),
    (dict(category_id=True), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(image_id=None), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(bbox=[]), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(bbox=None), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(bbox=[0, 0, float('nan'), 20]), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(bbox=[0, 0, '20', 20]), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(segmentation=None), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(segmentation=[0, 0, 20, 0, 20, 20]), coco_annotations.BAD_ANNOTATIONS, [3, 1, 5]),
    (dict(segmentation=[[0, 0, 20, 0, 20, None]]), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation=[[0, 0, 20, 0, 20, 20, 5]]), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation=[[0, 0, 1e8, 0, 20, 20]]), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation={}), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation={'size': [60, 40], 'counts': [0, 2400]}), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation={'size': [40, 60], 'counts': [0, 2399]}), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation={'size': [40, 60], 'counts': [0, 2401]}), coco.BAD_MASKS, [3, 1, 5]),
    (dict(segmentation={'size': [40, 60], 'counts': 'nonsense'}), coco.BAD_MASKS, [3, 1, 5]),
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


def change_document(path, change):
  document = json.loads(path.read_text())
  change(document)
  path.write_text(json.dumps(document))


@pytest.mark.parametrize(
  ('change', 'kind', 'named'),
  [
    (lambda image: image.update(width=-1), coco_annotations.BAD_IMAGES, 'image 2: "width" is -1'),
    (lambda image: image.update(height=0), coco_annotations.BAD_IMAGES, 'image 2: "height" is 0'),
    (lambda image: image.pop('width'), coco_annotations.BAD_IMAGES, '"width" is missing'),
    (lambda image: image.update(file_name=7), coco_annotations.BAD_IMAGES, '"file_name" is 7'),
    (
      lambda image: image.update(file_name='../1.jpg'),
      coco_annotations.BAD_IMAGES,
      '"file_name" is "../1.jpg"',
    ),
  ],
)
def test_leaves_out_an_image_that_is_not_usable(tmp_path, caplog, change, kind, named):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=1)
  change_document(
    tmp_path / 'source/annotations/instances_train2017.json',
    lambda document: change(document['images'][1]),
  )
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert list(records(builder, 'train')) == [1]
  assert builder.info.metadata['faults'] == {kind: 1}
  assert named in caplog.text and 'boxes' not in caplog.text


def renumber(source, ids):
  """Gives the categories of the files other ids."""
  for path in (source / 'annotations').glob('*.json'):
    document = json.loads(path.read_text())
    for category in document['categories']:
      category['id'] = ids[category['id']]
    for annotation in document['annotations']:
      annotation['category_id'] = ids[annotation['category_id']]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
  'ids',
  [
    {1: 0, 3: 1, 5: 2, 6: 3},
    {1: 7_000_001, 3: 7_000_002, 5: 12_000_000, 6: 5},
    {1: 'a', 3: 'b', 5: 'c', 6: -1},
  ],
)
def test_ids_of_categories_are_keys(tmp_path, builder, ids):
  conftest.write_coco_files(tmp_path / 'source')
  renumber(tmp_path / 'source', ids)
  other = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  names = input_pipeline.stored_vocabulary(other).object_names
  assert names == ('__image__', 'person', 'car', 'sky', 'other')
  own_names = input_pipeline.stored_vocabulary(builder).object_names
  for image_id, record in records(other, 'val').items():
    expected = records(builder, 'val')[image_id]['object_class']
    assert [names[index] for index in record['object_class']] == [
      own_names[index] for index in expected
    ]


def test_categories_of_the_validation_images_are_found_by_name(tmp_path, caplog):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  path = tmp_path / 'source/annotations/instances_val2017.json'
  change_document(path, lambda document: document['categories'][1].update(name='dragon'))
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  (record,) = records(builder, 'val').values()
  np.testing.assert_array_equal(record['object_class'], [1, 1, 5])
  assert builder.info.metadata['faults'] == {coco.OTHER_CATEGORIES: 2}
  assert 'an object of category 3 of image 1' in caplog.text


def test_a_category_with_the_name_of_a_placeholder_is_left_out(tmp_path, caplog):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  for part in ('train', 'val'):
    path = tmp_path / f'source/annotations/instances_{part}2017.json'
    change_document(path, lambda document: document['categories'][1].update(name='__image__'))
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert 3 not in records(builder, 'train')[1]['object_class']
  assert builder.info.metadata['faults'][coco_annotations.BAD_CATEGORIES] == 2
  assert '"name" is "__image__", which has a meaning of its own here' in caplog.text


def test_pictures_in_folders_of_folders(tmp_path):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  for part in ('train2017', 'val2017'):
    folder = tmp_path / 'source/images' / part
    (folder / 'patch0').mkdir()
    for path in folder.glob('*.jpg'):
      path.rename(folder / 'patch0' / path.name)
    for kind in ('instances', 'stuff'):
      change_document(
        tmp_path / f'source/annotations/{kind}_{part}.json',
        lambda document: [
          image.update(file_name=f'patch0/{image["file_name"]}') for image in document['images']
        ],
      )
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert sorted(records(builder, 'train')) == [1, 2]


def test_a_picture_of_other_proportions_is_left_out(tmp_path, caplog):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=1)
  path = tmp_path / 'source/images/train2017/000000000002.jpg'
  with PIL.Image.open(path) as image:
    image.rotate(90, expand=True).save(path)
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert list(records(builder, 'train')) == [1]
  assert 'it has 40x60 pixels, but its annotations are of 60x40' in caplog.text


@pytest.mark.parametrize(
  ('encoding', 'expected'),
  [('utf-8-sig', None), ('utf-16', 'found UTF-16, not UTF-8; save it'), ('latin-1', 'not UTF-8')],
)
def test_encodings_of_annotation_files(tmp_path, encoding, expected):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=2)
  path = tmp_path / 'source/annotations/stuff_train2017.json'
  text = path.read_text().replace('"other"', '"\N{LATIN SMALL LETTER E WITH ACUTE}"')
  path.write_text(text, encoding=encoding)
  settings = conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared')
  if expected is None:
    assert sorted(records(preparation.prepare(settings), 'train')) == [1, 2]
  else:
    with pytest.raises(UserError, match=expected):
      preparation.prepare(settings)


def test_an_image_that_empty_masks_leave_too_few_objects_is_skipped(tmp_path, caplog):
  conftest.write_coco_files(tmp_path / 'source', num_train=2, num_val=1)
  change_annotations(
    tmp_path / 'source/annotations/instances_train2017.json',
    lambda annotations: [annotations[index].update(segmentation=[]) for index in (0, 1)],
  )
  builder = preparation.prepare(conftest.make_settings(tmp_path / 'source', tmp_path / 'prepared'))
  assert list(records(builder, 'train')) == [2] and builder.info.metadata['num_skipped_images'] == 1
  assert '000000000001.jpg: 2 of its 4 objects are not usable' in caplog.text


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
    (lambda text: '[]', r'not in the format of COCO annotations .found \[\]'),
    (
      lambda text: text.replace('"bbox"', '"box"'),
      'not in the format of COCO annotations .no entry of "annotations" is usable: .* "bbox" is '
      'missing',
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
  with pytest.raises(UserError, match="none of the 2 images of split 'train' could be used"):
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

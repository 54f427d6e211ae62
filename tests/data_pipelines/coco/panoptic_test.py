import collections
import json
import pathlib

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from data_pipelines import preparation
from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import builder as coco
from data_pipelines.coco import panoptic as coco_panoptic
from data_pipelines.coco.options import CocoOptions
from data_pipelines.configs import coco_panoptic64
from data_pipelines.pipeline import images, input_pipeline
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError
from tests.data_pipelines import conftest
from tests.data_pipelines.settings import data_settings

SHARED = pathlib.Path(__file__).parents[3] / '..' / 'shared'
CATEGORIES = [
  {'id': 1, 'name': 'person', 'isthing': 1},
  {'id': 184, 'name': 'tree-merged', 'isthing': 0},
  {'id': 187, 'name': 'sky-other-merged', 'isthing': 0},
]
# Id, category, box; the ids need all three channels. Stuff comes first in the file.
SEGMENTS = (
  (0x030201, 187, (0, 0, 60, 20)),
  (0x0000FF, 1, (10, 20, 20, 20)),
  (0x00FF00, 184, (30, 20, 30, 20)),
)
EVERYTHING = CocoOptions(
  train_images='all',
  instance_whitelist=(),
  stuff_whitelist=(),
  include_other=True,
  keep_crowds=True,
  min_object_area=0.02,
  min_objects=0,
  max_objects=10**6,
  num_val=1,
)


def write_panoptic_files(root):
  conftest.write_coco_files(root, num_train=2, num_val=1)
  for part, num_images in (('train2017', 2), ('val2017', 1)):
    path = root / 'annotations' / f'instances_{part}.json'
    images = json.loads(path.read_text())['images']
    folder = root / 'annotations' / f'panoptic_{part}'
    folder.mkdir()
    annotations = []
    for image_id in range(1, num_images + 1):
      ids = np.zeros((conftest.HEIGHT, conftest.WIDTH), np.int32)
      for segment_id, _, (left, top, width, height) in SEGMENTS:
        ids[top : top + height, left : left + width] = segment_id
      ids[20:30, 10:20] = 0  # nobody's, the top left quarter of the person
      pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
      PIL.Image.fromarray(pixels).save(folder / f'{image_id:012d}.png')
      segments = [
        {
          'id': segment_id,
          'category_id': category,
          'bbox': list(box),
          'iscrowd': int(category == 1),
        }
        for segment_id, category, box in SEGMENTS
      ]
      annotations.append(
        {'image_id': image_id, 'file_name': f'{image_id:012d}.png', 'segments_info': segments}
      )
    (root / f'annotations/panoptic_{part}.json').write_text(
      json.dumps({'images': images, 'annotations': annotations, 'categories': CATEGORIES})
    )
    path.unlink()
    (root / 'annotations' / f'stuff_{part}.json').unlink()


def make_settings(root, data_dir=None):
  return data_settings(
    coco_panoptic64.get_config(),
    source_dir=str(root / 'source'),
    data_dir=str(data_dir or root / 'prepared'),
    image_size=conftest.IMAGE_SIZE,
    mask_size=conftest.MASK_SIZE,
  )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp('panoptic')
  write_panoptic_files(root / 'source')
  return root


def records(builder, split):
  return {
    int(record['image_id']): record for record in tfds.as_numpy(builder.as_dataset(split=split))
  }


def test_record(root):
  builder = preparation.prepare(make_settings(root))
  record = records(builder, 'train')[2]
  np.testing.assert_array_equal(record['object_class'], [1, 187, 184])  # things first
  np.testing.assert_allclose(
    record['boxes'], [[1 / 6, 0.5, 0.5, 1], [0, 0, 1, 0.5], [0.5, 0.5, 1, 1]], rtol=1e-6
  )
  person = np.ones((8, 8))
  person[:4, :4] = 0
  np.testing.assert_array_equal(record['masks'], [person, np.ones((8, 8)), np.ones((8, 8))])
  names = input_pipeline.stored_vocabulary(builder).object_names
  assert len(names) == 188 and (names[1], names[2], names[184]) == ('person', 'NONE', 'tree-merged')
  assert builder.info.metadata['num_skipped_images'] == 0 and builder.info.metadata['faults'] == {}


@pytest.mark.parametrize('is_nested', [False, True])
def test_reads_the_official_archives(root, tmp_path, is_nested):
  source, target = root / 'source', tmp_path / 'source'
  for part in (coco.TRAIN, coco.VAL):
    conftest.zip_files(source, target, {f'{part}.zip': (f'images/{part}/*', part)})
    conftest.zip_files(
      source,
      target / 'annotations',
      {f'panoptic_{part}.zip': (f'annotations/panoptic_{part}/*', f'panoptic_{part}')},
    )
  conftest.zip_files(target, tmp_path / 'inner', {'pngs.zip': ('annotations/*.zip', 'annotations')})
  conftest.zip_files(
    source, target, {coco_panoptic.ARCHIVE: ('annotations/panoptic_*.json', 'annotations')}
  )
  if is_nested:
    for path in (target / 'annotations').iterdir():
      path.unlink()
    (tmp_path / 'inner/pngs.zip').rename(target / 'pngs.zip')
  settings = make_settings(tmp_path)
  found = records(preparation.prepare(settings), 'train')
  expected = records(preparation.prepare(make_settings(root)), 'train')
  assert sorted(found) == [1, 2]
  np.testing.assert_array_equal(found[1]['masks'], expected[1]['masks'])


def test_lists_every_missing_file_and_its_archive(tmp_path):
  write_panoptic_files(tmp_path / 'source')
  (tmp_path / 'source/annotations/panoptic_val2017').rename(tmp_path / 'elsewhere')
  (tmp_path / 'source/annotations/panoptic_train2017.json').unlink()
  with pytest.raises(
    UserError,
    match='^data.source_dir is .*, which lacks annotations/panoptic_train2017.json .in '
    'panoptic_annotations_'
    'trainval2017.zip., annotations/panoptic_val2017/ .in panoptic_anno.*.zip.; ',
  ):
    preparation.prepare(make_settings(tmp_path))


def test_names_what_is_wrong_with_pngs(tmp_path, caplog):
  write_panoptic_files(tmp_path / 'source')
  folder = tmp_path / 'source/annotations/panoptic_train2017'
  (folder / '000000000001.png').write_bytes((folder / '000000000001.png').read_bytes()[:60])
  builder = preparation.prepare(make_settings(tmp_path))
  assert list(records(builder, 'train')) == [2] and builder.info.metadata['num_skipped_images'] == 1
  assert 'Skipped train2017/000000000001.jpg: cannot be used (its PNG: ' in caplog.text

  settings = make_settings(tmp_path, tmp_path / 'prepared2')
  PIL.Image.new('RGB', (10, 10)).save(folder / '000000000001.png')
  (folder / '000000000002.png').unlink()
  with pytest.raises(UserError, match="none of the 2 images of split 'train' could be used"):
    preparation.prepare(settings)
  assert 'its PNG has 10x10 pixels, the annotations 60x40' in caplog.text
  assert '000000000002.png: no such file' in caplog.text


def test_filters_and_faults(tmp_path):
  write_panoptic_files(tmp_path)
  path = tmp_path / 'annotations/panoptic_train2017.json'
  document = json.loads(path.read_text())
  document['annotations'].append(document['annotations'][0] | {'segments_info': []})
  document['annotations'].append(document['annotations'][0] | {'image_id': 9})
  document['annotations'][1]['segments_info'][2]['bbox'] = [30, 20, 0, 20]
  path.write_text(json.dumps(document))

  def classes(**changes):
    annotations = coco_panoptic.read(
      Source(tmp_path), 'annotations/panoptic_train2017.json', EVERYTHING.replace(**changes), None
    )
    assert sorted(annotations.faults.values()) == [1, 1, 1]
    return {
      image.image_id: [object_.category_id for object_ in image.objects]
      for image in annotations.images
    }

  assert classes() == {1: [1, 187, 184], 2: [1, 187]}
  assert classes(min_objects=3) == {1: [1, 187, 184]}
  assert classes(keep_crowds=False) == {1: [187, 184], 2: [187]}
  assert classes(stuff_whitelist=('tree-merged',)) == {1: [1, 184], 2: [1]}
  with pytest.raises(
    UserError, match='instance_whitelist has the unknown object name "tree-merged"'
  ):
    classes(instance_whitelist=('tree-merged',))


def test_names_a_file_of_another_kind(tmp_path):
  conftest.write_coco_files(tmp_path)
  with pytest.raises(
    UserError, match="instances_train2017.json: not in the format of COCO.* 'isthing'"
  ):
    coco_panoptic.read(Source(tmp_path), 'annotations/instances_train2017.json', EVERYTHING, None)


@pytest.mark.parametrize('part', [coco.TRAIN, coco.VAL])
def test_agrees_with_the_reading_of_things_and_stuff(part):
  """The same photographs by both readings: every thing is there, and matched masks agree in 97 % of
  their union.
  """
  if not (SHARED / 'data/coco_mini').is_dir():
    pytest.skip('needs ../shared/data/coco_mini')
  source = Source(SHARED / 'data/coco_mini')
  stuff = coco_annotations.read(
    source, f'annotations/instances_{part}.json', f'annotations/stuff_{part}.json', EVERYTHING, None
  )
  panoptic = coco_panoptic.read(source, f'annotations/panoptic_{part}.json', EVERYTHING, None)
  last_thing = 91  # stuff has larger ids in both vocabularies
  stuff_images = {image.image_id: image for image in stuff.images}
  overlaps = []
  num_things, num_common = collections.Counter(), 0
  for image in panoptic.images:
    other = stuff_images[image.image_id]
    with coco_panoptic.open_segments(source, part, image) as file:
      segments = images.read_segments(file)
    classes, other_classes = (
      collections.Counter(
        object_.category_id for object_ in objects if object_.category_id <= last_thing
      )
      for objects in (image.objects, other.objects)
    )
    num_things += {'panoptic': classes.total(), 'stuff': other_classes.total()}
    num_common += (classes & other_classes).total()
    for object_ in image.objects:
      mask, name = (
        segments == object_.segmentation,
        panoptic.vocabulary.object_names[object_.category_id],
      )
      # "tree-merged" is "tree" there, but "ceiling-merged" is "ceiling-other".
      names = (name, name.removesuffix('-merged'), name.removesuffix('-merged') + '-other')
      masks = [
        other.mask(candidate)
        for candidate in other.objects
        if stuff.vocabulary.object_names[candidate.category_id] in names
      ]
      overlaps.append(
        max((np.sum(mask & match) / np.sum(mask | match) for match in masks), default=0)
      )
  assert num_common == num_things['panoptic'] >= 200
  # An instance that others hide is smaller, and may be too small, where no pixel is of two objects.
  assert num_things['stuff'] <= 1.01 * num_common
  assert np.mean(overlaps) >= 0.97 and len(overlaps) >= 380 and np.min(overlaps) > 0

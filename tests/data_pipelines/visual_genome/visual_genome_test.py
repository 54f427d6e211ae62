import json
import logging
import pathlib
import zipfile

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from data_pipelines import preparation
from data_pipelines.configs import vg64
from data_pipelines.pipeline import input_pipeline
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.visual_genome import annotations as visual_genome_annotations
from data_pipelines.visual_genome import builder as visual_genome
from data_pipelines.visual_genome.options import VisualGenomeOptions
from tests.data_pipelines.settings import data_settings, with_options

SHARED = pathlib.Path(__file__).parents[3] / '..' / 'shared'
WIDTH, HEIGHT = 60, 40
MISSING_IMAGE, TRUNCATED_IMAGE = 3, 4
NUM_IMAGES = {'train': 8, 'val': 3, 'test': 2}


def image_path(image_id):
  return f'VG_100K{"_2" if image_id % 2 else ""}/{image_id}.jpg'


def make_object(object_id, names, box, **further):
  left, top, width, height = box
  return {
    'object_id': object_id,
    'names': names,
    'x': left,
    'y': top,
    'w': width,
    'h': height,
    'synsets': [],
  } | further


def write_files(root):
  """13 images of the same scene: a cat (called a kitten), a dog on a mat, a too small flea, a name
  that is too rare.
  """
  rng = np.random.default_rng(0)
  documents = {file: [] for file in visual_genome_annotations.ANNOTATIONS}
  for image_id in range(1, sum(NUM_IMAGES.values()) + 1):
    path = root / image_path(image_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    if image_id != MISSING_IMAGE:
      PIL.Image.fromarray(pixels).save(path)
    if image_id == TRUNCATED_IMAGE:
      path.write_bytes(path.read_bytes()[:400])
    first = 10 * image_id
    objects = [
      make_object(first, ['pet', 'Kitten'], (6, 8, 24, 16)),
      make_object(first + 1, ['mat'], (0, 20, 60, 20)),
      make_object(first + 2, ['flea'], (5, 5, 2, 2)),
      make_object(first + 3, ['dog', 'mat'], (-6, 4, 36, 48)),
      make_object(first + 4, [f'thing {image_id}'], (0, 0, 30, 30)),
    ]
    attributes = [
      make_object(first, ['cat'], (0, 0, 1, 1), attributes=['soft', 'odd', 'grey']),
      make_object(first + 1, ['mat'], (0, 0, 1, 1)),
      make_object(first + 3, ['dog'], (0, 0, 1, 1), attributes=['grey']),
    ]
    relationships = [
      {
        'relationship_id': number,
        'predicate': predicate,
        'subject': {'object_id': first + subject},
        'object': {'object_id': first + object_},
      }
      for number, (subject, predicate, object_) in enumerate(
        [
          (3, ' ON a', 1),
          (0, 'on', 1),
          (2, 'on', 1),
          (0, 'bites', 3),
          (0, f'admires {image_id}', 1),
        ]
      )
    ]
    documents['image_data.json'].append(
      {
        'image_id': image_id,
        'url': f'https://cs.stanford.edu/people/rak248/{image_path(image_id)}',
        'width': WIDTH,
        'height': HEIGHT,
      }
    )
    documents['objects.json'].append({'image_id': image_id, 'objects': objects})
    documents['attributes.json'].append({'image_id': image_id, 'attributes': attributes})
    documents['relationships.json'].append({'image_id': image_id, 'relationships': relationships})
  ids = iter(range(1, 100))
  documents['splits.json'] = {
    split: [next(ids) for _ in range(count)] for split, count in NUM_IMAGES.items()
  }
  for file, document in documents.items():
    (root / file).write_text(json.dumps(document))
  (root / 'object_alias.txt').write_bytes(b'cat, Kitten ,kitty\r\n\r\nrug,carpet\r\n')
  (root / 'relationship_alias.txt').write_text('on,on a\n')


def make_settings(source_dir, data_dir):
  return data_settings(
    vg64.get_config(),
    source_dir=str(source_dir),
    data_dir=str(data_dir),
    image_size=(24, 32),
    options={
      'min_image_size': 40,
      'min_object_instances': 4,
      'min_attribute_instances': 4,
      'min_object_size': 8,
      'min_predicate_instances': 4,
    },
  )


def records(builder, split):
  return {
    int(record['image_id']): record for record in tfds.as_numpy(builder.as_dataset(split=split))
  }


def rewrite(path, change):
  document = json.loads(path.read_text())
  change(document)
  path.write_text(json.dumps(document))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp('visual_genome')
  write_files(root / 'source')
  preparation.prepare(make_settings(root / 'source', root / 'prepared'))
  return root


@pytest.fixture
def settings(root):
  return make_settings(root / 'source', root / 'prepared')


@pytest.fixture
def builder(settings):
  return preparation.prepare(settings)


@pytest.fixture
def files(tmp_path):
  """A source of its own for a test that damages it."""
  write_files(tmp_path / 'source')
  return tmp_path / 'source'


@pytest.fixture
def warnings(monkeypatch):
  """The warnings as text, one entry each."""
  texts = []
  monkeypatch.setattr(
    visual_genome_annotations.logging, 'warning', lambda text, *values: texts.append(text % values)
  )
  return texts


def test_keeps_what_can_be_read(builder):
  assert sorted(records(builder, 'train')) == [1, 2, 5, 6, 7, 8]
  assert sorted(records(builder, 'val')) == [9, 10, 11]
  assert sorted(records(builder, 'test')) == [12, 13]
  metadata = builder.info.metadata
  assert (metadata['num_skipped_images'], metadata['max_objects'], metadata['max_relations']) == (
    2,
    3,
    3,
  )


def test_vocabulary(builder):
  vocabulary = input_pipeline.stored_vocabulary(builder)
  # "mat" names two things of an image, and so comes first; "pet" and "cat" are as frequent as "dog"
  # and seen before.
  assert vocabulary.object_names == ('__image__', 'mat', 'pet', 'cat', 'flea', 'dog')
  assert vocabulary.predicate_names == ('__in_image__', 'on', 'bites')
  assert builder.info.metadata['attribute_names'] == ['grey', 'soft', 'odd']


def test_record(builder, root):
  record = records(builder, 'train')[1]
  assert 'masks' not in record
  np.testing.assert_array_equal(
    record['object_class'], [2, 1, 5]
  )  # each by the first of its names that is a class
  np.testing.assert_allclose(
    record['boxes'], [[0.1, 0.2, 0.5, 0.6], [0, 0.5, 1, 1], [0, 0.1, 0.5, 1]], rtol=1e-6
  )
  np.testing.assert_array_equal(record['relations'], [[2, 1, 1], [0, 1, 1], [0, 2, 2]])
  np.testing.assert_array_equal(record['attributes'], [[0, 1], [0, 2], [0, 0], [2, 0]])
  with PIL.Image.open(root / 'source' / image_path(1)) as image:
    expected = np.asarray(image.resize((32, 24), PIL.Image.Resampling.BILINEAR))
  np.testing.assert_array_equal(record['image'], expected)


def test_predicates_are_tidied_in_the_training_split_alone(builder):
  # As published: " ON a" is no known predicate elsewhere.
  np.testing.assert_array_equal(records(builder, 'val')[9]['relations'], [[0, 1, 1], [0, 2, 2]])


def test_reads_zip_archives(root, files):
  for file in visual_genome_annotations.ANNOTATIONS:
    with zipfile.ZipFile(files / f'{file}.zip', 'w') as archive:
      archive.write(files / file, file)
    (files / file).unlink()
  for folder, archive_name in visual_genome.IMAGE_FOLDERS.items():
    with zipfile.ZipFile(files / archive_name, 'w') as archive:
      for path in (files / folder).iterdir():
        archive.write(path, f'{folder}/{path.name}')
        path.unlink()
  (files / 'splits.json').rename(files / 'vg_splits.json')
  zipped = preparation.prepare(make_settings(files, files.parent / 'prepared'))
  unpacked = preparation.prepare(make_settings(root / 'source', root / 'prepared'))
  for split in NUM_IMAGES:
    expected, found = records(unpacked, split), records(zipped, split)
    assert sorted(found) == sorted(expected)
    for image_id, record in expected.items():
      for field, values in record.items():
        np.testing.assert_array_equal(found[image_id][field], values)


def test_skipped_images_are_named(files, caplog):
  with caplog.at_level(logging.WARNING):
    preparation.prepare(make_settings(files, files.parent / 'prepared'))
  text = caplog.text
  assert f'Skipped {files / image_path(MISSING_IMAGE)}: missing.' in text
  assert f'Skipped {files / image_path(TRUNCATED_IMAGE)}: cannot be used (' in text
  assert "skipped 2 of 8 images of split 'train'" in text


def test_filters_scenes_and_objects(settings, files):
  def scenes(**options):
    annotations = visual_genome_annotations.read(Source(files), settings.options.replace(**options))
    return list(annotations.scenes('train'))

  assert [len(scene.objects) for scene in scenes()] == [3] * 8
  assert [len(scene.objects) for scene in scenes(min_object_size=2)] == [4] * 8
  assert scenes(min_image_size=41) == scenes(min_objects=4) == []
  assert scenes(min_objects=2, max_objects=2) == []
  assert scenes(min_relations=4) == scenes(max_relations=2) == []


def test_prepares_once_and_needs_no_source_afterwards(settings, builder, monkeypatch):
  monkeypatch.setattr(visual_genome.VisualGenome, '_generate_examples', None)
  settings = settings.replace(source_dir='nowhere')
  assert input_pipeline.num_examples(preparation.prepare(settings), 'train') == 6


def test_every_option_makes_another_data_set(settings, builder):
  for name, value in settings.options:
    changed = with_options(settings, **{name: value + 1})
    assert visual_genome.make_builder(changed).data_dir != builder.data_dir, name


def test_refuses_records_of_other_annotations(settings, builder, files):
  (files / 'object_alias.txt').write_text('cat,puss\n')
  with pytest.raises(
    SettingsError, match='data.data_dir has .* prepared from other annotation files than those in'
  ):
    preparation.prepare(settings.replace(source_dir=str(files)))


def test_lists_every_missing_file(tmp_path):
  with pytest.raises(UserError) as error:
    visual_genome.make_builder(make_settings(tmp_path, tmp_path / 'prepared'))
  message = str(error.value)
  for name in (
    *visual_genome_annotations.ANNOTATIONS,
    *visual_genome_annotations.ALIASES,
    'splits.json or vg_splits',
    'VG_100K/ (images.zip)',
    'VG_100K_2/ (images2.zip)',
    'visualgenome.org',
    'sg2im/data/vg_splits.json',
  ):
    assert name in message
  assert '\n' not in message


@pytest.mark.parametrize(
  ('file', 'damage', 'expected'),
  [
    (
      'objects.json',
      lambda text: text[:300],
      'objects.json: not whole JSON .* download or unzip it again',
    ),
    ('relationships.json', lambda text: text[:-2], 'relationships.json: not whole JSON'),
    (
      'splits.json',
      lambda text: '[1, 2]',
      r'splits.json: found \[1, 2\] without a list "train"; expected {"train"',
    ),
    (
      'image_data.json',
      lambda text: text.replace('"url"', '"link"'),
      'image_data.json: not in the format .*image 1: "url" is null',
    ),
    (
      'image_data.json',
      lambda text: text.replace(': 60', ': "x"'),
      'image_data.json: not in the format .*image 1: "width" is "x", expected',
    ),
    (
      'objects.json',
      lambda text: '{"objects": []}',
      'objects.json is .*; expected a list of objects',
    ),
    (
      'objects.json',
      lambda text: text.replace('"names"', '"name"'),
      'objects.json: not in the format .*"names" of object 10 is null',
    ),
    ('attributes.json', lambda text: '[]', 'attributes.json: not in the format .*no attributes'),
    (
      'relationships.json',
      lambda text: text.replace('"subject"', '"actor"'),
      'relationships.json: not in the format .*the subject of relationship 0 is null',
    ),
    (
      'objects.json',
      lambda text: text.replace('"w": 24', '"w": 4'),
      "no image of split 'train' passes the filter",
    ),
  ],
)
def test_names_a_damaged_annotation_file(files, file, damage, expected):
  path = files / file
  path.write_text(damage(path.read_text()))
  settings = make_settings(files, files.parent / 'prepared')
  with pytest.raises(UserError, match=expected) as error:
    preparation.prepare(settings)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('file', 'damage', 'kinds', 'named'),
  [
    (
      'splits.json',
      lambda document: document['val'].append(99),
      {'images that are not in image_data.json, left out': 1},
      '(99)',
    ),
    (
      'splits.json',
      lambda document: document['val'].append([9]),
      {'images that are not in image_data.json, left out': 1},
      '([9])',
    ),
    (
      'splits.json',
      lambda document: document['val'].append(1),
      {'images that are named twice, of which the first is used': 1},
      '(1)',
    ),
    ('splits.json', lambda document: document.update(val=['9', 10.0, 11]), {}, ''),
    (
      'image_data.json',
      lambda document: document[12].update(width=-1),
      {'images that are not usable, left out': 1},
      'image 13: "width" is -1, expected',
    ),
    (
      'objects.json',
      lambda document: document[12]['objects'][4].pop('names'),
      {'objects that are not usable, left out': 1},
      'image 13: "names" of object 134 is null, expected a list of names',
    ),
    (
      'objects.json',
      lambda document: document[12]['objects'].append(make_object(5, ['mat'], (0, None, 9, 9))),
      {'objects that are not usable, left out': 1},
      'image 13: "y" of object 5 is null, expected',
    ),
    (
      'objects.json',
      lambda document: document[12]['objects'].append(make_object(5, ['NONE'], (0, 0, 9, 9))),
      {'objects that are not usable, left out': 1},
      'image 13: object 5 is called "NONE", which has a meaning here',
    ),
    (
      'attributes.json',
      lambda document: document[12].pop('attributes'),
      {'attributes of images that are not usable, left out': 1},
      'image 13: "attributes" is null, expected a list',
    ),
    (
      'attributes.json',
      lambda document: document.pop(12),
      {'images of which it says nothing': 1},
      'image 13',
    ),
    (
      'attributes.json',
      lambda document: document[12]['attributes'][0].update(attributes='grey'),
      {'attributes that are not usable, left out': 1},
      'image 13: "attributes" of object 130 is "grey", expected a list of names',
    ),
    (
      'relationships.json',
      lambda document: document[12]['relationships'][2].update(subject=3),
      {'relationships that are not usable, left out': 1},
      'image 13: the subject of relationship 2 is 3, expected an object',
    ),
    (
      'relationships.json',
      lambda document: document[12]['relationships'].insert(0, None),
      {'relationships that are not usable, left out': 1},
      'image 13: found null, expected a relationship',
    ),
  ],
)
def test_names_and_counts_what_is_not_usable(
  files, root, settings, warnings, file, damage, kinds, named
):
  rewrite(files / file, damage)
  damaged = visual_genome_annotations.read(Source(files), settings.options)
  assert dict(damaged.faults) == kinds
  assert sum(named in warning for warning in warnings) == len(kinds)
  sound = visual_genome_annotations.read(Source(root / 'source'), settings.options)
  assert damaged.vocabulary == sound.vocabulary
  for split in ('train', 'val'):
    assert list(damaged.scenes(split)) == list(sound.scenes(split))


def test_boxes_out_of_the_frame_stay_and_are_counted(files, caplog):
  rewrite(files / 'objects.json', lambda document: document[0]['objects'][0].update(x=-100, y=-100))
  builder = preparation.prepare(make_settings(files, files.parent / 'prepared'))
  assert builder.info.metadata['faults'] == {
    'boxes out of the frame, kept without area': 1,
    'boxes that leave the frame, clipped to it': 13,
  }
  assert 'kept without area: 1 (object 10 of image 1).' in caplog.text
  np.testing.assert_array_equal(records(builder, 'train')[1]['boxes'][0], 0)


def test_warns_of_repeated_ids(files, settings, warnings):
  rewrite(files / 'objects.json', lambda document: document.append(document[0]))
  rewrite(files / 'attributes.json', lambda document: document.extend(document[:2]))
  rewrite(
    files / 'objects.json',
    lambda document: document[1]['objects'].append(document[1]['objects'][0]),
  )
  annotations = visual_genome_annotations.read(Source(files), settings.options)
  assert warnings == [
    'objects.json: image 1 comes more than once, as do 1 in all; its last entry counts.',
    'objects.json: object 20 comes more than once, as do 1 in all; its last entry counts.',
    'attributes.json: image 1 comes more than once, as do 2 in all; its last entry counts.',
  ]
  assert len(list(annotations.scenes('train'))) == 8


def test_reports_an_archive_that_is_damaged(files, settings):
  with zipfile.ZipFile(files / 'aliases.zip', 'w') as archive:
    archive.write(files / 'object_alias.txt', 'object_alias.txt')
  (files / 'object_alias.txt').unlink()
  path = files / 'aliases.zip'
  path.write_bytes(path.read_bytes().replace(b'Kitten', b'kitten', 1))
  with pytest.raises(UserError, match='object_alias.txt: cannot be read .*; download it again'):
    visual_genome_annotations.read(Source(files), settings.options)


def test_aliases_with_damaged_characters(files, settings, warnings):
  (files / 'object_alias.txt').write_bytes(b'\xef\xbb\xbfcat,Kitten\nna\xefve,pet\n')
  annotations = visual_genome_annotations.read(Source(files), settings.options)
  assert 'cat' in annotations.vocabulary.object_names  # in spite of the byte order mark before it
  (warning,) = warnings
  assert warning.startswith(
    'object_alias.txt: line 2 is not UTF-8 and is read as "na\N{REPLACEMENT CHARACTER}ve,pet"'
  )


def test_reports_that_no_image_can_be_read(files):
  for folder in visual_genome.IMAGE_FOLDERS:
    for path in (files / folder).iterdir():
      path.write_bytes(b'')
  with pytest.raises(
    UserError, match="source: none of the 8 images of split 'train' could be used"
  ):
    preparation.prepare(make_settings(files, files.parent / 'prepared'))


def test_batches_without_masks(builder, settings):
  vocabulary = input_pipeline.stored_vocabulary(builder)
  settings = settings.replace(flip=True)
  batch = next(
    input_pipeline.training_batches(
      builder, settings, vocabulary, batch_size=6, seed=0, first_step=0
    )
  )
  assert 'masks' not in batch and batch['triples'].shape == (6, 39, 3)
  np.testing.assert_array_equal(
    batch['triples'][0, :6], [[3, 1, 2], [1, 1, 2], [1, 2, 3], [1, 0, 0], [2, 0, 0], [3, 0, 0]]
  )
  settings = settings.replace(relations='geometric')
  with pytest.raises(
    SettingsError,
    match="data.relations is 'geometric', .* has no predicate \"left of\", .* expected 'stored'",
  ):
    input_pipeline.training_batches(
      builder, settings, vocabulary, batch_size=6, seed=0, first_step=0
    )


def golden_options(settings):
  return VisualGenomeOptions(
    min_image_size=settings['min_image_size'],
    min_object_instances=settings['min_object_instances'],
    min_attribute_instances=settings['min_attribute_instances'],
    min_object_size=settings['min_object_size'],
    min_predicate_instances=settings['min_relationship_instances'],
    min_objects=settings['min_objects_per_image'],
    max_objects=settings['max_objects_per_image'],
    min_relations=settings['min_relationships_per_image'],
    max_relations=settings['max_relationships_per_image'],
  )


@pytest.fixture(scope='module')
def published():
  """The arrays of the published preprocessing, and what is read here of the same files."""
  path = SHARED / 'golden/vg_preprocess.npz'
  for needed in (path, SHARED / 'data/vg_mini'):
    if not needed.exists():
      pytest.skip(f'needs ../shared/{needed.relative_to(SHARED)}')
  golden = np.load(path)
  settings = json.loads(str(golden['settings_json']))
  return golden, visual_genome_annotations.read(
    Source(SHARED / 'data/vg_mini'), golden_options(settings)
  )


def test_vocabulary_equals_the_published_preprocessing(published):
  golden, annotations = published
  names, expected = annotations.vocabulary.to_dict(), json.loads(str(golden['vocab_json']))
  assert list(annotations.attribute_names) == expected.pop('attribute_idx_to_name')
  del expected['attribute_name_to_idx']  # the same once more
  assert names == expected


@pytest.mark.parametrize('split', visual_genome_annotations.SPLITS)
def test_equals_the_published_preprocessing(published, split):
  golden, annotations = published
  scenes = list(annotations.scenes(split))

  def padded(rows, width, *shape):
    """int32[len(rows), width, *shape], filled up with -1."""
    result = np.full((len(rows), width, *shape), -1, np.int32)
    for index, row in enumerate(rows):
      if row:
        result[index, : len(row)] = row
    return result

  objects, relations = [scene.objects for scene in scenes], [scene.relations for scene in scenes]
  found = {
    'image_ids': np.array([scene.image_id for scene in scenes], np.int32),
    'image_paths': np.array([scene.path for scene in scenes]),
    'objects_per_image': np.array([len(row) for row in objects], np.int32),
    'relationships_per_image': np.array([len(row) for row in relations], np.int32),
    'object_ids': padded([[object_.object_id for object_ in row] for row in objects], 30),
    'object_names': padded([[object_.class_id for object_ in row] for row in objects], 30),
    'object_boxes': padded([[object_.box for object_ in row] for row in objects], 30, 4),
    'attributes_per_object': padded(
      [[len(object_.attribute_ids) for object_ in row] for row in objects], 30
    ),
    'object_attributes': padded([object_.attribute_ids for row in objects for object_ in row], 30),
    'relationship_ids': padded(
      [[relation.relationship_id for relation in row] for row in relations], 30
    ),
    'relationship_subjects': padded(
      [[relation.subject for relation in row] for row in relations], 30
    ),
    'relationship_predicates': padded(
      [[relation.predicate_id for relation in row] for row in relations], 30
    ),
    'relationship_objects': padded(
      [[relation.object for relation in row] for row in relations], 30
    ),
  }
  assert {f'{split}/{name}' for name in found} == {
    name for name in golden.files if name.startswith(split)
  }
  for name, values in found.items():
    expected = golden[f'{split}/{name}']
    assert (values.shape, values.dtype.kind) == (expected.shape, expected.dtype.kind), name
    np.testing.assert_array_equal(values, expected, err_msg=name)

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import preparation
from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs import geometry
from data_pipelines.scene_graphs.errors import SettingsError, UserError
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from tests.data_pipelines import conftest

pytestmark = pytest.mark.slow

NUM_TRAIN = 12
FIELDS = {'object_class', 'object_mask', 'triples', 'triple_mask', 'boxes', 'masks', 'image'}


def training_batches(builder, settings, count, vocabulary=None, **options):
  vocabulary = vocabulary or input_pipeline.stored_vocabulary(builder)
  options = {'batch_size': 5, 'seed': 0, 'first_step': 0} | options
  return list(
    itertools.islice(
      input_pipeline.training_batches(builder, settings, vocabulary, **options), count
    )
  )


def rows(batches, field='image'):
  return np.concatenate([batch[field] for batch in batches])


def identities(batches):
  return [image.tobytes() for image in rows(batches)]


def assert_equal_batches(first, second):
  assert len(first) == len(second)
  for one, other in zip(first, second, strict=True):
    assert one.keys() == other.keys() == FIELDS
    for field in FIELDS:
      np.testing.assert_array_equal(one[field], other[field], err_msg=field)


def store_relations(builder, monkeypatch, stored):
  """Gives every record the relation_ops."""
  deserialize = builder.info.features.deserialize_example
  monkeypatch.setitem(builder.info.metadata, 'max_relations', len(stored))
  monkeypatch.setattr(
    builder.info.features,
    'deserialize_example',
    lambda record: deserialize(record) | {'relations': tf.constant(stored)},
  )


def store_attributes(builder, monkeypatch, stored, names):
  """Gives every record these attributes."""
  deserialize = builder.info.features.deserialize_example
  monkeypatch.setitem(builder.info.metadata, 'attribute_names', names)
  monkeypatch.setattr(
    builder.info.features,
    'deserialize_example',
    lambda record: deserialize(record) | {'attributes': tf.constant(stored)},
  )


def test_attributes_have_slots(builder, settings, monkeypatch):
  names = ['left-facing', 'red', 'right-facing']
  store_attributes(builder, monkeypatch, [[1, 2], [-1, 1], [1, 0], [1, 1], [0, 0]], names)
  settings = settings.replace(max_attributes=2)
  for batch in training_batches(builder, settings, 2):
    assert batch['attributes'].dtype == np.int32 and batch['attributes'].shape == (5, 6, 2)
    # Of the image, of the first and of the second object, whose third attribute has no slot.
    expected = [[2, 0], [1, 0], [3, 1], [0, 0], [0, 0], [0, 0]]
    np.testing.assert_array_equal(batch['attributes'], [expected] * 5)
  # A mirrored object faces the other way.
  seen = rows(training_batches(builder, settings.replace(flip=True), 4), 'attributes')
  assert {tuple(map(tuple, slots[1:3])) for slots in seen} == {
    ((1, 0), (3, 1)),
    ((3, 0), (1, 3)),
  }
  # Ids are the model's; one without attributes gets none.
  stored = input_pipeline.stored_vocabulary(builder)
  other = dataclasses.replace(stored, attribute_names=('red', 'right-facing', 'left-facing'))
  (batch,) = training_batches(builder, settings, 1, other)
  np.testing.assert_array_equal(batch['attributes'][0, :3], [[1, 0], [3, 0], [2, 3]])
  (batch,) = training_batches(builder, settings, 1, stored.without_attributes())
  assert 'attributes' not in batch


def test_attributes_stay_with_subsampled_objects(builder, settings, monkeypatch):
  stored = [[-1, 0], *([index, index + 1] for index in range(3))]
  store_attributes(builder, monkeypatch, stored, list('abcd'))
  settings = settings.replace(subsample=True, max_objects=4, max_attributes=1, max_triples=12)
  plain = settings.replace(subsample=False, max_objects=6)
  whole = rows(training_batches(builder, plain, 3), 'boxes')
  for row, batch in enumerate(training_batches(builder, settings, 3)):
    for index, (boxes, slots) in enumerate(zip(batch['boxes'], batch['attributes'])):
      assert slots[0] == 1
      for box, (slot,) in zip(boxes[1:], slots[1:]):
        if slot:
          np.testing.assert_array_equal(whole[5 * row + index][slot - 1], box)


def test_shapes_and_dtypes(builder, settings):
  (batch,) = training_batches(builder, settings, 1)
  height, width = conftest.IMAGE_SIZE
  found = {field: (values.dtype.name, values.shape) for field, values in batch.items()}
  assert found == {
    'object_class': ('int32', (5, 6)),
    'object_mask': ('bool', (5, 6)),
    'triples': ('int32', (5, 10, 3)),
    'triple_mask': ('bool', (5, 10)),
    'boxes': ('float32', (5, 6, 4)),
    'masks': ('uint8', (5, 6, 8, 8)),
    'image': ('uint8', (5, height, width, 3)),
  }


def test_slots_of_a_batch(builder, settings):
  names = input_pipeline.stored_vocabulary(builder)
  for batch in training_batches(builder, settings, 5):
    num_objects = batch['object_mask'].sum(1) - 1
    np.testing.assert_array_equal(batch['object_mask'], np.arange(6) <= num_objects[:, None])
    assert np.all(batch['object_class'][:, 0] == 0) and np.all(batch['object_class'][:, 1:3] > 0)
    assert np.all(batch['boxes'][:, 0] == [0, 0, 1, 1]) and np.all(batch['masks'][:, 0] == 1)
    for field in ('object_class', 'boxes', 'masks'):
      assert np.all(batch[field][~batch['object_mask']] == 0)
    assert np.all(batch['triples'][~batch['triple_mask']] == 0)
    for row, count in enumerate(num_objects):
      triples = batch['triples'][row][batch['triple_mask'][row]]
      drawn, in_image = triples[:count], triples[count:]
      np.testing.assert_array_equal(in_image, [(index, 0, 0) for index in range(1, count + 1)])
      centres = geometry.mask_centres(batch['boxes'][row], batch['masks'][row])
      for subject, predicate, object_ in drawn:
        expected = geometry.geometric_predicate(
          batch['boxes'][row, subject],
          batch['boxes'][row, object_],
          centres[subject],
          centres[object_],
        )
        assert names.predicate_names[predicate] == GEOMETRIC_PREDICATES[expected]


def test_every_epoch_holds_every_example_in_another_order(builder, settings):
  visits = identities(training_batches(builder, settings, 6, batch_size=4))
  first, second = visits[:NUM_TRAIN], visits[NUM_TRAIN:]
  assert len(set(first)) == NUM_TRAIN
  assert set(first) == set(second) and first != second
  other = identities(training_batches(builder, settings, 3, batch_size=4, seed=1))
  assert set(other) == set(first) and other != first


def test_relations_are_drawn_anew_at_each_visit(builder, settings):
  batches = training_batches(builder, settings, 6, batch_size=4)
  visits = {}
  for image, triples in zip(identities(batches), rows(batches, 'triples'), strict=True):
    visits.setdefault(image, []).append(triples.tobytes())
  assert sum(first != second for first, second in visits.values()) > NUM_TRAIN / 2


@pytest.mark.parametrize(
  ('first_step', 'shuffle_buffer'), [(1, 100), (2, 100), (12, 100), (17, 100), (17, 5)]
)
def test_a_restart_continues_with_the_next_batch(
  builder, settings, monkeypatch, first_step, shuffle_buffer
):
  # Batches of 5 of 12 examples: steps 1, 2 and 17 begin in the middle of an epoch, 12 at its start;
  # 2 spans two.
  monkeypatch.setattr(input_pipeline, 'SHUFFLE_BUFFER', shuffle_buffer)
  settings = settings.replace(flip=True)
  whole = training_batches(builder, settings, first_step + 4)
  assert_equal_batches(
    training_batches(builder, settings, 4, first_step=first_step), whole[first_step:]
  )


def test_shards_one_after_the_other_are_the_whole_batch(builder, settings):
  names = input_pipeline.stored_vocabulary(builder)

  def train(**options):
    return training_batches(builder, settings, 3, batch_size=6, first_step=1, **options)

  def evaluate(
    **options,
  ):  # of 9 examples: in the last batch the second shard begins with one and ends in padding
    return list(
      input_pipeline.evaluation_batches(
        builder, settings, names, split='train', batch_size=6, seed=0, num_examples=9, **options
      )
    )

  settings = settings.replace(flip=True)
  for make in (train, evaluate):
    shards = [make(shard_index=index, num_shards=3) for index in range(3)]
    joined = [
      {field: rows(parts, field) for field in FIELDS} for parts in zip(*shards, strict=True)
    ]
    assert_equal_batches(joined, make())


def test_flip_mirrors_images_boxes_and_masks(builder, settings):
  plain = training_batches(builder, settings, 8)
  settings = settings.replace(flip=True)
  flipped = training_batches(builder, settings, 8)
  is_flipped = np.any(rows(plain) != rows(flipped), axis=(1, 2, 3))
  assert 0.2 < is_flipped.mean() < 0.8
  np.testing.assert_array_equal(rows(flipped)[is_flipped], rows(plain)[is_flipped][:, :, ::-1])
  for field in ('boxes', 'masks', 'image'):
    np.testing.assert_array_equal(
      rows(flipped, field)[~is_flipped], rows(plain, field)[~is_flipped]
    )
  before, after = rows(plain, 'boxes')[is_flipped], rows(flipped, 'boxes')[is_flipped]
  real = rows(plain, 'object_mask')[is_flipped]
  np.testing.assert_allclose(
    after[real],
    np.stack(
      [1 - before[real][:, 2], before[real][:, 1], 1 - before[real][:, 0], before[real][:, 3]], 1
    ),
  )
  assert np.all(after[~real] == 0)
  np.testing.assert_array_equal(
    rows(flipped, 'masks')[is_flipped], rows(plain, 'masks')[is_flipped][..., ::-1]
  )


@pytest.mark.parametrize('num_shards', [1, 2])
def test_evaluation_visits_every_example_once(builder, settings, num_shards):
  settings = settings.replace(flip=True)  # of training alone
  batches = [
    list(
      input_pipeline.evaluation_batches(
        builder,
        settings,
        input_pipeline.stored_vocabulary(builder),
        split='train',
        batch_size=8,
        seed=0,
        shard_index=index,
        num_shards=num_shards,
      )
    )
    for index in range(num_shards)
  ]
  assert [len(shard) for shard in batches] == [2] * num_shards
  merged = [batch for shard in batches for batch in shard]
  real = rows(merged, 'object_mask')[:, 0]
  assert real.sum() == NUM_TRAIN and len(real) == 16
  settings = settings.replace(flip=False)
  trained = identities(training_batches(builder, settings, 3, batch_size=4))
  assert sorted(np.array(identities(merged), object)[real]) == sorted(trained)
  for field in FIELDS:
    assert np.all(rows(merged, field)[~real] == 0)


def test_evaluation_is_fixed_and_can_be_cut_short(builder, settings):
  def evaluation_batches(**options):
    return list(
      input_pipeline.evaluation_batches(
        builder,
        settings,
        input_pipeline.stored_vocabulary(builder),
        split='val',
        batch_size=2,
        seed=3,
        **options,
      )
    )

  assert_equal_batches(evaluation_batches(), evaluation_batches())
  assert_equal_batches(evaluation_batches(num_examples=2), evaluation_batches()[:1])
  assert len(evaluation_batches(num_examples=99)) == 2


def test_stored_relations_follow_the_flip(builder, settings, monkeypatch):
  names = input_pipeline.stored_vocabulary(builder)
  left, right, above = (names.predicate_id(name, '') for name in ('left of', 'right of', 'above'))
  store_relations(builder, monkeypatch, [[0, left, 1], [1, right, 0], [1, above, 0]])
  settings = settings.replace(relations='stored')
  plain = training_batches(builder, settings, 8)
  assert np.all(rows(plain, 'triples')[:, :3] == [[1, left, 2], [2, right, 1], [2, above, 1]])
  settings = settings.replace(flip=True)
  flipped = training_batches(builder, settings, 8)
  is_flipped = np.any(rows(plain) != rows(flipped), axis=(1, 2, 3))
  assert np.all(
    rows(flipped, 'triples')[is_flipped, :3] == [[1, right, 2], [2, left, 1], [2, above, 1]]
  )

  settings = settings.replace(relations='mixed')
  mixed = rows(training_batches(builder, settings, 40), 'triples')[:, 1]  # of the object in slot 2
  share = np.mean(np.all(mixed == [2, above, 1], axis=-1))
  assert 0.2 < share < 0.8


def test_without_relations_objects_are_in_the_image_and_no_more(builder, settings):
  settings = settings.replace(relations='none', max_triples=4)
  for batch in training_batches(builder, settings, 3):
    num_objects = batch['object_mask'].sum(1) - 1
    np.testing.assert_array_equal(batch['triple_mask'], np.arange(4) < num_objects[:, None])
    expected = np.zeros((4, 3), int)
    expected[:, 0] = np.arange(1, 5)
    np.testing.assert_array_equal(
      batch['triples'], np.where(batch['triple_mask'][..., None], expected, 0)
    )


def test_subsampled_visits(builder, settings, monkeypatch):
  # Records have 3 or 4 objects, of which 1 and 2 are related; a visit keeps these and one of the
  # others.
  store_relations(builder, monkeypatch, [[2, 5, 1], [1, 4, 2], [2, 5, 1], [1, 3, 2]])
  settings = settings.replace(relations='stored')
  (whole,) = training_batches(builder, settings, 1, batch_size=NUM_TRAIN)
  settings = settings.replace(subsample=True, max_objects=4, max_triples=5)
  epochs = training_batches(builder, settings, 4, batch_size=NUM_TRAIN)
  by_image = dict(zip(identities([whole]), range(NUM_TRAIN)))
  left_out = {}
  for batch in epochs:
    assert np.all(batch['object_mask']) and batch['masks'].shape == (NUM_TRAIN, 4, 8, 8)
    assert np.all(batch['boxes'][:, 0] == [0, 0, 1, 1]) and np.all(batch['object_class'][:, 0] == 0)
    assert np.all(batch['triple_mask']) and np.all(batch['triples'][:, 2:, 1] == 0)
    for row, image in enumerate(identities([batch])):
      original = by_image[image]
      slots = [
        next(slot for slot in range(1, 6) if np.all(whole['boxes'][original, slot] == box))
        for box in batch['boxes'][row, 1:]
      ]
      assert slots == sorted(slots) and {2, 3} <= set(slots)
      np.testing.assert_array_equal(
        batch['object_class'][row, 1:], whole['object_class'][original, slots]
      )
      np.testing.assert_array_equal(batch['masks'][row, 1:], whole['masks'][original, slots])
      if whole['object_mask'][original].sum() == 5:
        left_out.setdefault(image, []).append(slots)
      for subject, predicate, object_ in batch['triples'][row, :2]:  # two of the four relations
        assert (slots[subject - 1], predicate, slots[object_ - 1]) in {
          (3, 5, 2),
          (2, 4, 3),
          (2, 3, 3),
        }
  assert left_out and any(len(set(map(tuple, visits))) > 1 for visits in left_out.values())
  # A restart draws the same, evaluation the same whenever it is asked.
  assert_equal_batches(
    training_batches(builder, settings, 2, batch_size=NUM_TRAIN, first_step=2), epochs[2:]
  )
  first, second = (
    list(
      input_pipeline.evaluation_batches(
        builder,
        settings,
        input_pipeline.stored_vocabulary(builder),
        split='train',
        batch_size=5,
        seed=0,
      )
    )
    for _ in range(2)
  )
  assert_equal_batches(first, second)


@pytest.mark.parametrize(
  ('kind', 'max_triples'), [('none', 3), ('geometric', 6), ('mixed', 6), ('stored', 3)]
)
def test_subsampled_visits_fit_the_slots(builder, settings, monkeypatch, kind, max_triples):
  store_relations(builder, monkeypatch, [[2, 5, 1]] * 7)
  settings = settings.replace(subsample=True, max_objects=4, relations=kind)
  settings = settings.replace(max_triples=max_triples)
  for batch in training_batches(builder, settings, 2):
    assert batch['triples'].shape == (5, max_triples, 3)
    in_image = (batch['triples'][..., 1] == 0) & batch['triple_mask']
    np.testing.assert_array_equal(in_image.sum(1), 3)
  settings = settings.replace(max_triples=max_triples - 1)
  with pytest.raises(
    SettingsError, match=f'data.max_triples is {max_triples - 1}, .* need {max_triples} slots'
  ):
    training_batches(builder, settings, 1)


def test_a_vocabulary_without_geometric_predicates(builder, settings, monkeypatch):
  names = input_pipeline.stored_vocabulary(builder)
  renamed = Vocabulary(
    names.object_names, ('__in_image__', 'on', 'has', 'under', 'left of', 'inside', 'by')
  )
  monkeypatch.setitem(builder.info.metadata, 'vocabulary', renamed.to_dict())
  store_relations(builder, monkeypatch, [[0, 1, 1], [1, 4, 0]])
  settings = settings.replace(flip=True, relations='stored')
  for batch in training_batches(builder, settings, 3):
    assert np.all(
      batch['triples'][:, :2] == [[1, 1, 2], [2, 4, 1]]
    )  # nothing to mirror "left of" to
  settings = settings.replace(relations='mixed')
  with pytest.raises(
    UserError, match='has no predicate "right of", which geometric relations need; expected'
  ):
    training_batches(builder, settings, 1)


def test_data_without_masks(builder, settings, monkeypatch):
  deserialize = builder.info.features.deserialize_example
  with_masks = training_batches(builder, settings, 4)
  monkeypatch.setattr(
    builder.info.features,
    'deserialize_example',
    lambda record: {
      field: values for field, values in deserialize(record).items() if field != 'masks'
    },
  )
  settings = settings.replace(flip=True)
  without = training_batches(builder, settings, 4)
  is_flipped = np.any(rows(with_masks) != rows(without), axis=(1, 2, 3))
  assert 0.2 < is_flipped.mean() < 0.8
  assert all(batch.keys() == FIELDS - {'masks'} for batch in without)
  # All masks are full here, so their centres are the middles of the boxes.
  np.testing.assert_array_equal(
    rows(without, 'triples')[~is_flipped], rows(with_masks, 'triples')[~is_flipped]
  )


def test_batches_have_the_ids_of_the_vocabulary_of_the_model(builder, settings):
  stored = input_pipeline.stored_vocabulary(builder)
  model = Vocabulary(
    ('__image__', 'boat', *reversed(stored.object_names[1:])),
    ('__in_image__', 'touching', *reversed(stored.predicate_names[1:])),
  )
  settings = settings.replace(flip=True)
  for batch, other in zip(
    *(training_batches(builder, settings, 4, names) for names in (stored, model)), strict=True
  ):
    for field, column, before, after in (
      ('object_class', ..., stored.object_names, model.object_names),
      ('triples', (..., 1), stored.predicate_names, model.predicate_names),
    ):
      np.testing.assert_array_equal(
        np.array(before)[batch[field][column]], np.array(after)[other[field][column]]
      )
    for field in FIELDS - {'object_class', 'triples'}:
      np.testing.assert_array_equal(batch[field], other[field])
    np.testing.assert_array_equal(batch['triples'][..., ::2], other['triples'][..., ::2])
  assert np.any(batch['object_class'] != other['object_class'])


def test_a_model_that_lacks_names_of_the_data_set(builder, settings):
  stored = input_pipeline.stored_vocabulary(builder)
  with pytest.raises(
    UserError, match='2 of the object names .* not in the vocabulary of the model: "sky", "other"; '
  ):
    training_batches(
      builder, settings, 1, Vocabulary(stored.object_names[:-2], stored.predicate_names)
    )
  with pytest.raises(UserError, match='1 of the predicate names .*: "surrounding"; '):
    training_batches(
      builder, settings, 1, Vocabulary(stored.object_names, stored.predicate_names[:-1])
    )


@pytest.mark.parametrize(
  ('name', 'value', 'expected'),
  [
    (
      'max_objects',
      4,
      'data.max_objects is 4, but scenes of up to 4 objects need 5 slots; set data.max_objects=5',
    ),
    ('max_triples', 7, 'data.max_triples is 7, .* need 8 slots; set data.max_triples=8'),
  ],
)
def test_names_the_setting_to_change(builder, settings, name, value, expected):
  with pytest.raises(SettingsError, match=expected):
    training_batches(builder, settings.replace(**{name: value}), 1)


def test_names_all_settings_that_do_not_fit_a_data_set(builder, settings, monkeypatch):
  names = input_pipeline.stored_vocabulary(builder)
  renamed = Vocabulary(names.object_names, ('__in_image__', 'on', 'has', 'by', 'at', 'to', 'of'))
  monkeypatch.setitem(builder.info.metadata, 'vocabulary', renamed.to_dict())
  settings = settings.replace(max_objects=4, max_triples=7)
  with pytest.raises(SettingsError) as raised:
    input_pipeline.check(builder, settings, renamed)
  assert [fault.setting for fault in raised.value.faults] == [
    'data.max_objects',
    'data.max_triples',
    'data.relations',
  ]
  assert raised.value.source == str(builder.data_dir)
  with pytest.raises(SettingsError) as raised:
    input_pipeline.check_slots(settings, builder.info.metadata, 'here')
  assert [fault.value for fault in raised.value.faults] == ['5', '8']
  assert str(raised.value).startswith('here: 2 settings are wrong: data.max_objects is 4')


def test_relations_and_names_are_checked(settings):
  with pytest.raises(
    SettingsError, match="relations is 'all', expected one of geometric, stored, mixed, none"
  ):
    settings.replace(relations='all')
  with pytest.raises(
    SettingsError, match="name is 'coco', expected one of storybook, coco_stuff, "
  ):
    preparation.prepare(settings.replace(name='coco'))


def test_names_what_is_unknown(builder, settings):
  with pytest.raises(SettingsError, match='batch_size is 5, expected a multiple of 2, the proc'):
    training_batches(builder, settings, 1, batch_size=5, num_shards=2)
  with pytest.raises(UserError, match="no split 'validation'; it has test, train, val"):
    input_pipeline.num_examples(builder, 'validation')


def test_reports_a_directory_that_cannot_be_written(settings, tmp_path):
  (tmp_path / 'file').touch()
  settings = settings.replace(data_dir=str(tmp_path / 'file'))
  with pytest.raises(UserError, match='data.data_dir is .*file, which cannot be written'):
    preparation.prepare(settings)

import dataclasses
import json

import pytest

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary

VOCABULARY = Vocabulary(
  ('__image__', 'sheep', 'NONE', 'sky-other', 'skis', 'grass'), COCO_PREDICATES
)


def test_ids():
  assert VOCABULARY.object_id('sky-other', 'here') == 3
  assert VOCABULARY.predicate_id('surrounding', 'here') == 6
  assert (VOCABULARY.num_objects, VOCABULARY.num_predicates) == (6, 7)


@pytest.mark.parametrize(
  ('name', 'nearest'),
  [
    ('Sheep', 'sheep'),
    ('shep', 'sheep'),
    ('sky', 'sky-other'),
    ('gras', 'grass'),
  ],
)
def test_names_the_nearest_object(name, nearest):
  with pytest.raises(
    UserError, match=f'^a.json: object 1: unknown object name "{name}"; .* are "{nearest}", '
  ):
    VOCABULARY.object_id(name, 'a.json: object 1')


def test_names_the_nearest_predicate():
  with pytest.raises(
    UserError, match='^here: unknown predicate name "left"; the nearest known names are "left of", '
  ):
    VOCABULARY.predicate_id('left', 'here')


def test_unused_ids_have_no_name():
  with pytest.raises(UserError) as raised:
    VOCABULARY.object_id('NONE', 'here')
  assert raised.value.args[0].count('NONE') == 1


def test_published_format_round_trip():
  values = json.loads(json.dumps(VOCABULARY.to_dict()))
  assert values['object_name_to_idx'] == {
    '__image__': 0,
    'sheep': 1,
    'sky-other': 3,
    'skis': 4,
    'grass': 5,
  }
  assert values['pred_name_to_idx']['left of'] == 1
  assert Vocabulary.from_dict(values) == VOCABULARY
  assert 'attribute_idx_to_name' not in values
  coloured = dataclasses.replace(VOCABULARY, attribute_names=('red', 'wooden'))
  values = json.loads(json.dumps(coloured.to_dict()))
  assert values['attribute_name_to_idx'] == {'red': 0, 'wooden': 1}
  assert Vocabulary.from_dict(values) == coloured and coloured.num_attributes == 2
  assert coloured.without_attributes() == VOCABULARY


def test_names_the_nearest_attribute():
  coloured = dataclasses.replace(VOCABULARY, attribute_names=('red', 'wooden'))
  assert coloured.attribute_id('wooden', 'here') == 1
  with pytest.raises(UserError, match='^here: unknown attribute name "reddish"; .* are "red", '):
    coloured.attribute_id('reddish', 'here')


def test_ids_of_another_vocabulary():
  small = Vocabulary(('__image__', 'grass', 'sheep'), ('__in_image__',), ('wooden', 'red'))
  large = Vocabulary(
    ('__image__', 'sheep', 'grass'), ('__in_image__', 'on'), ('red', 'blue', 'wooden')
  )
  objects, predicates, attributes = small.translation(large)
  assert (objects.tolist(), predicates.tolist(), attributes.tolist()) == ([0, 2, 1], [0], [2, 0])
  assert not len(small.translation(large.without_attributes())[2])
  with pytest.raises(UserError, match='^1 of the attribute names .* of the model: "blue"; '):
    dataclasses.replace(large, predicate_names=('__in_image__',)).translation(small)


@pytest.mark.parametrize('names', [None, [], 'sky', {'0': '__image__'}, ['sky']])
def test_refuses_another_format(names):
  with pytest.raises(UserError, match='vocabulary: "object_idx_to_name" is '):
    Vocabulary.from_dict(VOCABULARY.to_dict() | {'object_idx_to_name': names})

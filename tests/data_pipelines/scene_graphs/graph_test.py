import json
import pathlib

import jsonschema
import pytest

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import (
  SceneGraph,
  load_scene_graphs,
  parse_scene_graphs,
  to_json,
)

SCHEMA = json.loads(
  (pathlib.Path(__file__).parents[3] / 'docs/scene_graph.schema.json').read_text()
)
RED = SceneGraph(('sky', 'boat'), ((1, 'below', 0),), ((), ('red', 'small')), ('night',))
SHEEP = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))


def test_reads_what_it_writes():
  graphs = [SHEEP, SceneGraph(('süße "Katze"',), ()), RED]
  assert parse_scene_graphs(to_json(graphs), 'text') == graphs
  jsonschema.validate(json.loads(to_json(graphs)), SCHEMA)


def test_attributes_are_optional():
  text = '{"objects": ["sky"], "relationships": [], "attributes": %s, "scene": []}'
  bare = SceneGraph(('sky',), ())
  assert parse_scene_graphs(text % '[]', 'text') == [bare]
  assert parse_scene_graphs(text % '[[]]', 'text') == [bare] and not bare.has_attributes
  (twice,) = parse_scene_graphs(text % '[["blue", "blue"]]', 'text')
  assert twice.attributes == (('blue',),) and twice.has_attributes
  assert twice.without_attributes() == bare


def test_reads_a_single_graph(tmp_path):
  path = tmp_path / 'graph.json'
  path.write_text(
    '{"objects": ["sky", "grass", "sheep"],\n'
    ' "relationships": [[0, "above", 1], [2, "standing on", 1]]}'
  )
  assert load_scene_graphs(path) == [SHEEP]


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('{"objects": ["sky",}', 'here: not JSON: Expecting value at line 1, column 20'),
    ('', 'here: not JSON'),
    ('[' * 100_000, 'here: not usable JSON'),
    ('3', 'here: found 3; expected an object like'),
    ('[]', 'here: an empty list'),
    ('[{"objects": ["sky"], "relationships": []}, null]', 'here: graph 1: found null'),
    ('{"relationships": []}', 'here: "objects" is missing'),
    ('{"objects": ["sky"]}', 'here: "relationships" is missing'),
    ('{"objects": "sky", "relationships": []}', 'here: "objects" is "sky"; expected a list'),
    ('{"objects": ["sky"], "relationships": {}}', 'here: "relationships" is {}; expected a list'),
    ('{"objects": ["sky"], "relationships": [], "relation": []}', 'here: unknown key "relation"'),
    ('{"objects": [], "relationships": []}', 'here: an empty graph'),
    (
      '{"objects": ["sky"], "relationships": [], "attributes": [[], []]}',
      'here: "attributes" is [[], []]; expected 1 lists of names, one for each object',
    ),
    (
      '{"objects": ["sky"], "relationships": [], "attributes": ["red"]}',
      'here: the attributes of object 0: found "red"; expected a list of names',
    ),
    (
      '{"objects": ["sky"], "relationships": [], "scene": [3]}',
      'here: "scene": found 3; expected a name',
    ),
    ('{"objects": ["sky", 3], "relationships": []}', 'here: object 1 is 3; expected a name'),
    ('{"objects": [" "], "relationships": []}', 'here: object 0 is " "; expected a name'),
    ('{"objects": ["__image__"], "relationships": []}', 'here: object 0 is "__image__"'),
    (
      '{"objects": ["sky"], "relationships": [[0, "above"]]}',
      'here: relationship 0: found [0, "above"]; expected [',
    ),
    (
      '{"objects": ["sky"], "relationships": [[0, "above", 1]]}',
      'relationship 0: object index 1 is out of range',
    ),
    (
      '{"objects": ["sky"], "relationships": [[-1, "above", 0]]}',
      'subject index -1 is out of range',
    ),
    (
      '{"objects": ["sky"], "relationships": [[true, "above", 0]]}',
      'the subject is true; expected the index',
    ),
    (
      '{"objects": ["sky"], "relationships": [[0, "above", 0.0]]}',
      'the object is 0.0; expected the index',
    ),
    ('{"objects": ["sky"], "relationships": [[0, 7, 0]]}', 'the predicate is 7; expected a name'),
    (
      '{"objects": ["sky"], "relationships": [[0, "__in_image__", 0]]}',
      'the predicate is "__in_image__"',
    ),
  ],
)
def test_names_the_fault_in_one_line(text, expected):
  with pytest.raises(UserError) as raised:
    parse_scene_graphs(text, 'here')
  assert expected in str(raised.value)
  assert '\n' not in str(raised.value)


def test_names_a_file_that_cannot_be_read(tmp_path):
  with pytest.raises(UserError, match='nothing.json: cannot be read'):
    load_scene_graphs(tmp_path / 'nothing.json')
  (tmp_path / 'image.json').write_bytes(b'\xff\xd8\xff')
  with pytest.raises(UserError, match='image.json: not UTF-8 '):
    load_scene_graphs(tmp_path / 'image.json')
  (tmp_path / 'wide.json').write_text('{"objects": ["sky"], "relationships": []}', 'utf-16')
  with pytest.raises(UserError, match='wide.json: found UTF-16, not UTF-8; save it as UTF-8'):
    load_scene_graphs(tmp_path / 'wide.json')

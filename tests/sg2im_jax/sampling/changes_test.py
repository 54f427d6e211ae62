"""Changes of a scene: how they are read, and what becomes of graph and boxes."""

import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.changes import ImageCrop, load_changes, parse_changes
from sg2im_jax.sampling.placed_scene import PlacedScene

SCENE = PlacedScene(
  SceneGraph(
    ('sky', 'grass', 'sheep'),
    ((0, 'above', 1), (2, 'standing on', 1), (2, 'below', 0)),
    ((), (), ('white',)),
  ),
  np.array([[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0.2, 0.4, 0.4, 0.6]], np.float32),
)
BOX = [0.5, 0.5, 0.75, 1]


def applied(**change):
  (parsed,) = parse_changes(change, 'here')
  return parsed.apply(SCENE)


def test_a_replaced_object_keeps_its_box():
  edit = applied(change='replace', object=2, by='cow', attributes=['brown'])
  assert edit.graph.objects == ('sky', 'grass', 'cow')
  assert edit.graph.attributes == ((), (), ('brown',))
  np.testing.assert_array_equal(edit.boxes, SCENE.boxes)
  assert edit.sampled_appearances.tolist() == edit.changed.tolist() == [False, False, True]


def test_a_removed_object_takes_its_relationships_along():
  edit = applied(change='remove', object=1)
  assert edit.graph == SceneGraph(('sky', 'sheep'), ((1, 'below', 0),), ((), ('white',)))
  assert edit.origin == (0, 2) and not edit.changed.any()
  np.testing.assert_array_equal(edit.boxes, SCENE.boxes[[0, 2]])


def test_an_added_object_is_sampled_unless_it_has_a_box():
  edit = applied(change='add', object='boat', relationships=[[3, 'above', 1]])
  assert edit.graph.objects[3] == 'boat' and edit.graph.relationships[-1] == (3, 'above', 1)
  assert edit.graph.attributes == ((), (), ('white',), ())
  assert edit.origin == (0, 1, 2, None) and np.isnan(edit.boxes[3]).all()
  assert edit.sampled_appearances.tolist() == edit.changed.tolist() == [False] * 3 + [True]
  np.testing.assert_array_equal(applied(change='add', object='boat', box=BOX).boxes[3], BOX)


def test_a_moved_object_keeps_its_appearance():
  edit = applied(change='move', object=2, box=BOX)
  np.testing.assert_array_equal(edit.boxes[2], BOX)
  assert not edit.sampled_appearances.any() and edit.changed.tolist() == [False, False, True]
  np.testing.assert_array_equal(SCENE.boxes[2], np.float32([0.2, 0.4, 0.4, 0.6]))  # a copy


def test_a_relationship_replaces_those_of_its_pair():
  edit = applied(change='relate', subject=2, predicate='left of', object=0)
  assert edit.graph.relationships == ((0, 'above', 1), (2, 'standing on', 1), (2, 'left of', 0))
  assert np.isnan(edit.boxes[2]).all() and not edit.sampled_appearances.any()


def test_attributes_and_appearances():
  edit = applied(change='describe', object=0, attributes=['pink'])
  assert edit.graph.attributes == (('pink',), (), ('white',)) and edit.changed[0]
  edit = applied(change='describe', scene=['night'])
  assert edit.graph.scene == ('night',) and edit.whole_image and edit.changed.all()
  assert applied(change='appearance', object=2, of=0).appearance_of == {2: 0}
  crop = {'image': 'a.png', 'box': [0, 0, 1, 1]}
  found = applied(change='appearance', object=2, of=crop).appearance_of[2]
  assert found == ImageCrop(image='a.png', box=(0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({}, r'change 0: found \{\}; expected "change" to be one of replace, '),
    ('remove', 'change 0: found "remove"; expected "change"'),
    ({'change': 'paint'}, 'found {"change": "paint"}; expected "change" to be one of'),
    ({'change': 'remove'}, 'change 0: object is missing'),
    ({'change': 'remove', 'object': '2'}, "object is '2', expected a whole number"),
    ({'change': 'remove', 'object': 1, 'by': 'x'}, 'by is unknown; the nearest is'),
    ({'change': 'move', 'object': 1, 'box': [0, 0, 1]}, 'box is .*, expected'),
    ([], 'here: an empty list; expected at least one change'),
  ],
)
def test_what_is_no_change_is_told(change, message):
  with pytest.raises(UserError, match=message):
    parse_changes(change, 'here')


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'change': 'remove', 'object': 3}, 'object 3 is unknown; expected 0 to 2'),
    ({'change': 'move', 'object': 1, 'box': [0.5, 0, 0.2, 1]}, r'the box is .*; expected x0, y0,'),
    ({'change': 'add', 'object': 'cow', 'relationships': [[4, 'on', 1]]}, 'object 4 of a relation'),
    ({'change': 'describe'}, 'found neither or both of "object" and "scene"'),
    ({'change': 'appearance', 'object': 1, 'of': 7}, 'object 7 is unknown'),
  ],
)
def test_what_does_not_fit_the_scene_is_told(change, message):
  with pytest.raises(UserError, match=message):
    applied(**change)


def test_files(tmp_path):
  path = tmp_path / 'change.json'
  path.write_text('{"change": "remove", "object": 1}')
  assert [str(change) for change in load_changes(path)] == ['remove 1']
  path.write_text('{"change": ')
  with pytest.raises(UserError, match='change.json: not JSON'):
    load_changes(path)
  with pytest.raises(UserError, match=r'none.json: cannot be read \(No such file'):
    load_changes(tmp_path / 'none.json')


def test_scenes_are_read_as_they_are_written():
  read = PlacedScene.from_dict(SCENE.to_dict(), 'here')
  assert read.graph == SCENE.graph
  np.testing.assert_allclose(read.boxes, SCENE.boxes, atol=1e-4)


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([], r'here: found \[\]; expected a scene like'),
    ({'boxes': [[0, 0, 1, 1]]}, 'here: "objects" is missing'),
    ({'boxes': 3}, 'here: "boxes" is 3; expected 3 boxes'),
    ({'boxes': [[0, 0, 1, 1]]}, 'expected 3 boxes, one for each object'),
    ({'boxes': [[0, 0, 1, 1], [0, 0, 1, 'x'], [0, 0, 1, 1]]}, 'here: box 1 is'),
    ({'boxes': [[0, 0, 1, 1], [0, 0, 1, 1], [2, 0, 3, 1]]}, 'here: box 2 is'),
    ({'masks': [[[1]], [[1]]]}, r'"masks" is no array \[3, M, M\]'),
    ({'masks': [[[1]], [[1]], [[7]]]}, '"masks" has numbers outside of 0 to 1'),
  ],
)
def test_what_is_no_scene_is_told(values, message):
  scene = SCENE.to_dict() | values if isinstance(values, dict) else values
  if isinstance(scene, dict) and 'objects' in message:
    scene = values
  with pytest.raises(UserError, match=message):
    PlacedScene.from_dict(scene, 'here')

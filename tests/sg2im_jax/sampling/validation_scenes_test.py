"""Real scenes that are kept beside a model."""

import json

import numpy as np
import pytest

from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling import validation_scenes

SCENES = [
  PreparedScene(
    str(number),
    np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8),
    SceneGraph(('sky', 'sheep'), ((0, 'above', 1),), ((), ('red',)), ('night',)),
    np.array([[0, 0, 1, 0.5], [0.2, 0.3, 0.6, 0.9]], np.float32),
    None,
  )
  for number in range(2)
]


def test_what_is_saved_is_loaded(tmp_path):
  assert validation_scenes.load(tmp_path) == [] and not validation_scenes.exist(tmp_path)
  validation_scenes.save(tmp_path, SCENES)
  assert validation_scenes.exist(tmp_path)
  for saved, found in zip(SCENES, validation_scenes.load(tmp_path), strict=True):
    assert (found.image_id, found.scene.graph) == (saved.image_id, saved.graph)
    np.testing.assert_array_equal(found.picture, saved.image)
    np.testing.assert_allclose(found.scene.boxes, saved.boxes, atol=1e-4)


@pytest.mark.parametrize(
  'change',
  [
    lambda scenes: {'scenes': scenes},
    lambda scenes: [scenes],
    lambda scenes: [{**scenes[0], 'picture': 'AAAA'}],
    lambda scenes: [{**scenes[0], 'picture': 7}],
    lambda scenes: [{**scenes[0], 'boxes': []}],
    lambda scenes: [{key: value for key, value in scenes[0].items() if key != 'image_id'}],
  ],
)
def test_a_damaged_file_is_named(tmp_path, change):
  validation_scenes.save(tmp_path, SCENES)
  path = tmp_path / 'validation_scenes.json'
  path.write_text(json.dumps(change(json.loads(path.read_text()))))
  with pytest.raises(UserError, match='is damaged .*delete it') as refused:
    validation_scenes.load(tmp_path)
  assert '\n' not in str(refused.value)

"""Edits of pictures by an untrained model: what must stay stays, what must change changes."""

import json

import numpy as np
import pytest
from PIL import Image

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling import editor
from sg2im_jax.sampling.editor import read_picture
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.sampling.trained_model import TrainedModel
from tests.small_scenes import VOCABULARY, tiny_config, tiny_token_config
from tests.training_runs import start, write_untrained

pytestmark = pytest.mark.slow

SCENE = PlacedScene(
  SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'above', 1)), ((), (), ('red',))),
  np.array([[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0.1, 0.3, 0.4, 0.6]], np.float32),
)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def write_model(directory, config):
  config.data.max_attributes = 4
  return write_untrained(directory, config, VOCABULARY)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return write_model(tmp_path_factory.mktemp('run'), tiny_token_config())


@pytest.fixture(scope='module')
def model(workdir):
  return TrainedModel.load(workdir)


def edited(model, *changes, **options):
  return model.edit(PICTURE, SCENE, list(changes), **options)


def test_a_step_for_each_change_from_the_one_before(model):
  start, moved, gone = edited(
    model,
    {'change': 'move', 'object': 2, 'box': [0.6, 0.3, 0.9, 0.6]},
    {'change': 'remove', 'object': 2},
  )
  resized = Image.fromarray(PICTURE).resize((16, 16), Image.Resampling.BICUBIC)
  np.testing.assert_array_equal(start.picture, np.asarray(resized))
  np.testing.assert_array_equal(start.scene.boxes, SCENE.boxes)
  np.testing.assert_allclose(moved.scene.boxes[2], [0.6, 0.3, 0.9, 0.6], atol=1e-6)
  np.testing.assert_array_equal(moved.latents, start.latents)
  assert gone.scene.graph.objects == ('sky', 'grass') and len(gone.latents) == 2
  np.testing.assert_array_equal(gone.latents, start.latents[:2])
  assert str(gone.change) == 'remove 2' and start.change is None


def test_pixels_beyond_the_changed_objects_stay(model, monkeypatch):
  monkeypatch.setattr(editor, '_DIFFERS', 0)  # an untrained model paints all scenes alike
  for change in (
    {'change': 'move', 'object': 2, 'box': [0.2, 0.3, 0.5, 0.6]},
    {'change': 'replace', 'object': 2, 'by': 'tree'},
    {'change': 'add', 'object': 'tree', 'box': [0.7, 0.7, 0.9, 0.9]},
    {'change': 'remove', 'object': 2},
  ):
    start, after = edited(model, change)
    kept = after.region == 0
    assert 0.2 < kept.mean() < 1, change
    np.testing.assert_array_equal(after.picture[kept], start.picture[kept])
    assert (after.picture[~kept] != start.picture[~kept]).mean() > 0.5, change
    _, everything = edited(model, change, repaint='all')
    assert (everything.region == 1).all()
    assert (everything.picture[kept] != start.picture[kept]).mean() > 0.5


def test_pixels_stay_where_paintings_are_alike(model):
  scene = PlacedScene(SCENE.graph, SCENE.boxes, np.ones((3, 4, 4), np.float32))
  difference = np.zeros((16, 16), np.float32)
  assert (editor.repainted_region(model, [(scene, [1])], difference) == 0).all()
  difference[:, :4] = 0.5  # the object is seen on the left of its box only
  region = editor.repainted_region(model, [(scene, [1])], difference)
  assert (region[9:, :4] == 1).all() and (region[:, 8:] == 0).all() and (region[:3] == 0).all()
  assert (editor.repainted_region(model, [(scene, [])], difference) == 0).all()


def test_what_is_not_changed_keeps_its_token(model):
  start, after = edited(model, {'change': 'describe', 'object': 2, 'attributes': ['blue']})
  np.testing.assert_array_equal(after.latents[:2], start.latents[:2])
  np.testing.assert_array_equal(after.image_latents, start.image_latents)
  np.testing.assert_array_equal(after.scene.boxes, start.scene.boxes)
  np.testing.assert_array_equal(after.scene.masks[:2], start.scene.masks[:2])
  assert np.abs(after.latents[2] - start.latents[2]).max() > 1e-3
  start, night = edited(model, {'change': 'describe', 'scene': ['night']})
  assert night.scene.graph.scene == ('night',) and (night.region == 1).all()
  assert (np.abs(night.latents - start.latents).max(1) > 1e-3).all()
  assert np.abs(night.image_latents - start.image_latents).max() > 1e-3


def test_appearances_are_copied(model, tmp_path):
  path = tmp_path / 'other.png'
  Image.fromarray(PICTURE[::-1]).save(path)
  start, copied = edited(model, {'change': 'appearance', 'object': 2, 'of': 0})
  np.testing.assert_array_equal(copied.latents[2], start.latents[0])
  crop = {'image': str(path), 'box': [0.0, 0.0, 0.5, 0.5]}
  _, foreign = edited(model, {'change': 'appearance', 'object': 2, 'of': crop})
  expected = model.encode(PICTURE[::-1], [[0.0, 0.0, 0.5, 0.5]])[0]
  np.testing.assert_allclose(foreign.latents[2], expected, atol=1e-6)


def test_the_seed_decides(model):
  change = {'change': 'relate', 'subject': 2, 'predicate': 'left of', 'object': 1}
  first, again, other = (edited(model, change, seed=seed)[1] for seed in (0, 0, 1))
  np.testing.assert_array_equal(first.picture, again.picture)
  assert (first.scene.boxes[2] != other.scene.boxes[2]).any()
  np.testing.assert_array_equal(first.scene.boxes[:2], other.scene.boxes[:2])


def test_masks_of_any_size_are_used(model):
  masks = np.zeros((3, 20, 20), np.float32)
  masks[:, :, :10] = 1
  with_masks = PlacedScene(SCENE.graph, SCENE.boxes, masks)
  (start, _) = model.edit(PICTURE, with_masks, {'change': 'remove', 'object': 0})
  assert (start.scene.masks[:, :, :3] == 1).all() and (start.scene.masks[:, :, 5:] == 0).all()


def test_mistakes_are_told(model, tmp_path):
  with pytest.raises(UserError, match=r'change 1 \(replace 1 by shep\): .*"shep"; the nearest'):
    edited(
      model, {'change': 'remove', 'object': 0}, {'change': 'replace', 'object': 1, 'by': 'shep'}
    )
  with pytest.raises(UserError, match='unknown attribute name "rd"; the nearest known names are'):
    edited(model, {'change': 'describe', 'object': 1, 'attributes': ['rd']})
  with pytest.raises(UserError, match='not a token model'):
    published = TrainedModel.load(write_model(tmp_path, tiny_config()))
    edited(published, {'change': 'remove', 'object': 0})
  (tmp_path / 'text.png').write_text('no picture')
  with pytest.raises(UserError, match=r'text.png: cannot be read as a picture'):
    read_picture(str(tmp_path / 'text.png'))


def test_the_command_writes_every_step(workdir, tmp_path):
  Image.fromarray(PICTURE).save(tmp_path / 'picture.png')
  (tmp_path / 'scene.json').write_text(json.dumps(SCENE.to_dict()))
  (tmp_path / 'change.json').write_text('[{"change": "remove", "object": 2}]')
  arguments = [
    f'--workdir={workdir}',
    f'--image={tmp_path / "picture.png"}',
    f'--scene={tmp_path / "scene.json"}',
    f'--change={tmp_path / "change.json"}',
    f'--output_dir={tmp_path / "out"}',
  ]
  done = start('edit', *arguments)
  _, told = done.communicate()
  assert done.returncode == 0, told
  assert {path.name for path in (tmp_path / 'out').iterdir()} == {
    *('strip.png', 'step_0.png', 'step_1.png', 'scene_0.json', 'scene_1.json')
  }
  assert PlacedScene.load(tmp_path / 'out/scene_1.json').graph.objects == ('sky', 'grass')
  refused = start('edit', arguments[0], *arguments[3:])
  _, told = refused.communicate()
  assert refused.returncode == 2 and '--split and --number, must be given' in told

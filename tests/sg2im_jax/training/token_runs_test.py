"""Token models from the data to pictures: training, exact resume, sampling, pins, evaluation."""

import jax
import numpy as np
import pytest

import sg2im_jax
from data_pipelines import preparation
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.evaluation import controls, edits, report
from sg2im_jax.evaluation.backbones import Activations
from sg2im_jax.evaluation.pictures import Scenes, sampled_pictures
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.storage import checkpoints
from sg2im_jax.training.loop import train
from tests.training_runs import records, small_token_config

pytestmark = pytest.mark.slow

NUM_STEPS = 8
SCHEDULE = {
  'checkpoint_every': 2,
  'eval_every': 4,
  'image_grid_every': 4,
  'freeze_batch_norm_after': 6,
}
GRAPH = {'objects': ['sheep', 'grass', 'sky'], 'relationships': [[0, 'above', 1]]}


def make_config(directory, **changes):
  config = small_token_config(directory)
  config.update({'num_steps': NUM_STEPS, **SCHEDULE, **changes})
  return config


@pytest.fixture(scope='module')
def workdir(directory):
  """Of an uninterrupted training; only to be read."""
  workdir = directory / 'tokens'
  train(make_config(directory), workdir)
  return workdir


@pytest.fixture(scope='module')
def model(workdir):
  return sg2im_jax.load(workdir)


def test_a_run_logs_all_terms(workdir):
  last = [record for record in records(workdir) if record['split'] == 'train'][-1]
  assert {
    'generator/l1_pixel',
    'generator/composite',
    'generator/l1_gradient',
    'generator/mask',
    'generator/divergence',
    'generator/feature_matching',
    'discriminator/object_gan',
    'prior/flow_matching',
  } <= last.keys()
  (first, *_) = [record for record in records(workdir) if record['split'] == 'val']
  assert 0 <= first['relation_accuracy'] <= 1 and 'composite' in first


@pytest.mark.exhaustive
def test_a_run_in_two_parts_equals_one(workdir, directory):
  in_two = directory / 'tokens in two'
  for num_steps in (4, NUM_STEPS):
    train(make_config(directory, num_steps=num_steps), in_two)
  assert records(in_two) == records(workdir)
  found, expected = map(checkpoints.load_generator, (in_two, workdir))
  jax.tree.map(np.testing.assert_array_equal, found.tree, expected.tree)


def test_a_checkpoint_of_another_family_is_refused(workdir, directory):
  config = make_config(directory)
  with config.unlocked():
    config.tokens = None
  with pytest.raises(UserError, match='tokens'):
    train(config, workdir)


def test_samples_differ_and_are_repeatable(model):
  samples = model.sample(GRAPH, samples=3)
  assert samples.pictures.shape == (3, 32, 32, 3) and samples.boxes.shape == (3, 3, 4)
  assert samples.latents.shape == (3, 3, 4) and samples.masks.shape == (3, 3, 8, 8)
  assert np.abs(samples.boxes[0] - samples.boxes[1]).max() > 1e-3
  again = model.sample(GRAPH, samples=3)
  np.testing.assert_array_equal(again.pictures, samples.pictures)


def test_pinned_objects_stay_and_others_are_drawn(model):
  before = model.sample(GRAPH, samples=1)
  boxes, latents = [*before.boxes[0]], [*before.latents[0]]
  boxes[0] = latents[0] = None
  after = model.sample(GRAPH, samples=2, seed=5, boxes=boxes, latents=latents)
  for sample in range(2):
    np.testing.assert_array_equal(after.boxes[sample, 1:], before.boxes[0, 1:])
    np.testing.assert_array_equal(after.latents[sample, 1:], before.latents[0, 1:])
  assert np.abs(after.boxes[0, 0] - after.boxes[1, 0]).max() > 1e-3


def test_an_object_is_added_without_moving_the_others(model):
  before = model.sample(GRAPH, samples=1)
  graph = {**GRAPH, 'objects': [*GRAPH['objects'], 'tree']}
  after = model.sample(
    graph, samples=1, boxes=[*before.boxes[0], None], latents=[*before.latents[0], None]
  )
  np.testing.assert_array_equal(after.boxes[0, :3], before.boxes[0])
  assert np.isfinite(after.boxes[0, 3]).all()


def test_the_appearance_of_a_crop_can_be_given(model):
  picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
  (latent,) = model.encode(picture, [[0.1, 0.2, 0.6, 0.9]])
  assert latent.shape == (4,)
  samples = model.sample(GRAPH, samples=2, latents=[latent, None, None])
  np.testing.assert_array_equal(samples.latents[:, 0], [latent, latent])


@pytest.mark.parametrize(
  'given, problem',
  [
    ({'boxes': [[0, 0, 1]] * 3}, 'not rows of 4 numbers'),
    ({'latents': [[0.0] * 5] * 3}, 'not rows of 4 numbers'),
    ({'boxes': [None]}, r'boxes are \[1, 4\], expected finite numbers \[3, 4\]'),
    ({'masks': [[[1]]]}, r'masks are \[1, 1, 1\], expected \[3, M, M\]'),
  ],
)
def test_what_is_given_has_a_row_for_each_object(model, given, problem):
  with pytest.raises(UserError, match=problem):
    model.sample(GRAPH, **given)


class MeanColours:
  """Stands for a backbone: its features of a picture are its mean colours."""

  def __call__(self, images):
    features = images.reshape(len(images), -1, 3).mean(1)
    return Activations(features, features)

  def distance_maps(self, images, others):
    return np.abs(images.astype(np.float32) - others).mean(-1)


class KnowsAll:
  """Stands for a classifier that names every object as its class."""

  def accuracy(self, crops):
    assert crops.pixels.shape[1:] == (32, 32, 3) and (crops.object_class > 0).all()
    return 1.0


@pytest.fixture(scope='module')
def scenes(model):
  return Scenes(
    builder=preparation.prepare(model.settings.data),
    settings=model.settings.data,
    vocabulary=model.vocabulary,
    split='val',
    numbers=np.arange(7),
    seed=0,
  )


@pytest.mark.exhaustive
def test_pictures_under_control(model, scenes):
  protocol = Protocol.from_values({'stretch': False})
  found = controls.controls(model, scenes, protocol, MeanColours())
  assert found.perturbed.activations.features.shape == (7, 3)
  assert found.reconstructed.activations.features.shape == (7, 3)
  assert len(found.perturbed.crops) == len(found.reconstructed.crops)
  assert set(found.changes) == {'reconstruction', 'edited objects', 'pinned objects'}
  assert all(0 < change < 1 for change in found.changes.values())
  _, _, overlap = sampled_pictures(model, scenes, protocol, None)
  assert 0 < overlap < 1


@pytest.mark.exhaustive
def test_edits_of_every_kind(model, scenes):
  protocol = Protocol(stretch=False, num_edited=5)
  features = np.random.default_rng(0).uniform(0, 255, (7, 3)).astype(np.float32)
  found = edits.scores(model, scenes, protocol, MeanColours(), features, KnowsAll(), None)
  assert found['num_scenes'] == 5
  of = found['of']
  # The scenes of the data have no attributes that this model knows.
  assert set(of) <= {'replace', 'remove', 'add', 'move', 'relate', 'appearance'} and len(of) >= 5
  assert found['num_pictures'] >= sum(scores['num_edits'] for scores in of.values())
  for kind, scores in of.items():
    assert scores['kept'] == 1 and 0 < scores['outside'] < 1
    assert scores['named'] == (None if kind == 'remove' else 1)
  assert of['remove']['as_asked'] == 0  # the classifier still names it
  assert 0 <= of['move']['as_asked'] <= 1
  encoded, sampled = (found['reconstruction'][name] for name in ('encoded', 'sampled'))
  assert encoded['inside'].keys() == encoded['outside'].keys() == {'mae', 'ssim', 'distance'}
  assert encoded['inside']['mae'] != sampled['inside']['mae']
  assert encoded['inside']['distance'] == pytest.approx(255 * encoded['inside']['mae'], rel=1e-4)
  assert all(value > 0 for value in found['fid'].values())
  written = '\n'.join(report.edit_section(found))
  assert '| remove | ' in written and '| encoded | inside | ' in written
  assert edits.scores(model, scenes, protocol, MeanColours(), features, KnowsAll(), None) == found
  one = protocol.replace(num_edited=1)
  assert edits.scores(model, scenes, one, MeanColours(), features, KnowsAll(), None) is None


def test_an_object_changes_its_side_where_it_can():
  boxes = np.array([[0.1, 0.4, 0.3, 0.6], [0.4, 0.4, 0.6, 0.6], [0.85, 0.4, 1, 0.6]], np.float32)

  def can(*relationships):
    graph = SceneGraph(('sheep',) * 3, relationships)
    return [edits.can_change_side(one, graph, boxes) for one in relationships]

  assert can((0, 'left of', 1), (1, 'above', 2)) == [True, False]
  assert can((0, 'left of', 2)) == [False]  # no room right of it
  assert can((0, 'left of', 1), (2, 'right of', 0)) == [False, True]  # says the side of 0, too


def test_perturbed_boxes_stay_in_the_image_and_near():
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (50, 4, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, low.shape)], -1).astype(np.float32)
  moved = controls.perturbed_boxes(boxes, np.random.default_rng(1))
  np.testing.assert_array_equal(moved[:, 0], boxes[:, 0])
  assert moved.min() >= 0 and moved.max() <= 1 and (moved[..., 2:] > moved[..., :2]).all()
  sides = np.tile(boxes[..., 2:] - boxes[..., :2], 2)
  change = np.abs(moved - boxes) / sides
  assert change[:, 1:].max() <= 0.3 + 1e-5 and change[:, 1:].mean() > 0.05

"""A trained model as Python has it."""

import json

import numpy as np
import pytest

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings
from tests.training_runs import write_untrained

VOCABULARY = Vocabulary(
  ('__image__', 'sky', 'grass', 'sheep'), ('__in_image__', 'above', 'standing on')
)
SKY = {'objects': ['sky', 'grass'], 'relationships': [[0, 'above', 1]]}
SHEEP = {
  'objects': ['sky', 'grass', 'sheep'],
  'relationships': [[0, 'above', 1], [2, 'standing on', 1]],
}


def make_config():
  config = debug.get_config()
  config.model.gconv_num_layers = 1
  config.model.refinement_dims = (16, 8)
  return config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return write_untrained(tmp_path_factory.mktemp('run'), make_config(), VOCABULARY)


@pytest.fixture(scope='module')
def model(workdir):
  return TrainedModel.load(workdir)


def test_what_a_model_has(model):
  assert model.settings == Settings.from_config(make_config())
  assert (model.vocabulary, model.step) == (VOCABULARY, 0)
  assert set(model.variables) == {'params', 'batch_stats'}


def test_a_step_that_is_not_there(workdir):
  assert TrainedModel.load(workdir, step=0).step == 0
  with pytest.raises(UserError, match='has no checkpoint of step 7; there are 0'):
    TrainedModel.load(workdir, step=7)


def test_graphs_in_every_form_give_the_same_samples(model, tmp_path):
  path = tmp_path / 'graphs.json'
  path.write_text(json.dumps([SKY, SHEEP]))
  objects = [
    SceneGraph(tuple(graph['objects']), tuple(map(tuple, graph['relationships'])))
    for graph in (SKY, SHEEP)
  ]
  expected = model.sample([SKY, SHEEP], samples=2, seed=3)
  assert [samples.index for samples in expected] == [0, 1]
  assert expected[1].graph == objects[1]
  assert expected[1].pictures.shape == (2, 32, 32, 3)
  assert expected[1].boxes.shape == (2, 3, 4) and expected[1].masks.shape == (2, 3, 8, 8)
  for graphs in (objects, (SKY, objects[1]), path, str(path), path.read_text()):
    for one, other in zip(model.sample(graphs, samples=2, seed=3), expected, strict=True):
      np.testing.assert_array_equal(one.pictures, other.pictures)
  for graph in (SKY, objects[0]):  # one graph, not a list: the first of its file
    alone = model.sample(graph, samples=2, seed=3)
    np.testing.assert_allclose(alone.boxes, expected[0].boxes, atol=1e-5)
    assert np.abs(alone.pictures.astype(int) - expected[0].pictures).max() <= 1


def test_given_layouts(model):
  boxes = np.tile(np.float32([0.2, 0.2, 0.7, 0.7]), (2, 1))
  masks = np.zeros((2, 8, 8))
  given = model.sample(SKY, samples=1, boxes=boxes, masks=masks)
  np.testing.assert_array_equal(given.boxes[0], boxes)
  np.testing.assert_array_equal(given.masks[0], masks)
  first, second = model.sample([SKY, SKY], samples=1, boxes=[boxes, None])
  np.testing.assert_array_equal(first.boxes[0], boxes)
  assert (second.boxes != boxes).any()
  with pytest.raises(UserError, match='of 1 graphs, expected of 2'):
    model.sample([SKY, SKY], boxes=[boxes])
  with pytest.raises(UserError, match=r'not rows of 4 numbers, but one is \[3\]'):
    model.sample(SKY, boxes=boxes[:, :3])


@pytest.mark.parametrize(
  'graphs, message',
  [
    ({'objects': ['sky', 'gras'], 'relationships': []}, 'unknown object name "gras".*"grass"'),
    ({'objects': [], 'relationships': []}, 'graph 0: an empty graph'),
    ('{"objects": [', 'not JSON'),
    ('missing.json', 'missing.json'),
    ([SKY, {'objects': {'sky'}, 'relationships': []}], 'not JSON serializable; expected graphs'),
  ],
)
def test_graphs_that_cannot_be_sampled(model, graphs, message):
  with pytest.raises(UserError, match=message):
    model.sample(graphs)


def test_the_fingerprint_is_of_the_arrays_too():
  settings = Settings.from_config(debug.get_config())

  def fingerprint(shape, **changes):
    kernel = np.arange(6, dtype=np.float32).reshape(shape)
    return TrainedModel(
      settings=settings.replace(**changes),
      vocabulary=VOCABULARY,
      step=0,
      variables={'params': {'kernel': kernel}},
    ).fingerprint

  found = [fingerprint((2, 3)), fingerprint((2, 3)), fingerprint((3, 2))]
  assert found[0] == found[1] != found[2] and len(found[0]) == 16
  assert fingerprint((2, 3), num_steps=7) == found[0]
  assert fingerprint((2, 3), dtype='bfloat16') != found[0]


def test_what_a_model_cannot_do_is_said(model):
  assert model.limits == []
  config = make_config()
  config.losses.bbox_weight, config.data.relations, config.model.mask_size = 0.0, 'none', 0
  lacking = TrainedModel(
    settings=Settings.from_config(config), vocabulary=VOCABULARY, step=0, variables={}
  )
  assert [sentence.split(':')[0] for sentence in lacking.limits] == [
    'This model was trained without a box loss',
    'This model was trained without relationships',
    'This model predicts no masks',
  ]

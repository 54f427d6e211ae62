import functools

import jax
import numpy as np
import pytest

from configs import debug
from data_pipelines.encode import pad_scene_graph
from data_pipelines.scene_graph import SceneGraph, UserError
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.sampling import Sampler, bucket_size, encode_graphs, sample_graphs
from sg2im_jax.scene_batch import SceneBatch

VOCABULARY = Vocabulary(('__image__', 'sky', 'grass', 'sheep'), ('__in_image__', 'above', 'standing on'))
SKY = SceneGraph(('sky', 'grass'), ((0, 'above', 1),))
SHEEP = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
FLOCK = SceneGraph(('grass',) + ('sheep',) * 9, tuple((index, 'standing on', 0) for index in range(1, 10)))


@pytest.fixture(scope='module')
def model():
  return _model(mask_size=8)


def _model(mask_size):
  config = debug.get_config()
  config.model.mask_size = mask_size
  config.model.refinement_dims = (16, 8)
  generator = models.build_generator(config, VOCABULARY)
  batch = jax.tree.map(lambda array: array[None], encode_graphs([SHEEP], VOCABULARY, 'test')[0])
  noise = np.zeros((1, *config.data.image_size, config.model.layout_noise_dim), np.float32)
  init = functools.partial(generator.init, use_boxes=False, use_masks=False, train=False)
  return Sampler(generator, jax.jit(init)(jax.random.key(0), batch, noise))


def _draw(model, graphs, samples_per_graph=2, seed=0):
  encoded = encode_graphs(graphs, VOCABULARY, 'test')
  return list(sample_graphs(model, graphs, encoded, samples_per_graph=samples_per_graph, seed=seed))


def test_shapes_leave_out_the_image_object_and_padding(model):
  sheep, flock = _draw(model, [SHEEP, FLOCK])
  assert sheep.images.shape == (2, 32, 32, 3)
  assert sheep.boxes.shape == (3, 4) and sheep.masks.shape == (3, 8, 8)
  assert flock.boxes.shape == (10, 4) and flock.masks.shape == (10, 8, 8)
  assert flock.graph is FLOCK


def test_the_same_seed_gives_the_same_pixels(model):
  for first, second in zip(_draw(model, [SKY, SHEEP]), _draw(model, [SKY, SHEEP]), strict=True):
    np.testing.assert_array_equal(first.images, second.images)


def test_seeds_graphs_and_samples_differ(model):
  one, two = _draw(model, [SHEEP, SHEEP])
  other_seed, _ = _draw(model, [SHEEP, SHEEP], seed=1)
  pictures = [*one.images, *two.images, *other_seed.images]
  for index, picture in enumerate(pictures):
    for other in pictures[:index]:
      assert np.abs(picture - other).max() > 0.01
  np.testing.assert_array_equal(one.boxes, other_seed.boxes)


def test_neither_other_graphs_nor_the_number_of_samples_change_a_picture(model):
  alone, = _draw(model, [SKY], samples_per_graph=1)
  together = _draw(model, [SKY, SHEEP, FLOCK], samples_per_graph=19)[0]
  assert together.images.shape[0] == 19
  scale = np.abs(alone.images).max()
  np.testing.assert_allclose(alone.images[0] / scale, together.images[0] / scale, atol=1e-5)


def test_padding_changes_no_pixel(model):
  snug, = encode_graphs([SHEEP], VOCABULARY, 'test')
  roomy = SceneBatch(**pad_scene_graph(SHEEP, VOCABULARY, 32, 64, 'test'))
  outputs = [model(jax.tree.map(lambda array: array[None], graph), model.draw_noise(0, 0, np.arange(1)))
             for graph in (snug, roomy)]
  scale = np.abs(outputs[0].image).max()  # of an untrained network, several times that of real pictures
  np.testing.assert_allclose(outputs[0].image / scale, outputs[1].image / scale, atol=1e-5)
  np.testing.assert_allclose(outputs[0].boxes[:, :4], outputs[1].boxes[:, :4], atol=1e-5)


def test_graphs_of_one_bucket_compile_once():
  model = _model(mask_size=8)
  _draw(model, [SKY, SHEEP])
  _draw(model, [SHEEP], seed=3)
  assert model._apply._cache_size() == 1
  _draw(model, [FLOCK])
  assert model._apply._cache_size() == 2


def test_a_model_without_masks_has_boxes_alone():
  samples, = _draw(_model(mask_size=0), [SHEEP])
  assert samples.masks is None and samples.boxes.shape == (3, 4)


@pytest.mark.parametrize('count, size', [(1, 8), (8, 8), (9, 16), (33, 64), (1000, 1024)])
def test_bucket_sizes(count, size):
  assert bucket_size(count) == size


def test_unknown_names_are_named_with_their_place():
  with pytest.raises(UserError, match=r'pets.json: graph 1: object 1: unknown object name "shep".*"sheep"'):
    encode_graphs([SKY, SceneGraph(('sky', 'shep'), ())], VOCABULARY, 'pets.json')
  with pytest.raises(UserError, match=r'pets.json: graph 0: relationship 0: unknown predicate name "abov".*"above"'):
    encode_graphs([SceneGraph(('sky', 'grass'), ((0, 'abov', 1),))], VOCABULARY, 'pets.json')


def test_a_layout_can_be_given(model):
  sheep, = encode_graphs([SHEEP], VOCABULARY, 'test')
  batch = jax.tree.map(lambda array: array[None], sheep)
  boxes = np.tile(np.float32([0.2, 0.2, 0.7, 0.7]), (1, batch.object_mask.shape[1], 1))
  batch = batch.replace(boxes=boxes, masks=np.zeros((*boxes.shape[:2], 8, 8), np.uint8))
  noise = model.draw_noise(0, 0, np.arange(1))
  pictures = [model(batch, noise, use_boxes=use_boxes, use_masks=use_masks).image
              for use_boxes, use_masks in ((False, False), (True, False), (True, True))]
  assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
  assert np.abs(pictures[1] - pictures[2]).max() > 1e-3

import functools

import jax
import numpy as np
import pytest

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.encoding import pad_scene_graph
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.sampling import sampler
from sg2im_jax.sampling.graphs import (
  Pins,
  bucket,
  bucket_size,
  check_graphs,
  encode_graph,
  sample_graphs,
)
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings

VOCABULARY = Vocabulary(
  ('__image__', 'sky', 'grass', 'sheep'), ('__in_image__', 'above', 'standing on')
)
SKY = SceneGraph(('sky', 'grass'), ((0, 'above', 1),))
SHEEP = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
FLOCK = SceneGraph(
  ('grass',) + ('sheep',) * 9, tuple((index, 'standing on', 0) for index in range(1, 10))
)


@pytest.fixture(scope='module')
def model():
  return _model(mask_size=8)


def _model(mask_size):
  config = debug.get_config()
  config.model.mask_size = mask_size
  config.model.gconv_num_layers = 1
  config.model.refinement_dims = (16, 8)
  generator = models.build_generator(Settings.from_config(config), VOCABULARY)
  noise = np.zeros((1, *config.data.image_size, config.model.layout_noise_dim), np.float32)
  init = functools.partial(generator.init, use_boxes=False, use_masks=False, train=False)
  return Sampler(generator, jax.jit(init)(jax.random.key(0), _one(SHEEP), noise))


def _one(graph):
  return jax.tree.map(lambda array: array[None], encode_graph(graph, VOCABULARY, 'test')[0])


def _sample(model, graphs, samples_per_graph=2, seed=0, batch_size=None):
  return list(
    sample_graphs(
      model,
      dict(enumerate(graphs)),
      VOCABULARY,
      samples_per_graph=samples_per_graph,
      seed=seed,
      stretch=False,
      batch_size=batch_size,
    )
  )


def test_shapes_leave_out_the_image_object_and_padding(model):
  sheep, flock = _sample(model, [SHEEP, FLOCK], samples_per_graph=4)
  assert sheep.pictures.shape == (4, 32, 32, 3) and sheep.pictures.dtype == np.uint8
  assert sheep.boxes.shape == (4, 3, 4) and sheep.masks.shape == (4, 3, 8, 8)
  assert flock.boxes.shape == (4, 10, 4) and flock.masks.shape == (4, 10, 8, 8)
  assert flock.graph is FLOCK and flock.index == 1


@pytest.mark.parametrize('rows, part', [(6, 2), (6, 4), (5, 4)])
def test_parts_of_a_batch_are_as_the_whole(monkeypatch, rows, part):
  batch = jax.tree.map(lambda array: np.repeat(array, rows, 0), _one(SHEEP))
  numbers = np.arange(rows, dtype=np.int32)

  def sampled(most):
    monkeypatch.setattr(sampler, '_IMAGES_PER_PART', most)
    return _model(mask_size=8).sample(batch, 0, numbers, numbers, stretch=False)

  found, whole = sampled(part), sampled(rows)
  assert (np.abs(np.subtract(found.pictures, whole.pictures, dtype=int)) <= 1).all()
  np.testing.assert_allclose(found.boxes, whole.boxes, atol=1e-5)
  np.testing.assert_allclose(found.masks, whole.masks, atol=1e-5)
  assert len(np.unique(np.asarray(found.pictures), axis=0)) == rows


def test_seeds_graphs_and_samples_differ(model):
  one, two = _sample(model, [SHEEP, SHEEP])
  other_seed, _ = _sample(model, [SHEEP, SHEEP], seed=1)
  pictures = [*one.pictures, *two.pictures, *other_seed.pictures]
  for index, picture in enumerate(pictures):
    for other in pictures[:index]:
      assert (picture != other).mean() > 0.1
  np.testing.assert_array_equal(one.boxes, other_seed.boxes)


def test_other_graphs_the_batch_and_the_number_of_samples_change_no_picture(model):
  graphs = [SHEEP, FLOCK, SKY, SHEEP]
  (alone,) = _sample(model, [SHEEP], samples_per_graph=1)
  small, large = (
    _sample(model, graphs, samples_per_graph=5, batch_size=4),
    _sample(model, graphs, samples_per_graph=5),
  )
  assert [samples.index for samples in small] == [0, 2, 3, 1]  # bucket after bucket
  assert all(samples.pictures.shape[0] == 5 for samples in small)
  assert _difference(alone.pictures[0], small[0].pictures[0]) <= 1
  np.testing.assert_allclose(alone.boxes[0], small[0].boxes[0], atol=1e-5)
  for samples, others in zip(small, large, strict=True):
    assert _difference(samples.pictures, others.pictures) <= 1


def _difference(one, other):
  return np.abs(one.astype(int) - other.astype(int)).max()


def test_a_row_of_a_batch_is_what_the_graph_alone_gives_before_rounding(model):
  batch = jax.tree.map(lambda *arrays: np.concatenate(arrays), *map(_one, (SKY, SHEEP, SKY, SKY)))
  noise = np.concatenate([model.random_noise(0, index, np.arange(1)) for index in range(4)])
  together, alone = model(batch, noise).image[1], model(_one(SHEEP), noise[1:2]).image[0]
  scale = np.abs(alone).max()  # of an untrained network, several times that of real pictures
  np.testing.assert_allclose(together / scale, alone / scale, atol=1e-5)
  pictures = model.sample(batch, 0, np.arange(4), np.zeros(4, int), stretch=False).pictures
  mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
  expected = np.clip((np.asarray(alone) * std + mean) * 255, 0, 255)
  assert np.abs(np.asarray(pictures[1]) - expected).max() < 0.51


def test_padding_changes_no_pixel(model):
  roomy = SceneBatch(**pad_scene_graph(SHEEP, VOCABULARY, 32, 64, 'test'))
  outputs = [
    model(graph, model.random_noise(0, 0, np.arange(1)))
    for graph in (_one(SHEEP), jax.tree.map(lambda array: array[None], roomy))
  ]
  scale = np.abs(outputs[0].image).max()
  np.testing.assert_allclose(outputs[0].image / scale, outputs[1].image / scale, atol=1e-5)
  np.testing.assert_allclose(outputs[0].boxes[:, :4], outputs[1].boxes[:, :4], atol=1e-5)


def test_graphs_of_one_bucket_compile_once():
  model = _model(mask_size=8)
  _sample(model, [SKY, SHEEP, SKY], batch_size=4)
  _sample(model, [SHEEP, SKY], seed=3)
  assert len(model._sample._programs) == 1
  _sample(model, [FLOCK, SHEEP, FLOCK], samples_per_graph=3, batch_size=4)
  assert len(model._sample._programs) == 2


def test_the_next_batch_is_begun_before_the_last_one_is_fetched(model, monkeypatch):
  begun, sample = [], model.sample
  monkeypatch.setattr(
    model, 'sample', lambda *args, **kwargs: begun.append(args) or sample(*args, **kwargs)
  )
  counts = [
    len(begun)
    for _ in sample_graphs(
      model,
      dict.fromkeys(range(6), SKY),
      VOCABULARY,
      samples_per_graph=4,
      seed=0,
      stretch=False,
      batch_size=4,
    )
  ]
  assert counts == [2, 3, 4, 5, 6, 6]


def test_nothing_to_sample(model):
  assert _sample(model, []) == []


@pytest.mark.parametrize(
  'num_devices, num_images, largest, size',
  [
    (1, 1, None, 1),
    (1, 16, None, 16),
    (1, 17, None, 32),
    (1, 1000, None, 64),
    (1, 1000, 10, 10),
    (1, 3, 10, 4),
    (8, 1, None, 8),
    (8, 1000, None, 512),
    (8, 1000, 10, 16),
    (3, 4, None, 6),
  ],
)
def test_batch_sizes(model, monkeypatch, num_devices, num_images, largest, size):
  class Mesh:
    size = num_devices

  monkeypatch.setattr(model, 'mesh', Mesh)
  assert model.batch_size(num_images, largest) == size


def test_a_model_without_masks_has_boxes_alone():
  (samples,) = _sample(_model(mask_size=0), [SHEEP])
  assert samples.masks is None and samples.boxes.shape == (2, 3, 4)


@pytest.mark.parametrize('count, size', [(1, 8), (8, 8), (9, 16), (33, 64), (1000, 1024)])
def test_bucket_sizes(count, size):
  assert bucket_size(count) == size


def test_the_bucket_counts_the_image_object_and_its_triples():
  assert bucket(SKY) == bucket(SHEEP) == (8, 8, 0)
  assert bucket(FLOCK) == (16, 32, 0)
  assert encode_graph(FLOCK, VOCABULARY, 'test')[0].triples.shape == (32, 3)


def test_unknown_names_are_named_with_their_place():
  with pytest.raises(
    UserError, match=r'pets.json: graph 1: object 1: unknown object name "shep".*"sheep"'
  ):
    check_graphs([SKY, SceneGraph(('sky', 'shep'), ())], VOCABULARY, 'pets.json')
  with pytest.raises(
    UserError, match=r'pets.json: graph 0: relationship 0: unknown predicate name "abov".*"above"'
  ):
    check_graphs([SceneGraph(('sky', 'grass'), ((0, 'abov', 1),))], VOCABULARY, 'pets.json')


def test_a_layout_can_be_given(model):
  batch = _one(SHEEP)
  boxes = np.tile(np.float32([0.2, 0.2, 0.7, 0.7]), (1, batch.object_mask.shape[1], 1))
  batch = batch.replace(boxes=boxes, masks=np.zeros((*boxes.shape[:2], 8, 8), np.uint8))
  noise = model.random_noise(0, 0, np.arange(1))
  pictures = [
    model(batch, noise, use_boxes=use_boxes, use_masks=use_masks).image
    for use_boxes, use_masks in ((False, False), (True, False), (True, True))
  ]
  assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
  assert np.abs(pictures[1] - pictures[2]).max() > 1e-3


def test_given_boxes_and_masks_are_used_and_returned(model):
  boxes = np.tile(np.float32([0.2, 0.2, 0.7, 0.7]), (3, 1))
  masks = np.zeros((3, 8, 8), np.uint8)
  graphs = dict.fromkeys(range(3), SHEEP)
  pins = {1: Pins(boxes), 2: Pins(boxes, masks)}
  predicted, with_boxes, with_both = sorted(
    sample_graphs(model, graphs, VOCABULARY, samples_per_graph=1, seed=0, stretch=False, pins=pins),
    key=lambda samples: samples.index,
  )
  assert (predicted.boxes != boxes).any()
  np.testing.assert_array_equal(with_boxes.boxes[0], boxes)
  np.testing.assert_allclose(with_boxes.masks, predicted.masks, atol=1e-5)
  np.testing.assert_array_equal(with_both.boxes[0], boxes)
  np.testing.assert_array_equal(with_both.masks[0], masks)
  # The same scene as the network itself computes it, with the noise of graph 2.
  batch = _one(SHEEP)
  slots = np.zeros((1, batch.object_mask.shape[1], 4), np.float32)
  slots[:, 0], slots[:, 1:4] = (0, 0, 1, 1), boxes
  all_masks = np.zeros((*slots.shape[:2], 8, 8), np.uint8)
  all_masks[:, 0] = 1
  batch = batch.replace(boxes=slots, masks=all_masks)
  given = {name: batch.object_mask for name in ('boxes', 'masks')}
  expected = model.sample(batch, 0, np.array([2]), np.array([0]), stretch=False, given=given)
  assert _difference(np.asarray(expected.pictures), with_both.pictures) <= 1


@pytest.mark.parametrize(
  'layout, message',
  [
    (Pins(np.zeros((2, 4))), r'test: boxes are \[2, 4\], expected finite numbers \[3, 4\]'),
    (Pins(np.full((3, 4), np.inf)), r'boxes are \[3, 4\], expected finite numbers'),
    (Pins(None, np.zeros((3, 8, 4))), r'masks are \[3, 8, 4\], expected \[3, M, M\]'),
  ],
)
def test_a_layout_of_another_shape_is_refused(layout, message):
  with pytest.raises(UserError, match=message):
    encode_graph(SHEEP, VOCABULARY, 'test', layout)

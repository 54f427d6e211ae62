import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import models
from tests.small_scenes import (
  VOCABULARY,
  random_batch,
  random_noise,
  tiny_settings,
  with_rubbish_in_padding,
)


def initialised(settings, batch):
  generator = models.build_generator(settings, VOCABULARY)
  noise = random_noise(batch, settings.model.layout_noise_dim)
  variables = generator.init(
    jax.random.key(0), batch, noise, use_boxes=True, use_masks=True, train=True
  )
  return jax.jit(
    lambda batch, **kwargs: generator.apply(variables, batch, noise, train=False, **kwargs),
    static_argnames=('use_boxes', 'use_masks'),
  )


@pytest.fixture(scope='module')
def generate():
  return initialised(tiny_settings(), random_batch())


def test_shapes_and_modes(generate):
  batch = random_batch()
  outputs = [
    generate(batch, use_boxes=boxes, use_masks=masks)
    for boxes, masks in ((True, True), (True, False), (False, False))
  ]
  assert outputs[0].image.shape == (4, 16, 16, 3)
  assert outputs[0].boxes.shape == (4, 6, 4) and outputs[0].masks.shape == (4, 6, 4, 4)
  assert outputs[0].predicate_logits.shape == (4, 9, VOCABULARY.num_predicates)
  for first, second in ((0, 1), (1, 2)):
    assert np.abs(outputs[first].image - outputs[second].image).max() > 1e-3
    np.testing.assert_array_equal(outputs[first].boxes, outputs[second].boxes)


@pytest.mark.parametrize('use_layout', [True, False])
def test_what_padding_holds_changes_nothing(generate, use_layout):
  batch = random_batch()
  clean, spoiled = (
    generate(scenes, use_boxes=use_layout, use_masks=use_layout)
    for scenes in (batch, with_rubbish_in_padding(batch))
  )
  np.testing.assert_array_equal(clean.image, spoiled.image)
  np.testing.assert_array_equal(clean.boxes[batch.object_mask], spoiled.boxes[batch.object_mask])


def test_the_order_of_objects_and_triples_does_not_matter(generate):
  batch = random_batch()
  row = 0
  count = int(batch.object_mask[row].sum())
  order = np.arange(batch.object_mask.shape[1])
  order[1:count] = np.roll(order[1:count], 1)
  place = np.argsort(order)
  swap = lambda values: np.stack([values[row][order], *values[1:]])
  triples = np.array(batch.triples)
  num_triples = int(batch.triple_mask[row].sum())
  triples[row, :num_triples, 0] = place[triples[row, :num_triples, 0]]
  triples[row, :num_triples, 2] = place[triples[row, :num_triples, 2]]
  triples[row, :num_triples] = triples[row, :num_triples][::-1]
  shuffled = batch.replace(
    object_class=swap(batch.object_class),
    boxes=swap(batch.boxes),
    masks=swap(batch.masks),
    triples=triples,
  )
  original, other = (
    generate(scenes, use_boxes=False, use_masks=False) for scenes in (batch, shuffled)
  )
  np.testing.assert_allclose(original.image, other.image, atol=2e-5)
  np.testing.assert_allclose(original.boxes[row][order], other.boxes[row], atol=1e-6)


def test_without_a_mask_head_boxes_are_filled():
  settings = tiny_settings({'model.mask_size': 0})
  batch = random_batch()
  outputs = initialised(settings, batch)(batch, use_boxes=True, use_masks=False)
  assert outputs.mask_logits is None and outputs.masks is None
  assert np.isfinite(outputs.image).all()


def test_a_rectangular_image():
  settings = tiny_settings({'data.image_size': (8, 16)})
  batch = random_batch()
  batch = batch.replace(image=batch.image[:, :8])
  assert initialised(settings, batch)(batch, use_boxes=True, use_masks=True).image.shape == (
    4,
    8,
    16,
    3,
  )


def test_without_graph_convolution_relations_do_not_matter():
  settings = tiny_settings({'model.gconv_num_layers': 0})
  batch = random_batch()
  generate = initialised(settings, batch)
  other = batch.replace(
    triples=np.where(batch.triple_mask[..., None], [1, 2, 1], 0).astype(np.int32)
  )
  np.testing.assert_array_equal(
    generate(batch, use_boxes=False, use_masks=False).image,
    generate(other, use_boxes=False, use_masks=False).image,
  )
  assert jnp.any(
    generate(batch, use_boxes=False, use_masks=False).predicate_logits
    != generate(other, use_boxes=False, use_masks=False).predicate_logits
  )

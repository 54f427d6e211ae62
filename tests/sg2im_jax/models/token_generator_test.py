"""Encoder, prior and painter together: padding, what is given, dtypes, shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax import models
from sg2im_jax.models import pixels
from sg2im_jax.models.token_generator import LatentMoments, objects_alone
from tests.small_scenes import (
  VOCABULARY,
  largest_difference,
  random_batch,
  tiny_token_settings,
  with_rubbish_in_padding,
)

LATENT_DIM = 3


def scenes(**sizes):
  return random_batch(mask_size=8, **sizes)


def noise_of(generator, batch, seed=0):
  keys = jax.random.split(jax.random.key(seed), len(batch.object_mask))
  return jax.vmap(lambda key: generator.random_noise(key, batch.object_mask.shape[1]))(keys)


def initialised(values=None):
  """A function of a batch and of what is given, and the generator."""
  generator = models.build_generator(tiny_token_settings(values), VOCABULARY)
  batch = scenes()
  seen = batch.replace(image=pixels.normalize(batch.image))
  variables = generator.init(
    jax.random.key(0), seen, noise_of(generator, batch), method='everything'
  )
  # The velocity begins at 0, which would hide what the prior sees.
  velocity = variables['params']['prior']['velocity']
  velocity['kernel'] = 0.3 * jax.random.normal(jax.random.key(1), velocity['kernel'].shape)

  @functools.partial(jax.jit, static_argnums=0)
  def apply(of_all, batch, seed, of_some):
    noise = noise_of(generator, batch, seed)
    return generator.apply(variables, batch, noise, **dict(of_all), **of_some)

  def generate(batch, seed=0, **given):
    given = {'use_boxes': False, 'use_masks': False, **given}
    of_all = tuple((name, which) for name, which in given.items() if isinstance(which, bool))
    return apply(of_all, batch, seed, {n: v for n, v in given.items() if not isinstance(v, bool)})

  return generate, generator, variables


@pytest.fixture(scope='module')
def generate():
  return initialised()[0]


def given(batch, *places):
  mask = np.zeros(batch.object_mask.shape, bool)
  for place in places:
    mask[place] = True
  return mask


def test_shapes_and_frame(generate):
  batch = scenes()
  outputs = generate(batch)
  assert outputs.image.shape == (4, 16, 16, 3) and outputs.masks.shape == (4, 6, 8, 8)
  assert outputs.latents.shape == (4, 6, LATENT_DIM) and outputs.predicate_logits is None
  boxes = np.asarray(outputs.boxes)
  assert boxes.min() >= 0 and boxes.max() <= 1
  np.testing.assert_array_equal(boxes[:, 0], [[0, 0, 1, 1]] * 4)


def test_another_seed_is_another_layout_and_another_appearance(generate):
  batch = scenes()
  one, other = generate(batch), generate(batch, seed=1)
  real = np.array(batch.object_mask)
  real[:, 0] = False
  assert (np.abs(one.boxes - other.boxes)[real].max(-1) > 1e-4).all()
  assert (np.abs(one.latents - other.latents)[batch.object_mask].max(-1) > 1e-4).all()


def test_what_padding_holds_changes_nothing(generate):
  batch = scenes()
  latents = np.ones((4, 6, LATENT_DIM), np.float32)
  spoiled_latents = np.where(batch.object_mask[..., None], latents, 1e6).astype(np.float32)
  pinned = {
    'use_boxes': given(batch, (0, 1)),
    'use_masks': given(batch, (1, 1)),
    'use_latents': given(batch, (0, 1), (2, 1)),
  }
  clean = generate(batch.replace(latents=latents), **pinned)
  spoiled = with_rubbish_in_padding(batch).replace(latents=spoiled_latents)
  jax.tree.map(np.testing.assert_array_equal, clean, generate(spoiled, **pinned))


def test_the_number_of_slots_changes_nothing(generate):
  few, many = scenes(), scenes(object_slots=16, triple_slots=24)
  one, other = generate(few), generate(many)
  assert largest_difference(one.image, other.image) < 1e-4
  np.testing.assert_allclose(other.boxes[:, :6], one.boxes, atol=1e-5)
  assert not np.any(other.boxes[:, 6:]) and not np.any(other.latents[:, 6:])


def test_what_is_given_is_what_comes_out_and_the_rest_follows_it(generate):
  batch = scenes()
  boxes = np.array(batch.boxes)
  boxes[0, 1] = 0.31, 0.32, 0.63, 0.64
  latents = np.zeros((4, 6, LATENT_DIM), np.float32)
  latents[0, 1] = 0.1, -2, 3
  of_one = given(batch, (0, 1))
  free = generate(batch)
  pinned = generate(
    batch.replace(boxes=boxes, latents=latents), use_boxes=of_one, use_latents=of_one
  )
  np.testing.assert_array_equal(pinned.boxes[0, 1], boxes[0, 1])
  np.testing.assert_array_equal(pinned.latents[0, 1], latents[0, 1])
  assert np.abs(pinned.boxes - free.boxes)[0, 2].max() > 1e-5
  np.testing.assert_allclose(pinned.boxes[1:], free.boxes[1:], atol=1e-6)  # other scenes


def test_one_object_changes_while_all_others_are_pinned(generate):
  batch = scenes()
  before = generate(batch)
  kept = np.array(batch.object_mask)
  kept[:, 1] = False
  pinned = batch.replace(boxes=before.boxes, latents=before.latents)
  after = generate(pinned, seed=1, use_boxes=kept, use_latents=kept)
  np.testing.assert_array_equal(after.boxes[kept], before.boxes[kept])
  np.testing.assert_array_equal(after.latents[kept], before.latents[kept])
  assert (np.abs(after.boxes - before.boxes)[:, 1].max(-1) > 1e-4).all()


def test_masks_of_some_objects_can_be_given(generate):
  batch = scenes()
  masks = np.array(batch.masks)
  masks[0, 1] = 0
  shown = {'use_boxes': True, 'use_latents': False}
  one = generate(batch, use_masks=given(batch, (0, 1)), **shown)
  other = generate(batch.replace(masks=masks), use_masks=given(batch, (0, 1)), **shown)
  assert np.abs(one.image - other.image)[0].max() > 1e-3
  np.testing.assert_array_equal(one.image[1:], other.image[1:])


@pytest.mark.exhaustive
def test_bfloat16_is_close_and_leaves_float32():
  batch = scenes()
  full, _, _ = initialised()
  half, _, _ = initialised({'dtype': 'bfloat16'})
  everything = {'use_boxes': True, 'use_masks': True, 'use_latents': True}
  batch = batch.replace(latents=np.ones((4, 6, LATENT_DIM), np.float32))
  one, other = full(batch, **everything), half(batch, **everything)
  assert {leaf.dtype for leaf in jax.tree.leaves(other)} == {jnp.dtype('float32')}
  assert 0 < np.abs(one.image - other.image).mean() < 0.05


def test_without_masks_in_the_data_boxes_are_encoded_whole():
  _, generator, variables = initialised()
  batch = scenes()
  image = pixels.normalize(batch.image)
  whole = batch.replace(masks=np.ones_like(batch.masks))

  def encode(batch):
    return generator.apply(variables, image, batch, method='encode').mean

  np.testing.assert_allclose(
    encode(batch.replace(masks=None))[batch.object_mask],
    encode(whole)[batch.object_mask],
    atol=1e-6,
  )
  assert np.abs(encode(batch) - encode(whole)).max() > 1e-4


def test_moments_of_latents():
  moments = LatentMoments(latent_dim=2)
  latents = 3 + 2 * jax.random.normal(jax.random.key(0), (50, 6, 2))
  latents = latents.at[:, 4:].set(1e6)
  mask = np.zeros((50, 6), bool)
  mask[:, :4] = True
  variables = moments.init(jax.random.key(0), latents)
  for _ in range(1000):
    _, variables = moments.apply(variables, latents, mask, method='update', mutable=['batch_stats'])
  scaled = moments.apply(variables, latents)
  np.testing.assert_allclose(scaled[:, :4].mean((0, 1)), 0, atol=1e-3)
  np.testing.assert_allclose(scaled[:, :4].std((0, 1)), 1, atol=1e-3)
  back = moments.apply(variables, scaled, method='inverse')
  np.testing.assert_allclose(back[:, :4], latents[:, :4], atol=1e-4)


def test_an_attribute_reaches_prior_and_painter(generate):
  batch = scenes()
  plain, others = batch.replace(attributes=None), np.array(batch.attributes)
  others[0, 1] = 1 + (others[0, 1] + 1) % 3  # of one object
  base, changed = generate(batch), generate(batch.replace(attributes=others))
  assert np.abs(changed.latents[0, 1] - base.latents[0, 1]).max() > 1e-3
  assert np.abs(changed.boxes[0, 1] - base.boxes[0, 1]).max() > 1e-4
  np.testing.assert_array_equal(changed.image[1:], base.image[1:])
  pinned = {'use_boxes': True, 'use_latents': True}
  latents = 0.5 * np.ones((*batch.object_mask.shape, LATENT_DIM), np.float32)
  painted = [
    generate(one.replace(latents=latents), **pinned).image
    for one in (batch, batch.replace(attributes=others))
  ]
  assert np.abs(painted[0][0] - painted[1][0]).max() > 1e-4
  np.testing.assert_array_equal(painted[0][1:], painted[1][1:])
  # Empty slots are as no slots at all.
  empty = generate(batch.replace(attributes=np.zeros_like(batch.attributes)))
  assert largest_difference(empty, generate(plain)) < 1e-5


def test_objects_alone_are_in_the_image_and_no_more():
  batch = scenes()
  bare = objects_alone(batch)
  assert bare.attributes is None
  kept = np.asarray(bare.triple_mask)
  assert (batch.triples[kept][:, 1] == 0).all()
  assert kept.sum() == (batch.triple_mask & (batch.triples[..., 1] == 0)).sum()

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from sg2im_jax.models.graph_convolution import Incidence
from sg2im_jax.models.layers import Convolution
from sg2im_jax.models.warping import object_canvases
from tests.small_scenes import random_batch

BOXES = jnp.ones((2, 3, 4))
MASKS = jnp.ones((2, 3, 8, 8))


@pytest.mark.parametrize(
  'boxes, masks',
  [
    (BOXES, MASKS[:1]),
    (BOXES, MASKS[:, :2]),
    (BOXES, MASKS[..., :4]),
    (BOXES[..., :3], MASKS),
    (BOXES.astype(int), MASKS),
  ],
)
def test_arguments_that_do_not_fit_each_other(boxes, masks):
  def warp(boxes, masks):
    return object_canvases(boxes, masks, (4, 4), align_corners=True)

  warp(BOXES, MASKS)
  for call in (warp, jax.jit(warp)):
    with pytest.raises(jaxtyping.TypeCheckError, match='object_canvases'):
      call(boxes, masks)


@pytest.mark.parametrize(
  'spoil',
  [
    lambda batch: {'boxes': batch.boxes[:, :-1]},
    lambda batch: {'masks': batch.masks.astype(np.int32)},
    lambda batch: {'triples': batch.triples[..., :2]},
    lambda batch: {'object_mask': batch.object_mask.astype(np.int32)},
  ],
)
def test_arrays_of_a_batch_that_do_not_fit_each_other(spoil):
  batch = random_batch()
  batch.zero_padding()
  spoilt = batch.replace(**spoil(batch))
  with pytest.raises(jaxtyping.TypeCheckError):
    spoilt.zero_padding()


def test_arrays_of_a_dataclass_that_do_not_fit_an_argument():
  incidence = Incidence(subject=jnp.ones((2, 5, 3)), object=jnp.ones((2, 5, 3)))
  incidence.gather(jnp.ones((2, 3, 7)))
  with pytest.raises(jaxtyping.TypeCheckError):
    incidence.gather(jnp.ones((2, 4, 7)))


def test_modules_are_checked():
  layer = Convolution(features=2, width=3)
  with pytest.raises(jaxtyping.TypeCheckError):
    layer.init(jax.random.key(0), jnp.ones((4, 8, 3)))


def test_pytrees_of_anything_can_be_made():
  batch = random_batch()
  assert jax.tree.map(lambda array: array.shape, batch).boxes == (4, 6, 4)
  assert jax.eval_shape(lambda batch: batch, batch).boxes.shape == (4, 6, 4)

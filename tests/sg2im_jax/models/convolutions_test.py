"""Each way to compute a convolution against what its docstring says that it equals, gradients
included.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax.models import layers
from sg2im_jax.models.convolutions import (
  _upsampled_by_phases,
  _upsampled_by_taps,
  convolve,
  convolve_layout,
  convolve_strided,
  convolve_upsampled,
)

AROUND = ((1, 1), (1, 1))


def normal(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def check_equal(function, expected, *arguments):
  """Values, and the gradients by every argument of a weighted sum of them."""
  values = expected(*arguments)
  weights = normal(*values.shape, seed=9)
  found = function(*arguments), *jax.vjp(function, *arguments)[1](weights)
  wanted = values, *jax.vjp(expected, *arguments)[1](weights)
  for one, other in zip(found, wanted, strict=True):
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * float(jnp.abs(other).max()))


@pytest.mark.parametrize('height, width', [(1, 1), (2, 5), (4, 3)])
@pytest.mark.parametrize('channels', [3, 256])
@pytest.mark.parametrize('function', [_upsampled_by_phases, _upsampled_by_taps, convolve_upsampled])
def test_convolving_before_upsampling(function, channels, height, width):
  check_equal(
    function,
    lambda x, kernel: convolve(layers.upsample(x), kernel, AROUND),
    normal(2, height, width, channels),
    normal(3, 3, channels, 5, seed=1),
  )


@pytest.mark.parametrize(
  'size, taps, padding',
  [
    ((3, 4), 1, ((1, 2), (0, 1))),
    ((1, 1), 2, ((1, 0), (0, 1))),
    ((2, 5), 3, ((1, 1), (1, 1))),
    ((3, 4), 3, ((0, 0), (0, 0))),
  ],
)
def test_few_taps_and_small_maps_are_plain_convolutions(size, taps, padding):
  def plain(x, kernel):
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )

  check_equal(
    lambda x, kernel: convolve(x, kernel, padding),
    plain,
    normal(2, *size, 5),
    normal(taps, taps, 5, 6, seed=1),
  )


@pytest.mark.parametrize('on_cpu', [True, False])
@pytest.mark.parametrize('objects', [1, 7])
def test_a_layout_that_is_never_built(objects, on_cpu, monkeypatch):
  if not on_cpu:
    monkeypatch.setattr(
      jax.lax, 'platform_dependent', lambda *arrays, default, **_: default(*arrays)
    )

  def plain(canvases, vectors, kernel):
    return convolve(jnp.einsum('bhwo,bod->bhwd', canvases, vectors), kernel, AROUND)

  check_equal(
    convolve_layout,
    plain,
    normal(2, 4, 6, objects),
    normal(2, objects, 5, seed=1),
    normal(3, 3, 5, 4, seed=2),
  )


@pytest.mark.parametrize('size', [7, 8, 9, 10])
@pytest.mark.parametrize(
  'width, stride, padding', [(4, 2, 0), (3, 2, 1), (3, 3, 0), (5, 2, 2), (2, 4, 0), (3, 1, 1)]
)
def test_strides_folded_into_channels(size, width, stride, padding):
  def plain(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      ((padding, padding),) * 2,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  check_equal(
    lambda x, kernel: convolve_strided(x, kernel, stride=stride, padding=padding),
    plain,
    normal(2, size, size + 1, 3),
    normal(width, width, 3, 4, seed=1),
  )


@pytest.mark.parametrize(
  'function, shapes',
  [
    (convolve_upsampled, [(1, 2, 2, 3), (3, 3, 3, 4)]),
    (convolve_layout, [(1, 2, 2, 3), (1, 3, 5), (3, 3, 5, 4)]),
    (
      lambda x, kernel: convolve_strided(x, kernel, stride=2, padding=0),
      [(1, 6, 6, 3), (4, 4, 3, 4)],
    ),
  ],
)
def test_bfloat16_stays_bfloat16(function, shapes):
  assert function(*(jnp.ones(shape, jnp.bfloat16) for shape in shapes)).dtype == jnp.bfloat16

"""Convolutions that never build the large arrays they are defined on.

A convolution is linear in its input. Where that input is a linear function of something smaller,
the function can be applied to the kernel, or to the result, instead. Each function below equals
the plain computation named in its docstring, for the same kernel; the tests compare the two.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

# With fewer channels a CPU takes longer to write and add a map for each tap than it saves in
# products.
_CHANNELS_BY_TAPS = 256


def convolve(
  x: Float[jax.Array, 'N H W C'],
  kernel: Float[jax.Array, 'k l C F'],
  padding: Sequence[tuple[int, int]],
) -> Float[jax.Array, 'N h w F']:
  """The plain convolution, with `padding` zeros before and after rows and columns."""
  if kernel.shape[:2] == (1, 1):
    # The gradient of a product by the kernel is a product, that of a convolution has copies of x
    # with batch and channels exchanged, for which CPUs take longer.
    return jnp.pad(x, ((0, 0), *padding, (0, 0))) @ kernel[0, 0]
  if min(x.shape[1:3]) >= max(kernel.shape[:2]):
    return _convolve(x, kernel, padding)
  return jax.lax.platform_dependent(
    x,
    kernel,
    cpu=partial(_convolve_by_taps, padding=padding),
    default=partial(_convolve, padding=padding),
  )


def _convolve(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def _convolve_by_taps(
  x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]
) -> jax.Array:
  """`convolve` as the sum of a matrix product for each tap of the kernel.

  For maps that are smaller than the kernel: XLA has no fast convolution of them on CPUs. That of
  four 2x2 maps with 1024 channels took 560 ms on one core, that of four 4x4 maps 6 ms.
  """
  rows, columns, channels, features = kernel.shape
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  batch, height, width = x.shape[0], x.shape[1] - rows + 1, x.shape[2] - columns + 1
  products = [
    x[:, row : row + height, column : column + width].reshape(-1, channels) @ kernel[row, column]
    for row in range(rows)
    for column in range(columns)
  ]
  return sum(products[1:], products[0]).reshape(batch, height, width, features)


def convolve_strided(
  x: Float[jax.Array, 'N H W C'], kernel: Float[jax.Array, 'k k C F'], *, stride: int, padding: int
) -> Float[jax.Array, 'N h w F']:
  """A strided convolution, computed as one without stride.

  Let s be the stride. Tap t = s u + r of output pixel i reads x[s i + t] = x[s (i + u) + r].
  Folding each square of s x s pixels into s s C channels, and the taps of the kernel likewise,
  leaves a convolution of stride 1 with ceil(k / s) taps a side. Its gradients need no dilated
  convolution, which compilers are slow at, and the 3 channels of an image become 12, which suits
  matrix units better.

  Args:
    x: the input.
    kernel: square.
    stride: in both directions.
    padding: zeros on each of the four sides.
  """
  if stride == 1:
    return convolve(x, kernel, [(padding, padding)] * 2)

  batch, height, width, channels = x.shape
  taps = -(-kernel.shape[0] // stride)

  def folded_size(size: int) -> int:
    return (size + 2 * padding - kernel.shape[0]) // stride + taps

  # A negative high padding cuts off the remainder that no tap reads.
  rows, columns = folded_size(height), folded_size(width)
  x = jax.lax.pad(
    x,
    jnp.zeros((), x.dtype),
    (
      (0, 0, 0),
      (padding, stride * rows - padding - height, 0),
      (padding, stride * columns - padding - width, 0),
      (0, 0, 0),
    ),
  )
  x = x.reshape(batch, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)

  missing = taps * stride - kernel.shape[0]
  kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
  kernel = kernel.reshape(taps, stride, taps, stride, channels, -1).transpose(0, 2, 1, 3, 4, 5)
  return convolve(
    x.reshape(batch, rows, columns, -1),
    kernel.reshape(taps, taps, -1, kernel.shape[-1]),
    [(0, 0)] * 2,
  )


def convolve_upsampled(
  x: Float[jax.Array, 'N H W C'], kernel: Float[jax.Array, '3 3 C F']
) -> Float[jax.Array, 'N 2*H 2*W F']:
  """`convolve(upsample(x), kernel, padding=1)`, with nearest-neighbour upsampling by 2.

  Both ways to compute it, each with its derivation, work on the small x.
  """
  return jax.lax.platform_dependent(x, kernel, cpu=_upsampled_by_taps, default=_upsampled_by_phases)


def _upsampled_by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`convolve_upsampled` as four convolutions.

  Rows 2i and 2i + 1 of the upsampled input are both row i. Output row 2i + p, with p = 0 or 1,
  reads three of them: rows i - 1, i, i for p = 0, or i, i, i + 1 for p = 1. These are two different
  rows, one of which meets the sum of two rows of the kernel. The same holds for columns. So each of
  the four phases (p, q) of the output is a convolution of the small x with a 2x2 kernel of sums:
  16 products for each input pixel and pair of channels instead of 36.
  """
  batch, height, width, _ = x.shape

  def merge_taps(kernel: jax.Array, phase: int, axis: int) -> jax.Array:
    first, middle, last = jnp.split(kernel, 3, axis)
    return jnp.concatenate([first, middle + last] if phase == 0 else [first + middle, last], axis)

  def convolve_phase(p: int, q: int) -> jax.Array:
    return convolve(x, merge_taps(merge_taps(kernel, p, 0), q, 1), ((1 - p, p), (1 - q, q)))

  phases = [[convolve_phase(p, q) for q in (0, 1)] for p in (0, 1)]
  interleaved = jnp.stack([jnp.stack(columns, 3) for columns in phases], 2)
  return interleaved.reshape(batch, 2 * height, 2 * width, -1)


@jax.custom_vjp
def _upsampled_by_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`convolve_upsampled` as matrix products, one for each of the nine taps.

  A product with one tap of the kernel treats every pixel alike, so it can be done before
  upsampling: 9 products instead of 36. With x_i the rows of x and a, b, c the taps, the rows of the
  output are

      y_2i     = a x_{i-1} + b x_i + c x_i
      y_{2i+1} = a x_i     + b x_i + c x_{i+1}

  and likewise for columns. The gradient is the transpose: nine sums of neighbouring gradients at
  each pixel of x, by which both products are matrix products as well; those of convolutions need
  copies with batch and channels exchanged, which CPUs are slow at.
  """
  batch, height, width, channels = x.shape
  if channels < _CHANNELS_BY_TAPS:
    return _upsampled_by_phases(x, kernel)

  def project(row: int, column: int) -> jax.Array:
    return (x.reshape(-1, channels) @ kernel[row, column]).reshape(batch, height, width, -1)

  def upsample_taps(taps: Sequence[jax.Array], axis: int) -> jax.Array:
    first, middle, last = taps
    even = _shifted(first, 1, axis) + middle + last
    odd = first + middle + _shifted(last, -1, axis)
    shape = list(first.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis + 1).reshape(shape)

  rows = [upsample_taps([project(row, column) for column in range(3)], 2) for row in range(3)]
  return upsample_taps(rows, 1)


def _upsampled_by_taps_backward(
  residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, kernel = residuals
  _, _, channels, features = kernel.shape

  def sum_by_tap(gradient: jax.Array, axis: int) -> list[jax.Array]:
    shape = list(gradient.shape)
    shape[axis : axis + 1] = shape[axis] // 2, 2
    gradient = gradient.reshape(shape)
    even, odd = (jax.lax.index_in_dim(gradient, i, axis + 1, keepdims=False) for i in (0, 1))
    return [odd + _shifted(even, -1, axis), even + odd, _shifted(odd, 1, axis) + even]

  rows = [jnp.stack(sum_by_tap(row, 2), 3) for row in sum_by_tap(gradient, 1)]
  by_tap = jnp.stack(rows, 3).reshape(-1, 9 * features)
  of_x = (by_tap @ kernel.transpose(0, 1, 3, 2).reshape(-1, channels)).reshape(x.shape)
  of_taps = x.reshape(-1, channels).T @ by_tap
  return of_x, of_taps.reshape(channels, 3, 3, features).transpose(1, 2, 0, 3)


_upsampled_by_taps.defvjp(
  lambda x, kernel: (_upsampled_by_taps(x, kernel), (x, kernel)), _upsampled_by_taps_backward
)


def _shifted(x: jax.Array, by: int, axis: int) -> jax.Array:
  """x moved along an axis, with zeros where nothing comes from."""
  padding = [(0, 0, 0)] * x.ndim
  padding[axis] = by, -by, 0
  return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def convolve_layout(
  canvases: Float[jax.Array, 'B H W O'],
  object_vectors: Float[jax.Array, 'B O D'],
  kernel: Float[jax.Array, '3 3 D F'],
) -> Float[jax.Array, 'B H W F']:
  """`convolve(layout, kernel, padding=1)` of the scene layout sum_o S_o v_o.

  S_o is the canvas and v_o the vector of object o. At pixel p the convolution is
  sum_t (sum_o S_o[p + t] v_o) W_t over the taps t, which equals sum_{o,t} S_o[p + t] (v_o W_t):
  project each vector through the nine taps (9 O small products, independent of the pixels), then
  mix the projections with the shifted canvases. A pixel costs 9 O F products instead of 9 D F, and
  no array has D channels a pixel. Pooling is linear too, so a pooled layout is the layout of pooled
  canvases.
  """
  projected = jnp.einsum('bod,kldf->bklof', object_vectors, kernel)
  projected = projected.reshape(projected.shape[0], -1, kernel.shape[-1])
  # A loop over a batch that is sharded would gather it on every device.
  on_cpu = _mixed_one_by_one if jax.device_count() == 1 else jax.vmap(_mixed)
  return jax.lax.platform_dependent(canvases, projected, cpu=on_cpu, default=jax.vmap(_mixed))


def _mixed(
  canvases: Float[jax.Array, 'H W O'], projected: Float[jax.Array, 'K F']
) -> Float[jax.Array, 'H W F']:
  """Of one image, the sum over objects and taps of the shifted canvases times `projected`."""
  height, width, _ = canvases.shape
  padded = jnp.pad(canvases, ((1, 1), (1, 1), (0, 0)))
  shifted = jnp.concatenate(
    [
      padded[row : row + height, column : column + width] for row in range(3) for column in range(3)
    ],
    -1,
  )
  # With pixels as one axis, the gradients are products of matrices as they lie in memory.
  return (shifted.reshape(height * width, -1) @ projected).reshape(height, width, -1)


def _mixed_one_by_one(
  canvases: Float[jax.Array, 'B H W O'], projected: Float[jax.Array, 'B K F']
) -> Float[jax.Array, 'B H W F']:
  """`_mixed` of one image after the other, again for the gradient.

  The shifted canvases of an image stay in the caches of a CPU; those of a batch of 16, 47 MB, took
  ten times as long to write and read, and were kept for the gradient.
  """
  return jax.lax.map(lambda image: jax.checkpoint(_mixed)(*image), (canvases, projected))

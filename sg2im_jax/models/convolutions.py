"""Convolutions that never build the large arrays they are defined on.

A convolution is linear in its input. Where that input is a linear function of something smaller,
the function can be applied to the kernel, or to the result, instead. Each function below equals
the plain computation named in its docstring, for the same kernel; the tests compare the two.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float


def convolve(
  x: Float[jax.Array, 'N H W C'],
  kernel: Float[jax.Array, 'k l C F'],
  padding: Sequence[tuple[int, int]],
) -> Float[jax.Array, 'N h w F']:
  """The plain convolution, with `padding` zeros before and after rows and columns."""
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


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
  _, height, width, _ = canvases.shape
  padded = jnp.pad(canvases, ((0, 0), (1, 1), (1, 1), (0, 0)))
  shifted = jnp.concatenate(
    [
      padded[:, row : row + height, column : column + width]
      for row in range(3)
      for column in range(3)
    ],
    -1,
  )
  projected = jnp.einsum('bod,kldf->bklof', object_vectors, kernel)
  projected = projected.reshape(projected.shape[0], -1, kernel.shape[-1])
  return jnp.einsum('bhwk,bkf->bhwf', shifted, projected)

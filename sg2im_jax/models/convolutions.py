"""Convolutions without the large arrays that they are defined on: the same numbers from the same
kernels, sooner.

A convolution is linear in its input, so whatever linear thing was done to make that input can be
done to the kernel, or afterwards, instead. Each function below says what it equals; its test
computes that.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def convolve(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
  """The convolution itself: [B, h, w, C] and [k, l, C, F] -> [B, h', w', F], with zeros before and
  after each side.
  """
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def convolve_strided(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
  """A strided convolution, [B, h, w, C] and [k, k, C, F] -> [B, h', w', F], as one without a
  stride.

  With s the stride, tap t = s u + r of output pixel i meets x[s i + t] = x[s (i + u) + r]. So fold
  each square of s x s pixels into the channels (there are s s C then) and the taps of the kernel
  likewise: a convolution of ceil(k / s) taps a side is left. Its gradients need no convolution with
  gaps either, which compilers are slow at, and the three channels of a picture become twelve, which
  matrix units like better.
  """
  if stride == 1:
    return convolve(x, kernel, [(padding, padding)] * 2)
  batch, height, width, channels = x.shape
  taps = -(-kernel.shape[0] // stride)

  def folded_size(size: int) -> int:
    return (size + 2 * padding - kernel.shape[0]) // stride + taps

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
  )  # a remainder that no tap meets is cut off
  x = x.reshape(batch, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)
  missing = taps * stride - kernel.shape[0]
  kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
  kernel = kernel.reshape(taps, stride, taps, stride, channels, -1).transpose(0, 2, 1, 3, 4, 5)
  return convolve(
    x.reshape(batch, rows, columns, -1),
    kernel.reshape(taps, taps, -1, kernel.shape[-1]),
    [(0, 0)] * 2,
  )


def convolve_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`convolve(upsample(x), kernel, padding=1)`: [B, h, w, C] and [3, 3, C, F] -> [B, 2h, 2w, F].

  Rows 2i and 2i + 1 of the upsampled input are row i. So the three rows of the kernel at output row
  2i + p, p being 0 or 1, meet rows i - 1, i, i or i, i, i + 1: two different ones, of which one
  meets the sum of two rows of the kernel. The same holds for columns. Each of the four phases (p,
  q) of the output is a convolution of the small x with a kernel of 2x2 sums: 16 products an input
  pixel and pair of channels, where there were 36.
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


def convolve_layout(canvases: jax.Array, object_vectors: jax.Array, kernel: jax.Array) -> jax.Array:
  """`convolve(layout, kernel, padding=1)` with the layout sum_o S_o v_o, S_o a canvas and v_o a
  vector.

  At pixel p that is sum_t (sum_o S_o[p + t] v_o) W_t over the taps t, which is sum_{o,t} S_o[p + t]
  (v_o W_t): project each vector through the nine taps, 9 O small products that no pixel takes part
  in, then mix the results by the shifted canvases. A pixel costs 9 O F products in place of 9 D F,
  and no array has D channels a pixel. Pooling is linear too, so a pooled layout is this with pooled
  canvases.

  Args:
    canvases: [B, h, w, O].
    object_vectors: [B, O, D].
    kernel: [3, 3, D, F].

  Returns:
    [B, h, w, F].
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

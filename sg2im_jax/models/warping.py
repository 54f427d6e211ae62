"""Bilinear warping between boxes and images, as matrix products.

`object_canvases` warps masks into boxes of the canvas (paper section 3, "scene layout");
`crop_objects` is the inverse warp, from boxes of an image to crops.

Warping into or out of an axis-aligned box is separable. Along one axis, bilinear sampling at texel
position p gives texel m the weight max(0, 1 - |p - m|); beyond the texels this formula is zero
padding. So every warp is a pair of small matrices instead of a gather, and has gradients with
respect to boxes, masks and images.

`align_corners` means what it means in PyTorch's `grid_sample`. With it, the centres of the first
and the last texel lie on the edges; that is the only behaviour of the PyTorch that trained the
published checkpoints. Without it, texel m of n covers the m-th n-th of the range and has its centre
in the middle; that is the default since PyTorch 1.3. Canvas pixels and crop samples lie at
linspace(0, 1, n) in both cases.

Coordinates are mapped to [-1, 1] and back, as `grid_sample` has them: with the same rounding the
results are within a few 1e-7 of the published operators; direct formulas differ by 1e-5 at 64
pixels.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sg2im_jax.scene_batch import Array


class Warp(flax.struct.PyTreeNode, kw_only=True):
  """The warp from the frames of boxes to a canvas, as a pair of matrices for each box.

  Attributes:
    rows: how much of each row of a map each row of the canvas takes.
    columns: likewise.
  """

  rows: Float[jax.Array, 'B O h M']
  columns: Float[jax.Array, 'B O w M']

  @classmethod
  def of(
    cls,
    boxes: Float[Array, 'B O 4'],
    texels: int,
    image_size: tuple[int, int],
    *,
    align_corners: bool,
  ) -> 'Warp':
    """The warp of maps of texels x texels.

    Args:
      boxes: x0, y0, x1, y1, with the canvas at [0, 1].
      texels: M, side of the maps.
      image_size: h, w of the canvas in pixels.
      align_corners: of a map's texels in its box; see the module's docstring.
    """
    height, width = image_size
    return cls(
      rows=_canvas_weights(boxes[..., 1], boxes[..., 3], height, texels, align_corners),
      columns=_canvas_weights(boxes[..., 0], boxes[..., 2], width, texels, align_corners),
    )

  def canvases(self, masks: Float[Array, 'B O M M']) -> Float[jax.Array, 'B h w O']:
    """Each object's mask warped into its box, on a canvas of its own."""
    return jnp.einsum('bohm,bomn,bown->bhwo', self.rows, masks, self.columns)

  def composite(
    self, maps: Float[Array, 'B O M M C'], opacities: Float[Array, 'B h w O']
  ) -> Float[jax.Array, 'B h w C']:
    """Each object's map warped into its box, and the sum of all, weighted at every pixel."""
    channels_first = maps.transpose(0, 1, 4, 2, 3)
    warped = jnp.einsum(
      'bochn,bown->bochw', jnp.einsum('bohm,bocmn->bochn', self.rows, channels_first), self.columns
    )
    weights = opacities.transpose(0, 3, 1, 2)[:, :, None]
    return (warped * weights).sum(1).transpose(0, 2, 3, 1)


@functools.partial(jax.jit, static_argnames=('image_size', 'align_corners'))
def object_canvases(
  boxes: Float[Array, 'B O 4'],
  masks: Float[Array, 'B O M M'],
  image_size: tuple[int, int],
  *,
  align_corners: bool,
) -> Float[jax.Array, 'B H W O']:
  """Each object's mask warped into its box, on a canvas of its own.

  Args:
    boxes: x0, y0, x1, y1, with the canvas at [0, 1].
    masks: values in [0, 1], each in the frame of its box.
    image_size: H, W of the canvas in pixels.
    align_corners: of a mask's texels in its box; see the module's docstring.
  """
  warp = Warp.of(boxes, masks.shape[-1], image_size, align_corners=align_corners)
  return warp.canvases(masks)


def crop_objects(
  image: Float[Array, 'B H W C'],
  boxes: Float[Array, 'B O 4'],
  crop_size: int,
  *,
  align_corners: bool,
) -> Float[jax.Array, 'B O {crop_size} {crop_size} C']:
  """Bilinear crops of each box, zero outside the image (paper section 3, "discriminators").

  Args:
    image: the images to cut from.
    boxes: x0, y0, x1, y1, with the image at [0, 1].
    crop_size: side of the crops in pixels.
    align_corners: of the image's pixels; see the module's docstring.
  """
  height, width = image.shape[1:3]
  rows = _crop_weights(boxes[..., 1], boxes[..., 3], crop_size, height, align_corners)
  columns = _crop_weights(boxes[..., 0], boxes[..., 2], crop_size, width, align_corners)
  return jnp.einsum('bosh,bhwc,botw->bostc', rows, image, columns)


def _canvas_weights(
  start: Float[Array, 'B O'],
  end: Float[Array, 'B O'],
  pixels: int,
  texels: int,
  align_corners: bool,
) -> Float[jax.Array, 'B O {pixels} {texels}']:
  """Weights that stretch `texels` over [start, end] of a row of canvas pixels."""
  extent = end - start
  # A box without extent would divide by zero; with a tiny one it covers one pixel at most.
  extent = jnp.where(extent == 0, jnp.finfo(extent.dtype).tiny ** 0.5, extent)
  coordinates = (unit_steps(pixels) - start[..., None]) / extent[..., None] * 2 - 1
  return triangular_weights(texel_positions(coordinates, texels, align_corners), texels)


def _crop_weights(
  start: Float[Array, 'B O'],
  end: Float[Array, 'B O'],
  samples: int,
  pixels: int,
  align_corners: bool,
) -> Float[jax.Array, 'B O {samples} {pixels}']:
  """Weights that sample [start, end] of a row of image pixels."""
  steps = unit_steps(samples)
  coordinates = (start * 2 - 1)[..., None] * steps[::-1] + (end * 2 - 1)[..., None] * steps
  return triangular_weights(texel_positions(coordinates, pixels, align_corners), pixels)


def triangular_weights(
  positions: Float[Array, '*shape'], texels: int
) -> Float[jax.Array, '*shape {texels}']:
  """The bilinear weight of each texel at positions in units of texels."""
  return jnp.maximum(0.0, 1 - jnp.abs(positions[..., None] - jnp.arange(texels)))


def texel_positions(
  coordinates: Float[Array, '*shape'], texels: int, align_corners: bool
) -> Float[Array, '*shape']:
  """Coordinates, [-1, 1] from edge to edge of a row of texels, in units of texels."""
  if align_corners:
    return (coordinates + 1) * ((texels - 1) / 2)
  return (coordinates + 1) * (texels / 2) - 0.5


def unit_steps(count: int) -> Float[np.ndarray, ' {count}']:
  """float32 steps from 0 to 1, counted up from 0 and down from 1 as torch.linspace does."""
  steps = np.arange(count) * float(np.float32(1 / max(count - 1, 1)))
  return np.where(np.arange(count) < max(count // 2, 1), steps, 1 - steps[::-1]).astype(np.float32)

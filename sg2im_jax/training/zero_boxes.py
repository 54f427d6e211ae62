"""Notices a box head that is dead: its last ReLU gives 0 for every object, and no gradient."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from sg2im_jax.runtime import reporting
from sg2im_jax.scene_batch import Array

ENOUGH = 200  # steps in a row
_NAMES = ('x0', 'y0', 'x1', 'y1')


def coordinates(
  boxes: Float[Array, 'B O 4'], object_mask: Bool[Array, 'B O']
) -> Float[jax.Array, '']:
  """Which coordinates are 0 for every object of a batch, as a sum of powers of 2: 1 for x0, 2 for
  y0, 4 for x1, 8 for y1.
  """
  is_zero = ((boxes == 0) | ~object_mask[..., None]).all((0, 1))
  return jnp.where(is_zero, 2.0 ** jnp.arange(4), 0.0).sum()


class ZeroBoxes:
  """Warns once of each coordinate that has been 0 for every object of ENOUGH steps."""

  def __init__(self):
    self._in_a_row = [0] * 4

  def note(self, steps: Sequence[jax.Array | float]):
    """Takes the `coordinates` of the next steps, in their order."""
    dead = []
    for index, name in enumerate(_NAMES):
      for step in steps:
        before = self._in_a_row[index]
        self._in_a_row[index] = before + 1 if int(step) >> index & 1 else 0
        if self._in_a_row[index] == ENOUGH:
          dead.append(name)
    if dead:
      reporting.warning(
        f'{", ".join(dead)} of every predicted box has been 0 for {ENOUGH} steps: the box head '
        'starts with outputs that its ReLU makes 0, and learns nothing there. Train anew with '
        '--config.model.initial_box=0.5, or another seed'
      )

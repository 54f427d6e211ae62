"""What training carries from step to step."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax


class NetworkState(flax.struct.PyTreeNode):
  """One network: its parameters, running statistics ({} without BatchNorm) and Adam state."""

  params: Any
  batch_stats: Any
  opt_state: Any

  @property
  def variables(self) -> dict[str, Any]:
    """What `module.apply` takes."""
    return {'params': self.params, 'batch_stats': self.batch_stats}


class TrainState(flax.struct.PyTreeNode):
  """The state of a training.

  Attributes:
    step: int32[], steps done.
    generator, image_discriminator, object_discriminator: an ablated discriminator is None.
  """

  step: jax.Array
  generator: NetworkState
  image_discriminator: NetworkState | None
  object_discriminator: NetworkState | None


def to_items(state: TrainState) -> dict[str, Any]:
  """The items of a checkpoint: `generator`, all that sampling needs, and `training`, the rest."""
  generator = {'params': state.generator.params, 'batch_stats': state.generator.batch_stats}
  training = {
    'step': state.step,
    'generator_opt_state': state.generator.opt_state,
    'image_discriminator': state.image_discriminator,
    'object_discriminator': state.object_discriminator,
  }
  return {'generator': generator, 'training': training}


def from_items(items: Mapping[str, Any]) -> TrainState:
  """The state of which these are the items."""
  generator, training = items['generator'], items['training']
  return TrainState(
    step=training['step'],
    generator=NetworkState(opt_state=training['generator_opt_state'], **generator),
    image_discriminator=training['image_discriminator'],
    object_discriminator=training['object_discriminator'],
  )

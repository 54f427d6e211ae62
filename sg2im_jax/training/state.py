"""What training carries from step to step."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax

Metrics = dict[str, jax.Array]


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

  @property
  def networks(self) -> dict[str, NetworkState | None]:
    """The networks by their names."""
    names = ('generator', 'image_discriminator', 'object_discriminator')
    return {name: getattr(self, name) for name in names}

  def sampling_variables(self) -> dict[str, Any]:
    """What is sampled with."""
    return self.generator.variables

  def to_items(self) -> dict[str, Any]:
    """The items of a checkpoint: `generator`, all that sampling needs, and `training`, the rest."""
    generator = {'params': self.generator.params, 'batch_stats': self.generator.batch_stats}
    training = {
      'step': self.step,
      'generator_opt_state': self.generator.opt_state,
      'image_discriminator': self.image_discriminator,
      'object_discriminator': self.object_discriminator,
    }
    return {'generator': generator, 'training': training}

  @classmethod
  def from_items(cls, items: Mapping[str, Any]) -> 'TrainState':
    """The state of which these are the items."""
    generator, training = items['generator'], items['training']
    return cls(
      step=training['step'],
      generator=NetworkState(opt_state=training['generator_opt_state'], **generator),
      image_discriminator=training['image_discriminator'],
      object_discriminator=training['object_discriminator'],
    )

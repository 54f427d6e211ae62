"""What training carries from step to step."""

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

"""What training carries from step to step."""

from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.scene_batch import SceneBatch


class Networks(NamedTuple):
  """The modules; an ablated discriminator is None. The fields are named as those of TrainState."""

  generator: models.Generator
  image_discriminator: models.ImageDiscriminator | None
  object_discriminator: models.ObjectDiscriminator | None


@flax.struct.dataclass
class NetworkState:
  """One network: its parameters, running statistics ({} without BatchNorm) and Adam state."""

  params: Any
  batch_stats: Any
  opt_state: Any

  @property
  def variables(self) -> dict[str, Any]:
    """What `module.apply` takes."""
    return {'params': self.params, 'batch_stats': self.batch_stats}


@flax.struct.dataclass
class TrainState:
  """Attributes:
  step: int32[], steps done.
  generator, image_discriminator, object_discriminator: an ablated discriminator is None.
  """

  step: jax.Array
  generator: NetworkState
  image_discriminator: NetworkState | None
  object_discriminator: NetworkState | None


def build_networks(config: ConfigDict, vocabulary: Vocabulary) -> Networks:
  """The modules that a config describes."""
  return Networks(
    models.build_generator(config, vocabulary),
    models.build_image_discriminator(config),
    models.build_object_discriminator(config, vocabulary),
  )


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
  """Adam, the same for the three networks; each has a state of its own."""
  settings = config.optimizer
  schedules = {
    'constant': optax.constant_schedule(settings.learning_rate),
    'cosine': optax.cosine_decay_schedule(settings.learning_rate, config.num_steps),
  }
  if settings.schedule not in schedules:
    raise UserError(
      f'config.optimizer.schedule is {settings.schedule!r}, expected one of {", ".join(schedules)}'
    )
  return optax.adam(schedules[settings.schedule], settings.b1, settings.b2, settings.eps)


def create_train_state(config: ConfigDict, vocabulary: Vocabulary) -> TrainState:
  """A freshly initialised state; a function of the config (with its seed) and the vocabulary's size
  alone.
  """
  networks = build_networks(config, vocabulary)
  optimizer = make_optimizer(config)
  height, width = config.data.image_size
  mask_size = config.model.mask_size or 1
  # shapes do not reach the parameters; one object, one triple, two examples for BatchNorm
  batch = SceneBatch(
    object_class=jnp.zeros((2, 1), jnp.int32),
    object_mask=jnp.ones((2, 1), bool),
    triples=jnp.zeros((2, 1, 3), jnp.int32),
    triple_mask=jnp.ones((2, 1), bool),
    boxes=jnp.zeros((2, 1, 4)),
    masks=jnp.ones((2, 1, mask_size, mask_size), jnp.uint8),
  )
  noise = jnp.zeros((2, height, width, config.model.layout_noise_dim))
  image = jnp.zeros((2, height, width, 3))

  def initialise(module: nn.Module | None, key: jax.Array, *args, **kwargs) -> NetworkState | None:
    if module is None:
      return None
    variables = module.init(key, *args, **kwargs)
    return NetworkState(
      variables['params'], variables.get('batch_stats', {}), optimizer.init(variables['params'])
    )

  keys = jax.random.split(jax.random.key(config.seed), 3)
  return TrainState(
    step=jnp.int32(0),
    generator=initialise(
      networks.generator, keys[0], batch, noise, use_boxes=True, use_masks=True, train=True
    ),
    image_discriminator=initialise(
      networks.image_discriminator, keys[1], image, batch.example_mask, train=True
    ),
    object_discriminator=initialise(
      networks.object_discriminator, keys[2], image, batch.boxes, batch.object_mask, train=True
    ),
  )


def restart_generator_optimizer(state: TrainState, config: ConfigDict) -> TrainState:
  """The state with a fresh Adam for the generator, as the published run has when it freezes
  BatchNorm.
  """
  fresh = make_optimizer(config).init(state.generator.params)
  return state.replace(generator=state.generator.replace(opt_state=fresh))

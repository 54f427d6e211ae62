"""The optimizers of training."""

import optax

from sg2im_jax.settings import OptimizerSettings


def adam(settings: OptimizerSettings, num_steps: int) -> optax.GradientTransformation:
  """Adam with the schedule of the settings, for a training of `num_steps`."""
  learning_rate = optax.constant_schedule(settings.learning_rate)
  if settings.schedule == 'cosine':
    learning_rate = optax.cosine_decay_schedule(settings.learning_rate, num_steps)
  return optax.adam(learning_rate, settings.b1, settings.b2, settings.eps)

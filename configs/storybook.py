"""The embedded picture book at 64x64, with object tokens: what `make quickstart` trains.

  python -m sg2im_jax.train --config=configs/storybook.py --workdir=runs/storybook

4 to 8 minutes on 2 CPU cores.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64_tokens, storybook_published


def get_config() -> ConfigDict:
  config = coco64_tokens.with_tokens(storybook_published.get_config())
  config.num_steps = 1_500
  config.data.max_attributes = 4
  config.model.gconv_hidden_dim = 128
  config.model.refinement_dims = (64, 64, 48, 32, 16)
  config.losses.divergence_weight = 5e-4
  config.tokens.latent_dim = 24
  config.tokens.encoder_dims = (32, 64, 128)
  config.tokens.sprite_dims = (64, 64, 32, 16)
  config.tokens.texture_dim = 8
  config.tokens.vector_dim = 64
  config.tokens.discriminator_dims = (32, 64, 128)
  config.tokens.discriminator_learning_rate = 1e-3
  config.tokens.ema_decay = 0.98
  config.tokens.prior.features = 160
  config.tokens.prior.num_blocks = 3
  config.tokens.prior.scenes_per_image = 6
  config.tokens.prior.learning_rate = 1.5e-3
  config.tokens.prior.ema_decay = 0.99
  config.optimizer.learning_rate = 2e-3
  return config

"""A model small enough to test with: a step takes milliseconds on a CPU; the pictures show nothing.

python -m sg2im_jax.train --config=configs/debug.py --workdir=runs/debug
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.num_steps = 20
  config.batch_size = 4

  config.data.name = 'storybook'
  config.data.image_size = (32, 32)
  config.data.mask_size = 8
  config.data.max_objects = 12
  config.data.max_triples = 24
  config.data.relations = 'mixed'
  config.data.options = ConfigDict()
  config.data.options.num_train = 32
  config.data.options.num_val = 8
  config.data.options.scene_seed = 0

  config.model.mask_size = 8
  config.model.embedding_dim = 16
  config.model.gconv_dim = 16
  config.model.gconv_hidden_dim = 32
  config.model.gconv_num_layers = 2
  config.model.layout_noise_dim = 4
  config.model.refinement_dims = (32, 16, 8)
  config.image_discriminator.arch = 'C4-8-2,C4-16-2'
  config.object_discriminator.arch = 'C4-8-2,C4-16-2'
  config.object_discriminator.crop_size = 16

  config.optimizer.learning_rate = 1e-3
  config.freeze_batch_norm_after = 15
  config.log_every = 1
  config.eval_every = 10
  config.num_eval_examples = 8
  config.image_grid_every = 20
  config.checkpoint_every = 5
  return config

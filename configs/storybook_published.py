"""The published model on the embedded picture book at 64x64, to compare `storybook` with.

  python -m sg2im_jax.train --config=configs/storybook_published.py \\
      --workdir=runs/storybook_published

About 5 minutes on 2 CPU cores. Expect a validation box IoU of 0.50, and pictures with the right
things in the right places but little detail, the same for each sample.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.num_steps = 1_600
  config.batch_size = 8

  config.data.name = 'storybook'
  config.data.source_dir = ''  # drawn by a program, nothing to read
  config.data.max_objects = 10
  config.data.max_triples = 18
  config.data.relations = 'mixed'
  config.data.options = ConfigDict()
  config.data.options.num_train = 6_000
  config.data.options.num_val = 500
  config.data.options.scene_seed = 0

  config.model.embedding_dim = 32
  config.model.gconv_dim = 32
  config.model.gconv_hidden_dim = 256
  config.model.gconv_num_layers = 4
  config.model.initial_box = 0.5
  config.model.layout_noise_dim = 4
  config.model.refinement_dims = (96, 96, 64, 32, 24)
  config.image_discriminator.arch = 'C4-32-2,C4-64-2,C4-128-2'
  config.object_discriminator.arch = 'C4-32-2,C4-64-2,C3-128'

  config.losses.bbox_weight = 30.0
  config.losses.mask_weight = 2.0
  config.optimizer.learning_rate = 1e-3
  config.optimizer.schedule = 'cosine'
  config.freeze_batch_norm_after = 10_000  # never here: it would compile a second step

  config.eval_every = 800
  config.num_eval_examples = 200
  config.image_grid_every = 800
  config.checkpoint_every = 500
  return config

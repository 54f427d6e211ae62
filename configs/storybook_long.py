"""The picture book as in `storybook`, trained for longer: what `make storybook-long` trains.

  python -m sg2im_jax.train --config=configs/storybook_long.py --workdir=runs/storybook_long

About 28 minutes on 2 CPU cores.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import storybook


def get_config() -> ConfigDict:
  config = storybook.get_config()
  config.num_steps = 5_000
  config.eval_every = 2_500
  config.image_grid_every = 2_500
  return config

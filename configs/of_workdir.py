"""The config that a work directory was made with, for training it further.

  python -m sg2im_jax.train --config=configs/of_workdir.py:runs/vg64 --workdir=runs/vg64
  --config.num_steps=1010000

A converted checkpoint has a config of its own, built from what the checkpoint says of its model.
"""

from ml_collections import ConfigDict

from sg2im_jax.storage import work_directory


def get_config(workdir: str) -> ConfigDict:
  return work_directory.load_config(workdir)

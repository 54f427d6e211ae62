"""COCO-Stuff at 128x128: the paper's model, whose five refinement modules start from 4x4.

  python -m sg2im_jax.train --config=configs/coco128.py --workdir=runs/coco128 \\
      --config.data.source_dir=datasets/coco
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.data.image_size = (128, 128)
  return config

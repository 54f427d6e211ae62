"""COCO's panoptic annotations at 64x64: things and stuff that never overlap, from one file.

  python -m sg2im_jax.train --config=configs/coco_panoptic64.py --workdir=runs/coco_panoptic64 \\
      --config.data.source_dir=datasets/coco

Model and hyper-parameters are those of `coco64`. There is no published model to compare with.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.data.name = 'coco_panoptic'
  config.data.options.train_images = 'all'
  config.model.initial_box = 0.5  # no coordinate of a box starts dead, see coco64
  return config

"""Visual Genome at 128x128, with object tokens. Without masks in the data, those that
objects grow are learned through the picture alone.

  python -m sg2im_jax.train --config=configs/vg128_tokens.py --workdir=runs/vg128_tokens \\
      --config.data.source_dir=datasets/vg
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64_tokens, vg128


def get_config() -> ConfigDict:
  config = coco64_tokens.with_tokens(vg128.get_config())
  config.data.max_attributes = 4
  return config

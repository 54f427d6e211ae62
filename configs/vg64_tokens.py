"""Visual Genome at 64x64, with object tokens. Without masks in the data, those that
objects grow are learned through the picture alone.

  python -m sg2im_jax.train --config=configs/vg64_tokens.py --workdir=runs/vg64_tokens \\
      --config.data.source_dir=datasets/vg
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64_tokens, vg64


def get_config() -> ConfigDict:
  config = coco64_tokens.with_tokens(vg64.get_config())
  config.data.max_attributes = 4
  return config

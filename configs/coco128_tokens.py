"""COCO-Stuff at 128x128, with object tokens.

  python -m sg2im_jax.train --config=configs/coco128_tokens.py --workdir=runs/coco128_tokens \\
      --config.data.source_dir=datasets/coco
"""

from ml_collections import ConfigDict

from data_pipelines.configs import coco64_tokens, coco128


def get_config() -> ConfigDict:
  return coco64_tokens.with_tokens(coco128.get_config())

"""The rows of the paper's Table 1 at 64x64, on COCO-Stuff, or after `vg64_` on Visual Genome.

python -m sg2im_jax.train --config=configs/ablations.py:no_gconv --workdir=runs/coco64_no_gconv
python -m sg2im_jax.train --config=configs/ablations.py:vg64_no_gconv --workdir=runs/vg64_no_gconv

  no_gconv                 no graph convolution: boxes, masks and pictures come from the class of
                           each object alone
  no_relationships         graph convolution, but over __in_image__ triples only
  no_discriminators        no adversarial loss: of the picture there is the pixel loss alone
  no_object_discriminator
  no_image_discriminator
  full                     the whole model: configs/coco64.py, configs/vg64.py
  gt_layout                ground-truth boxes (and masks on COCO-Stuff) in testing as in training;
                           nothing has to predict them, so there is no box loss and no mask loss
  gt_layout_no_gconv       the same without graph convolution
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64, vg64

ROWS = (
  'no_gconv',
  'no_relationships',
  'no_discriminators',
  'no_object_discriminator',
  'no_image_discriminator',
  'full',
  'gt_layout',
  'gt_layout_no_gconv',
)


def get_config(name: str = '') -> ConfigDict:
  row = name.removeprefix('vg64_')
  if row not in ROWS:
    raise ValueError(
      f'no row {row!r} in Table 1; after a colon, name one of {", ".join(ROWS)}, or the same with '
      'vg64_ before it'
    )
  config = (coco64 if row == name else vg64).get_config()
  if row in ('no_gconv', 'gt_layout_no_gconv'):
    config.model.gconv_num_layers = 0
  if row == 'no_relationships':
    config.data.relations = 'none'
  if row in ('no_discriminators', 'no_object_discriminator'):
    config.object_discriminator.enabled = False
  if row in ('no_discriminators', 'no_image_discriminator'):
    config.image_discriminator.enabled = False
  if row.startswith('gt_layout'):
    config.losses.bbox_weight = config.losses.mask_weight = 0.0
  return config

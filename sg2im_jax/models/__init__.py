"""The generator and the two discriminators (paper section 3).

Read in this order: `generator`, `graph_convolution`, `heads`, `warping`, `refinement`,
`discriminators`; then what they are built from: `layers`, `normalization`, `convolutions`.
Shapes use the letters of `scene_batch.py` and four more: N images (or crops, or vectors as 1x1
images) of a flattened batch, C and F input and output channels, Z channels of noise. Lower-case h
and w are the size of a feature map.
"""

from sg2im_jax.models.build import Networks, build_generator, build_networks
from sg2im_jax.models.checks import faults
from sg2im_jax.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from sg2im_jax.models.generator import Generator, GeneratorOutputs

__all__ = [
  'Generator',
  'GeneratorOutputs',
  'ImageDiscriminator',
  'Networks',
  'ObjectDiscriminator',
  'build_generator',
  'build_networks',
  'faults',
]

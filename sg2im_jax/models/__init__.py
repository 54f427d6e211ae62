"""The published generator and its two discriminators (paper section 3), and the token models.

Read in this order: `generator`, `graph_convolution`, `heads`, `warping`, `refinement`,
`discriminators`; then what they are built from: `layers`, `normalization`, `convolutions`. Token
models: `object_tokens`, `token_generator`, `crop_encoder`, `token_prior`, `painter`,
`scene_discriminator`.
Shapes use the letters of `scene_batch.py` and four more: N images (or crops, or vectors as 1x1
images) of a flattened batch, C and F input and output channels, Z channels of noise. Lower-case h
and w are the size of a feature map.
"""

from sg2im_jax.models.build import (
  Networks,
  TokenNetworks,
  build_generator,
  build_networks,
  build_token_networks,
)
from sg2im_jax.models.checks import faults
from sg2im_jax.models.crop_encoder import LatentDistribution
from sg2im_jax.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from sg2im_jax.models.generator import Generator, GeneratorOutputs
from sg2im_jax.models.painter import Painting
from sg2im_jax.models.scene_discriminator import SceneDiscriminator, SceneJudgement
from sg2im_jax.models.token_generator import TokenGenerator, TokenNoise

__all__ = [
  'Generator',
  'GeneratorOutputs',
  'ImageDiscriminator',
  'LatentDistribution',
  'Networks',
  'ObjectDiscriminator',
  'Painting',
  'SceneDiscriminator',
  'SceneJudgement',
  'TokenGenerator',
  'TokenNetworks',
  'TokenNoise',
  'build_generator',
  'build_networks',
  'build_token_networks',
  'faults',
]

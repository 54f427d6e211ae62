"""The generator and the two discriminators (paper section 3).

Read in this order: `generator`, `graph_convolution`, `heads`, `warping`, `refinement`,
`discriminators`; then what they are built from: `layers`, `normalization`, `convolutions`.
Shapes use the letters of `scene_batch.py` and four more: N images (or crops, or vectors as 1x1
images) of a flattened batch, C and F input and output channels, Z channels of noise. Lower-case h
and w are the size of a feature map.

The names below can be imported from here. JAX and Flax are imported when the first of the networks
is asked for: `faults` and the module `arch`, which check settings, need neither.
"""

from typing import TYPE_CHECKING, Any

from sg2im_jax.models.checks import faults

if TYPE_CHECKING:
  from sg2im_jax.models.build import (
    Generator,
    GeneratorOutputs,
    ImageDiscriminator,
    Networks,
    ObjectDiscriminator,
    build_generator,
    build_networks,
  )

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


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from sg2im_jax.models import build

  return getattr(build, name)

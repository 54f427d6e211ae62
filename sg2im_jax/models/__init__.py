"""The three networks. `build_*` is where configs end: the modules take ints, tuples and names."""

from typing import NamedTuple

from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from sg2im_jax.models.generator import Generator, GeneratorOutputs

__all__ = [
  'Generator',
  'GeneratorOutputs',
  'ImageDiscriminator',
  'ObjectDiscriminator',
  'build_generator',
  'build_image_discriminator',
  'build_object_discriminator',
]


def build_generator(config: ConfigDict, vocabulary: Vocabulary) -> Generator:
  """The generator that a config describes.

  Raises:
    UserError: the image size, the mask size or the noise does not fit the network.
  """
  model = config.model
  height, width = config.data.image_size
  coarsest = 2 ** len(model.refinement_dims)
  if height % coarsest or width % coarsest:
    raise UserError(
      f'config.data.image_size is {height}x{width}, but {len(model.refinement_dims)} refinement '
      f'modules need multiples of {coarsest}; change it or config.model.refinement_dims'
    )
  if model.mask_size & (model.mask_size - 1):
    raise UserError(f'config.model.mask_size is {model.mask_size}, expected 0 or a power of two')
  for name, known in (('gconv_pooling', ('avg', 'sum')), ('mlp_normalization', ('none', 'batch'))):
    if getattr(model, name) not in known:
      raise UserError(
        f'config.model.{name} is {getattr(model, name)!r}, expected {" or ".join(known)}'
      )
  return Generator(
    num_objects=vocabulary.num_objects,
    num_predicates=vocabulary.num_predicates,
    image_size=(height, width),
    dtype=_dtype(config),
    rematerialize=config.rematerialize,
    **dict(model),
  )


def build_image_discriminator(config: ConfigDict) -> ImageDiscriminator | None:
  """The image discriminator of a config; None where it is ablated."""
  if not config.image_discriminator.enabled:
    return None
  settings = config.image_discriminator
  return ImageDiscriminator(
    settings.arch,
    settings.normalization,
    settings.activation,
    settings.padding,
    settings.classifier,
    _dtype(config),
  )


def build_object_discriminator(
  config: ConfigDict, vocabulary: Vocabulary
) -> ObjectDiscriminator | None:
  """The object discriminator of a config; None where it is ablated."""
  if not config.object_discriminator.enabled:
    return None
  settings = config.object_discriminator
  if settings.crop_size < 2:
    raise UserError(
      f'config.object_discriminator.crop_size is {settings.crop_size}, expected 2 or more pixels'
    )
  return ObjectDiscriminator(
    vocabulary.num_objects,
    settings.crop_size,
    config.model.align_corners,
    settings.arch,
    settings.normalization,
    settings.activation,
    settings.padding,
    _dtype(config),
  )


def _dtype(config: ConfigDict) -> str:
  if config.dtype not in ('float32', 'bfloat16'):
    raise UserError(f'config.dtype is {config.dtype!r}, expected float32 or bfloat16')
  return config.dtype


class Networks(NamedTuple):
  """The modules of a config; an ablated discriminator is None."""

  generator: Generator
  image_discriminator: ImageDiscriminator | None
  object_discriminator: ObjectDiscriminator | None


def build_networks(settings, vocabulary: Vocabulary) -> Networks:
  """All networks that the settings describe."""
  return Networks(
    build_generator(settings, vocabulary),
    build_image_discriminator(settings),
    build_object_discriminator(settings, vocabulary),
  )


def faults(settings):
  return ()

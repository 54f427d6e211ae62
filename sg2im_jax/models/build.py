"""Settings -> networks. The modules take plain values and know no settings object.

`settings` is any object with the attributes of the config (see `configs/coco64.py`), such as
`settings.model.mask_size`. `checks.faults` must have found no fault in it: nothing is checked here.
"""

from typing import Any

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


def build_generator(settings: Any, vocabulary: Vocabulary) -> Generator:
  """The generator that the settings describe."""
  model = settings.model
  return Generator(
    num_objects=vocabulary.num_objects,
    num_predicates=vocabulary.num_predicates,
    image_size=tuple(settings.data.image_size),
    embedding_dim=model.embedding_dim,
    gconv_dim=model.gconv_dim,
    gconv_hidden_dim=model.gconv_hidden_dim,
    gconv_num_layers=model.gconv_num_layers,
    gconv_pooling=model.gconv_pooling,
    mlp_normalization=model.mlp_normalization,
    initial_box=model.initial_box,
    mask_size=model.mask_size,
    align_corners=model.align_corners,
    layout_noise_dim=model.layout_noise_dim,
    refinement_dims=tuple(model.refinement_dims),
    normalization=model.normalization,
    activation=model.activation,
    dtype=settings.dtype,
    rematerialize=settings.rematerialize,
  )


def build_image_discriminator(settings: Any) -> ImageDiscriminator | None:
  """The image discriminator that the settings describe; None if it is ablated."""
  discriminator = settings.image_discriminator
  if not discriminator.enabled:
    return None
  return ImageDiscriminator(
    arch=discriminator.arch,
    normalization=discriminator.normalization,
    activation=discriminator.activation,
    padding=discriminator.padding,
    classifier=discriminator.classifier,
    dtype=settings.dtype,
  )


def build_object_discriminator(settings: Any, vocabulary: Vocabulary) -> ObjectDiscriminator | None:
  """The object discriminator that the settings describe; None if it is ablated."""
  discriminator = settings.object_discriminator
  if not discriminator.enabled:
    return None
  return ObjectDiscriminator(
    num_objects=vocabulary.num_objects,
    crop_size=discriminator.crop_size,
    align_corners=settings.model.align_corners,
    arch=discriminator.arch,
    normalization=discriminator.normalization,
    activation=discriminator.activation,
    padding=discriminator.padding,
    dtype=settings.dtype,
  )

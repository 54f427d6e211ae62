"""From settings to networks. The modules themselves take plain values and know no settings.

Nothing is checked here: `Settings.from_config` has done that, with `checks.faults`.
"""

from typing import NamedTuple

from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from sg2im_jax.models.generator import Generator
from sg2im_jax.models.settings import NetworkSettings


class Networks(NamedTuple):
  """The modules of a training; an ablated discriminator is None."""

  generator: Generator
  image_discriminator: ImageDiscriminator | None
  object_discriminator: ObjectDiscriminator | None


def build_networks(settings: NetworkSettings, vocabulary: Vocabulary) -> Networks:
  """All networks that the settings describe."""
  return Networks(
    build_generator(settings, vocabulary),
    _build_image_discriminator(settings),
    _build_object_discriminator(settings, vocabulary),
  )


def build_generator(settings: NetworkSettings, vocabulary: Vocabulary) -> Generator:
  """The generator that the settings describe."""
  model = settings.model
  return Generator(
    num_objects=vocabulary.num_objects,
    num_predicates=vocabulary.num_predicates,
    image_size=settings.data.image_size,
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
    refinement_dims=model.refinement_dims,
    normalization=model.normalization,
    activation=model.activation,
    dtype=settings.dtype,
    rematerialize=settings.rematerialize,
  )


def _build_image_discriminator(settings: NetworkSettings) -> ImageDiscriminator | None:
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


def _build_object_discriminator(
  settings: NetworkSettings, vocabulary: Vocabulary
) -> ObjectDiscriminator | None:
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

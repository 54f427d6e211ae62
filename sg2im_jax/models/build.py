"""From settings to networks. The modules themselves take plain values and know no settings.

Nothing is checked here: `Settings.from_config` has done that, with `checks.faults`.
"""

from typing import NamedTuple

from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models.crop_encoder import CropEncoder
from sg2im_jax.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from sg2im_jax.models.generator import Generator
from sg2im_jax.models.painter import Painter
from sg2im_jax.models.scene_discriminator import SceneDiscriminator
from sg2im_jax.models.settings import NetworkSettings, TokenSettings
from sg2im_jax.models.token_generator import TokenGenerator
from sg2im_jax.models.token_prior import TokenPrior


class TokenNetworks(NamedTuple):
  """The modules of the training of a token model."""

  generator: TokenGenerator
  discriminator: SceneDiscriminator


class Networks(NamedTuple):
  """The modules of a training; an ablated discriminator is None."""

  generator: Generator
  image_discriminator: ImageDiscriminator | None
  object_discriminator: ObjectDiscriminator | None


def build_networks(settings: NetworkSettings, vocabulary: Vocabulary) -> Networks:
  """The networks of a published model."""
  return Networks(
    _build_published_generator(settings, vocabulary),
    _build_image_discriminator(settings),
    _build_object_discriminator(settings, vocabulary),
  )


def build_token_networks(settings: NetworkSettings, vocabulary: Vocabulary) -> TokenNetworks:
  """The networks of a token model."""
  tokens = settings.tokens
  assert tokens is not None
  discriminator = SceneDiscriminator(
    num_objects=vocabulary.num_objects,
    dims=tokens.discriminator_dims,
    align_corners=settings.model.align_corners,
    dtype=settings.dtype,
  )
  return TokenNetworks(_build_token_generator(settings, tokens, vocabulary), discriminator)


def build_generator(
  settings: NetworkSettings, vocabulary: Vocabulary
) -> Generator | TokenGenerator:
  """The generator that the settings describe: a published one, or one of object tokens."""
  if settings.tokens is None:
    return _build_published_generator(settings, vocabulary)
  return _build_token_generator(settings, settings.tokens, vocabulary)


def _build_token_generator(
  settings: NetworkSettings, tokens: TokenSettings, vocabulary: Vocabulary
) -> TokenGenerator:
  model, dtype = settings.model, settings.dtype
  return TokenGenerator(
    encoder=CropEncoder(
      latent_dim=tokens.latent_dim,
      dims=tokens.encoder_dims,
      crop_size=tokens.crop_size,
      align_corners=model.align_corners,
      dtype=dtype,
    ),
    prior=TokenPrior(
      num_objects=vocabulary.num_objects,
      num_predicates=vocabulary.num_predicates,
      num_attributes=vocabulary.num_attributes,
      latent_dim=tokens.latent_dim,
      features=tokens.prior.features,
      num_blocks=tokens.prior.num_blocks,
      dtype=dtype,
    ),
    painter=Painter(
      num_objects=vocabulary.num_objects,
      num_predicates=vocabulary.num_predicates,
      num_attributes=vocabulary.num_attributes,
      image_size=settings.data.image_size,
      sprite_dims=tokens.sprite_dims,
      num_colours=tokens.num_colours,
      texture_dim=tokens.texture_dim,
      vector_dim=tokens.vector_dim,
      embedding_dim=model.embedding_dim,
      gconv_dim=model.gconv_dim,
      gconv_hidden_dim=model.gconv_hidden_dim,
      gconv_num_layers=model.gconv_num_layers,
      gconv_pooling=model.gconv_pooling,
      align_corners=model.align_corners,
      refinement_dims=model.refinement_dims,
      normalization=model.normalization,
      activation=model.activation,
      dtype=dtype,
      rematerialize=settings.rematerialize,
    ),
    image_size=settings.data.image_size,
    layout_noise_dim=model.layout_noise_dim,
    latent_dim=tokens.latent_dim,
    guidance=tokens.prior.guidance,
    attribute_guidance=tokens.prior.attribute_guidance,
    sampling_steps=tokens.prior.sampling_steps,
  )


def _build_published_generator(settings: NetworkSettings, vocabulary: Vocabulary) -> Generator:
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

"""The settings of the networks; configs/coco64.py explains them."""

from typing import Annotated, Literal, Protocol, runtime_checkable

import pydantic

from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section

NonNegativeFloat = Annotated[float, pydantic.Field(ge=0)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class ModelSettings(Section):
  """The generator: config.model."""

  embedding_dim: PositiveInt
  gconv_dim: PositiveInt
  gconv_hidden_dim: PositiveInt
  gconv_num_layers: NonNegativeInt
  gconv_pooling: Literal['avg', 'sum']
  mlp_normalization: Literal['none', 'batch']
  initial_box: float
  mask_size: NonNegativeInt
  align_corners: bool
  layout_noise_dim: NonNegativeInt
  refinement_dims: tuple[PositiveInt, ...]
  normalization: Literal['batch', 'instance', 'none']
  activation: str


class DiscriminatorSettings(Section):
  """What both discriminators have."""

  enabled: bool
  arch: str
  normalization: Literal['batch', 'instance', 'none']
  activation: str
  padding: Literal['valid', 'same']


class ImageDiscriminatorSettings(DiscriminatorSettings):
  """config.image_discriminator."""

  classifier: bool


class ObjectDiscriminatorSettings(DiscriminatorSettings):
  """config.object_discriminator."""

  crop_size: Annotated[int, pydantic.Field(ge=2)]


class PriorSettings(Section):
  """The prior of object tokens and its training: config.tokens.prior."""

  features: PositiveInt
  num_blocks: PositiveInt
  scenes_per_image: PositiveInt
  learning_rate: Annotated[float, pydantic.Field(ge=0)]
  box_weight: NonNegativeFloat
  latent_weight: NonNegativeFloat
  dropped_relations: Share
  dropped_attributes: Share
  pinned_scenes: Share
  ema_decay: Share
  guidance: NonNegativeFloat
  attribute_guidance: NonNegativeFloat
  sampling_steps: PositiveInt


class TokenSettings(Section):
  """What token models have beside `model`: config.tokens."""

  latent_dim: PositiveInt
  encoder_dims: tuple[PositiveInt, ...]
  crop_size: PositiveInt
  sprite_dims: tuple[PositiveInt, ...]
  num_colours: PositiveInt
  texture_dim: NonNegativeInt
  vector_dim: PositiveInt
  discriminator_dims: tuple[PositiveInt, ...]
  discriminator_learning_rate: Annotated[float, pydantic.Field(ge=0)]
  painted_from_own_masks: Share
  box_jitter: NonNegativeFloat
  dropped_attributes: Share
  ema_decay: Share
  prior: PriorSettings


@runtime_checkable  # the tests check annotations
class NetworkSettings(Protocol):
  """What the networks need of all settings."""

  @property
  def dtype(self) -> str: ...
  @property
  def rematerialize(self) -> bool: ...
  @property
  def data(self) -> DataSettings: ...
  @property
  def model(self) -> ModelSettings: ...
  @property
  def tokens(self) -> TokenSettings | None: ...
  @property
  def image_discriminator(self) -> ImageDiscriminatorSettings: ...
  @property
  def object_discriminator(self) -> ObjectDiscriminatorSettings: ...

"""The settings of the networks; configs/coco64.py explains them."""

from typing import Annotated, Literal, Protocol, runtime_checkable

import pydantic

from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section


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
  def image_discriminator(self) -> ImageDiscriminatorSettings: ...
  @property
  def object_discriminator(self) -> ObjectDiscriminatorSettings: ...

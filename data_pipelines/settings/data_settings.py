"""The settings of data: config.data."""

import os
from typing import Annotated, Any, Literal

import pydantic

from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section

Relations = Literal['geometric', 'stored', 'mixed', 'none']


class VisitSettings(Section):
  """How a record becomes arrays when it is visited.

  Attributes:
    relations: the triples of a visit: geometric (random pairs, named by their boxes and masks),
      stored (those of the record), mixed (both), none.
    max_objects: object slots O of a scene, with `__image__`.
    max_triples: triple slots T of a scene, with the `__in_image__` triples.
    max_attributes: attribute slots A of an object; further ones are left out. 0 for none.
    flip: mirror half of the training visits.
    subsample: take max_objects - 1 of a scene's objects at random, where it has more.
  """

  relations: Relations
  max_objects: Annotated[int, pydantic.Field(ge=2)]
  max_triples: PositiveInt
  max_attributes: NonNegativeInt = 0
  flip: bool = False
  subsample: bool = False


class DataSettings(VisitSettings):
  """Which data set, at what size, and how it is visited.

  Attributes:
    name: of one of `data_sets.DATA_SETS`.
    source_dir: directory of the official files; '' for a data set that a program draws.
    data_dir: directory of the prepared records.
    image_size: H, W in pixels.
    mask_size: M, side of the stored object masks; None for a data set without masks.
    options: filters of the data set, of the class `options` of its record. Other values make
      another prepared configuration.
  """

  name: str
  source_dir: str
  data_dir: str
  image_size: tuple[PositiveInt, PositiveInt]
  mask_size: PositiveInt | None
  options: pydantic.SerializeAsAny[Section]

  def required_mask_size(self) -> int:
    """`mask_size`, for a data set whose objects have masks; SettingsError where it is None."""
    if self.mask_size is None:
      raise SettingsError(
        Fault('data.mask_size', f'is None, but the objects of {self.name} have masks', '16')
      )
    return self.mask_size

  @pydantic.field_validator('image_size', mode='before')
  @classmethod
  def _square(cls, image_size: Any) -> Any:
    """One number is the side of a square."""
    if isinstance(image_size, int):
      return image_size, image_size
    one_number = isinstance(image_size, list | tuple) and len(image_size) == 1
    return tuple(image_size) * 2 if one_number else image_size

  @pydantic.field_validator('source_dir', 'data_dir')
  @classmethod
  def _on_this_machine(cls, path: str) -> str:
    """A path from ~ on as the shell would have it."""
    if '://' in path:
      raise ValueError(f'is {path}, expected a directory on this machine, perhaps a mounted one')
    return os.path.expanduser(path)

  @pydantic.field_validator('name')
  @classmethod
  def _known(cls, name: str, info: pydantic.ValidationInfo) -> str:
    options_of = info.context or {}
    if options_of and name not in options_of:
      raise ValueError(f'is {name!r}, expected one of {", ".join(options_of)}')
    return name

  @pydantic.field_validator('options', mode='plain')
  @classmethod
  def _of_data_set(cls, options: Any, info: pydantic.ValidationInfo) -> Section:
    if isinstance(options, Section) or 'name' not in info.data:
      return options  # without a name there is a fault already
    if not info.context:
      raise TypeError('options are a Section, or the context has the class of them by data set')
    return info.context[info.data['name']].model_validate(options)

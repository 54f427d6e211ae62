"""Which scenes of a prepared data set are meant, and how they are visited: flags of commands."""

from typing import Annotated

import pydantic

from data_pipelines.settings.data_settings import Relations
from data_pipelines.settings.section import PositiveInt, Section


class VisitOptions(Section):
  """The options that `prepared.visits` takes; the descriptions of the fields are their help."""

  data_dir: str = pydantic.Field(
    'datasets/prepared', description='Where the prepared records are: config.data.data_dir.'
  )
  dataset: str | None = pydantic.Field(
    None,
    description='Which of the data sets in --data_dir, by a part of its path, such as storybook '
    'or storybook/64x64; not needed where there is one.',
  )
  split: str = pydantic.Field('val', description='train, val or test.')
  relations: Relations | None = pydantic.Field(
    None,
    description='How the relations of a visit are made: config.data.relations. By default as in '
    'the configs: geometric where none are stored, else mixed, or stored where there are no masks.',
  )
  max_objects: Annotated[int, pydantic.Field(ge=2)] | None = pydantic.Field(
    None,
    description='Object slots of a scene, with __image__: config.data.max_objects. By default '
    'enough for every scene; larger scenes are cut down as with config.data.subsample.',
  )
  max_triples: PositiveInt | None = pydantic.Field(
    None,
    description='Triple slots of a scene, with one __in_image__ triple for each object: '
    'config.data.max_triples. By default enough for every scene.',
  )
  seed: int = pydantic.Field(
    0,
    ge=0,
    le=2**31 - 1,
    description='Of the relations: the same seed chooses the same ones.',
  )


def spell(setting: str) -> str:
  """The flag of a setting: `data.max_objects` is --max_objects here."""
  return f'--{setting.removeprefix("data.")}'

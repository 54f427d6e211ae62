"""Everything that a run depends on: typed, frozen, made once from a config, checked as a whole.

configs/coco64.py names and explains every setting; the classes below have the same names, and what
each value may be.
"""

import copy
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic
from ml_collections import ConfigDict

from data_pipelines import data_sets
from data_pipelines.configs import coco64
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section, faults_of
from sg2im_jax import models
from sg2im_jax.losses import LossSettings
from sg2im_jax.metrics import best_metric
from sg2im_jax.models.settings import (
  ImageDiscriminatorSettings,
  ModelSettings,
  ObjectDiscriminatorSettings,
  TokenSettings,
)

PositiveFloat = Annotated[float, pydantic.Field(gt=0)]
Beta = Annotated[float, pydantic.Field(ge=0, lt=1)]


class SamplingSettings(Section):
  """config.sampling."""

  stretch: bool


class OptimizerSettings(Section):
  """Adam, one for each network: config.optimizer."""

  learning_rate: Annotated[float, pydantic.Field(ge=0)]
  schedule: Literal['constant', 'cosine']
  b1: Beta
  b2: Beta
  eps: PositiveFloat


class Settings(Section):
  """A whole config. `Settings.from_config` makes it and checks it."""

  seed: int
  num_steps: PositiveInt
  batch_size: PositiveInt
  dtype: Literal['float32', 'bfloat16']
  rematerialize: bool
  steps_per_dispatch: PositiveInt
  data: DataSettings
  model: ModelSettings
  tokens: TokenSettings | None
  image_discriminator: ImageDiscriminatorSettings
  object_discriminator: ObjectDiscriminatorSettings
  losses: LossSettings
  sampling: SamplingSettings
  optimizer: OptimizerSettings
  freeze_batch_norm_after: NonNegativeInt
  log_every: PositiveInt
  eval_every: PositiveInt
  num_eval_examples: PositiveInt
  eval_backbone: Literal['none', 'efficientnet-lite0', 'inception-2015']
  image_grid_every: PositiveInt
  checkpoint_every: PositiveInt
  keep_checkpoints: PositiveInt
  best_metric: str

  @classmethod
  def from_config(cls, config: ConfigDict | dict[str, Any]) -> 'Settings':
    """The settings of a config.

    Args:
      config: of every key; nested dicts do as well.

    Raises:
      SettingsError: has every fault: unknown and missing keys, types, ranges, and values that do
        not fit each other.
    """
    values = config.to_dict() if isinstance(config, ConfigDict) else config
    try:
      settings, faults = cls.model_validate(values, context=data_sets.OPTIONS), []
    except pydantic.ValidationError as error:
      faults = faults_of(error, values)
      # What does not fit each other is looked for beside these faults, with harmless values in the
      # places of the faulty ones.
      settings = _without(faults, values)
    if settings is not None:
      faulty = {fault.setting for fault in faults}
      faults += [fault for fault in _mismatches(settings) if fault.setting not in faulty]
    if faults:
      raise SettingsError(faults)
    assert settings is not None
    return settings

  def with_data(self, data_dir: str | None = None, source_dir: str | None = None) -> 'Settings':
    """The same with the data in other directories, where they are given."""
    directories = {'data_dir': data_dir, 'source_dir': source_dir}
    given = {name: value for name, value in directories.items() if value is not None}
    return self.replace(data=self.data.replace(**given))


def _mismatches(settings: Settings) -> Iterator[Fault]:
  """What is wrong with settings that are right one by one."""
  yield from models.faults(settings)
  yield from best_metric.faults(
    settings.best_metric,
    has_backbone=settings.eval_backbone != 'none',
    has_masks=settings.model.mask_size > 0,
  )
  dispatch = settings.steps_per_dispatch
  for name in (
    'num_steps',
    'log_every',
    'eval_every',
    'image_grid_every',
    'checkpoint_every',
    'freeze_batch_norm_after',
  ):
    if getattr(settings, name) % dispatch:
      yield Fault(
        name,
        f'is {getattr(settings, name)}, expected a multiple of steps_per_dispatch, {dispatch}',
      )


def _without(faults: list[Fault], values: dict[str, Any]) -> Settings | None:
  """Settings with the values of coco64 in the places of faulty ones; None if that mends nothing."""
  values, base = copy.deepcopy(values), coco64.get_config().to_dict()
  for fault in faults:
    *sections, key = fault.setting.split('.')
    if fault.setting.startswith(('data.name', 'data.options')):
      sections, key = [], 'data'
    section, reference = values, base
    for name in sections:
      section, reference = section.get(name), reference.get(name)
      if not isinstance(section, dict) or not isinstance(reference, dict):
        return None
    if key in reference:
      section[key] = reference[key]
    else:
      section.pop(key, None)
  try:
    return Settings.model_validate(values, context=data_sets.OPTIONS)
  except pydantic.ValidationError:
    return None

"""Settings of data for tests: those of a config, with changes."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from data_pipelines import data_sets
from data_pipelines.settings.data_settings import DataSettings


def data_settings(
  config: ConfigDict, *, options: Mapping[str, Any] | None = None, **changes: Any
) -> DataSettings:
  """The settings of `config.data`, changed; options that are not named stay."""
  values = config.data.to_dict() | changes
  values['options'] |= options or {}
  return DataSettings.from_values(values, 'data', data_sets.OPTIONS)


def with_options(settings: DataSettings, **options: Any) -> DataSettings:
  """The settings with other values of these options."""
  return settings.replace(options=settings.options.replace(**options))

"""A prepared storybook with a few small pictures."""

import pathlib

from data_pipelines import preparation
from data_pipelines.configs import debug
from data_pipelines.settings.data_settings import DataSettings
from tests.data_pipelines.settings import data_settings

NUM_VAL = 40  # more than one batch, and the last one not full
IMAGE_SIDE = 32


def make_settings(data_dir: pathlib.Path) -> DataSettings:
  return data_settings(
    debug.get_config(), data_dir=str(data_dir), options={'num_train': 2, 'num_val': NUM_VAL}
  )


def prepare(data_dir: pathlib.Path):
  preparation.prepare(make_settings(data_dir))

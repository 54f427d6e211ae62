"""A prepared storybook with a few small pictures."""

import pathlib

from ml_collections import ConfigDict

from data_pipelines.configs import debug
from data_pipelines.pipeline import input_pipeline

NUM_VAL = 40  # more than one batch, and the last one not full
IMAGE_SIDE = 32


def make_data_config(data_dir: pathlib.Path) -> ConfigDict:
  data_config = debug.get_config().data
  data_config.data_dir = str(data_dir)
  data_config.options.num_train, data_config.options.num_val = 2, NUM_VAL
  return data_config


def prepare(data_dir: pathlib.Path):
  input_pipeline.prepare(make_data_config(data_dir))

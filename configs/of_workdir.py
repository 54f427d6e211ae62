"""The config that a work directory was made with, for training it further.

  python -m sg2im_jax.train --config=configs/of_workdir.py:runs/vg64 --workdir=runs/vg64 \\
      --config.num_steps=1010000

A converted checkpoint has a config of its own, built from what the checkpoint says of its model.
"""

import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config(workdir: str) -> ConfigDict:
  return from_json(json.loads((pathlib.Path(workdir) / 'config.json').read_text()))


def from_json(values: dict[str, Any]) -> ConfigDict:
  config = ConfigDict(_tuples(values))
  _fill(config, coco64.get_config())
  return config.lock()


def _fill(config: ConfigDict, base: ConfigDict):
  for key, value in base.items():
    if key not in config:
      config[key] = value
    elif isinstance(value, ConfigDict) and key != 'options':
      _fill(config[key], value)


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value

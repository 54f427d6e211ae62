"""The config that a work directory was made with, for training it further.

  python -m sg2im_jax.train --config=configs/of_workdir.py:runs/vg64 --workdir=runs/vg64 \\
      --config.num_steps=1010000

A converted checkpoint has a config of its own, made from the arguments saved in the checkpoint.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.configs import coco64, coco64_tokens


def get_config(workdir: str) -> ConfigDict:
  return from_json(read_json(pathlib.Path(workdir) / 'config.json'))


def from_json(values: Mapping[str, Any]) -> ConfigDict:
  """The config that was written as these values, locked.

  JSON has no tuples, so all lists become tuples. Missing keys get the values of coco64, of a token
  model those of coco64_tokens, which are the backward-compatible defaults; only `data.options` has
  none, as each data set has its own.
  """
  config = ConfigDict(_tuples(values))
  has_tokens = values.get('tokens') is not None
  _fill(config, (coco64_tokens if has_tokens else coco64).get_config())
  return config.lock()


def _fill(config: ConfigDict, base: ConfigDict):
  for key, value in base.items():
    if key not in config:
      config[key] = value
    elif isinstance(value, ConfigDict) and key != 'options':
      section: Any = config[key]
      _fill(section, value)


def _tuples(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {key: _tuples(item) for key, item in value.items()}
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file of a work directory; ValueError if there is none."""
  try:
    value = json.loads(path.read_text())
  except FileNotFoundError as error:
    raise ValueError(
      f'{path.parent} is not a work directory: it has no {path.name}; train first: '
      f'python -m sg2im_jax.train --config=configs/storybook.py --workdir={path.parent}'
    ) from error
  except OSError as error:
    raise ValueError(f'cannot read {path}: {error.strerror}') from error
  except ValueError as error:
    raise ValueError(
      f'{path} is not JSON: {error}; restore it, or train into another work directory'
    ) from error
  if not isinstance(value, dict):
    raise ValueError(f'{path} holds a {type(value).__name__}; expected a JSON object')
  return value

"""Checkpoints as the published code saves them, made from the recordings in tests/golden or from
networks here.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sg2im_jax.published import array_table

GOLDEN = pathlib.Path(__file__).parent / 'golden'
PUBLISHED_FILES = (
  'coco',
  'vg',
  'no_gconv',
  'sum_bn_mlp',
  'boxes_only',
)  # those with a .pt beside the recording
RECORDINGS = (
  *PUBLISHED_FILES,
  'residual_rect',
  'pool_up_fc',
  'first_residual',
  'no_norm_deep',
  'unaligned',
)


def settings_of(recording: str) -> dict[str, Any]:
  with np.load(GOLDEN / f'{recording}.npz') as file:
    return json.loads(str(file['settings_json']))


def checkpoint_of(recording: str) -> dict[str, Any]:
  """The checkpoint of a recorded model, as the published code would hand it to torch.save."""
  with np.load(GOLDEN / f'{recording}.npz') as file:
    arrays = {name: file[name] for name in file if name.startswith('state/')}
  settings = settings_of(recording)
  states = {
    network: {
      name.split('/', 2)[2]: torch.from_numpy(np.array(array))
      for name, array in arrays.items()
      if name.startswith(f'state/{network}/')
    }
    for network in ('model', 'd_obj', 'd_img')
  }
  discriminator = {
    'normalization': settings['d_norm'],
    'activation': settings['d_act'],
    'padding': settings['d_pad'],
  }
  model_kwargs = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in settings.items()
    if name
    not in (
      'd_obj',
      'd_img',
      'd_norm',
      'd_act',
      'd_pad',
      'crop',
      'gan',
      'masks',
      'weights',
      'align_corners',
    )
  }
  return {
    'args': {'mask_size': settings['mask_size']},
    'vocab': settings['vocab'],
    'model_kwargs': model_kwargs,
    'd_obj_kwargs': {
      'vocab': settings['vocab'],
      'arch': settings['d_obj'],
      'object_size': settings['crop'],
      **discriminator,
    },
    'd_img_kwargs': {'arch': settings['d_img'], **discriminator},
    **{f'{network}_state': state for network, state in states.items()},
    'counters': {'t': 7, 'epoch': 1},
  }


def checkpoint_path(recording: str, directory: pathlib.Path) -> pathlib.Path:
  """The published file of a recording; one written to `directory` where there is none."""
  if recording in PUBLISHED_FILES:
    return GOLDEN / f'{recording}.pt'
  path = directory / f'{recording}.pt'
  torch.save(checkpoint_of(recording), path)
  return path


def to_published(
  variables: Mapping[str, Any], table: Sequence[array_table.Row]
) -> dict[str, torch.Tensor]:
  """The state dict of a network: the way back from `array_table.to_flax`."""
  return {
    array.published: torch.from_numpy(
      np.array(np.asarray(array_table.look_up(variables, array)).transpose(np.argsort(array.axes)))
    )
    for array in array_table.arrays_of(table)
  }

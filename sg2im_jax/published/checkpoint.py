"""Reads the checkpoints of the published PyTorch code: config, vocabulary and arrays, and nothing
that would run.

Needs PyTorch.
"""

import contextlib
import os
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from data_pipelines.configs import coco64, vg64
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import describe
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from sg2im_jax.models.arch import LEAKY_SLOPES
from sg2im_jax.published import array_table
from sg2im_jax.settings import Settings
from sg2im_jax.training.adversarial import AdversarialTraining

# Where a checkpoint has each network.
_PUBLISHED_NETWORKS = {
  'generator': 'model',
  'image_discriminator': 'd_img',
  'object_discriminator': 'd_obj',
}

# Arguments of the published constructors and what they are when a checkpoint leaves them out.
_GENERATOR_DEFAULTS = {
  'embedding_dim': 64,
  'gconv_dim': 128,
  'gconv_hidden_dim': 512,
  'gconv_pooling': 'avg',
  'gconv_num_layers': 5,
  'refinement_dims': (1024, 512, 256, 128, 64),
  'normalization': 'batch',
  'activation': 'leakyrelu-0.2',
  'mask_size': 0,
  'mlp_normalization': 'none',
  'layout_noise_dim': 0,
}
_IMAGE_DISCRIMINATOR_DEFAULTS = {
  'arch': '',
  'normalization': 'batch',
  'activation': 'leakyrelu-0.2',
  'padding': 'same',
}
_OBJECT_DISCRIMINATOR_DEFAULTS = {
  'arch': '',
  'normalization': 'none',
  'activation': 'relu',
  'padding': 'same',
  'object_size': 64,
}

# Command-line arguments of the published training, which its checkpoints keep, and the settings
# that they are here.
_TRAINING_ARGUMENTS = {
  'batch_size': 'batch_size',
  'num_iterations': 'num_steps',
  'learning_rate': 'optimizer.learning_rate',
  'gan_loss_type': 'losses.gan_type',
  'l1_pixel_loss_weight': 'losses.l1_pixel_weight',
  'bbox_pred_loss_weight': 'losses.bbox_weight',
  'mask_loss_weight': 'losses.mask_weight',
  'predicate_pred_loss_weight': 'losses.predicate_weight',
  'discriminator_loss_weight': 'losses.gan_weight',
  'd_img_weight': 'losses.image_gan_weight',
  'd_obj_weight': 'losses.object_gan_weight',
  'ac_loss_weight': 'losses.auxiliary_class_weight',
  'eval_mode_after': 'freeze_batch_norm_after',
}
_COCO_ARGUMENTS = {
  'min_object_size': 'data.options.min_object_area',
  'min_objects_per_image': 'data.options.min_objects',
  'coco_include_other': 'data.options.include_other',
  'num_val_samples': 'data.options.num_val',
  'instance_whitelist': 'data.options.instance_whitelist',
  'stuff_whitelist': 'data.options.stuff_whitelist',
}
_NEVER = 1_000_000_000  # steps


@dataclass(frozen=True)
class PublishedCheckpoint:
  """What a published checkpoint holds.

  Attributes:
    training: the networks. Its settings describe the model, and the training as far as the
      checkpoint does; the rest is as in coco64 or vg64.
    vocabulary: the names that the model was trained with.
    step: training iterations; 0 if the checkpoint does not tell, as those stripped for publication.
    variables: {'params': ..., 'batch_stats': ...} of each network that there is, by the names of
      TrainState's fields.
    notes: what of the checkpoint is left out, and why.
  """

  training: AdversarialTraining
  vocabulary: Vocabulary
  step: int
  variables: dict[str, dict[str, Any]]
  notes: tuple[str, ...]

  @property
  def settings(self) -> Settings:
    """Of the model and its training."""
    return self.training.settings


def read(path: str | os.PathLike, align_corners: bool = True) -> PublishedCheckpoint:
  """Reads a checkpoint in either of PyTorch's file formats with weights_only=True.

  Args:
    path: a .pt file.
    align_corners: config.model.align_corners, which depends on the PyTorch that trained it and is
      not in the file.

  Raises:
    UserError: it cannot be read, or is none of the published code, or its arrays are not those of
      the model that it describes.
  """
  checkpoint = _load(path)
  where = f'{path}: '
  if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get('model_kwargs'), dict):
    raise UserError(
      f'{where}no checkpoint of the published code, which has "model_kwargs" and "model_state"'
    )
  if not checkpoint.get('model_state'):
    raise UserError(
      f'{where}holds the history of a training but no model; take the file "..._with_model.pt" '
      'beside it'
    )

  def section(name: str) -> Mapping[str, Any]:
    found = checkpoint.get(name) or {}
    if not isinstance(found, Mapping):
      raise UserError(f'{where}{name} is of type {type(found).__name__}, expected values by name')
    return found

  kwargs = {network: section(f'{name}_kwargs') for network, name in _PUBLISHED_NETWORKS.items()}
  states = {
    network: _state(section(f'{name}_state'), f'{where}{name}_state')
    for network, name in _PUBLISHED_NETWORKS.items()
  }
  notes = []

  names = checkpoint['model_kwargs'].get('vocab') or checkpoint.get('vocab')
  if not isinstance(names, dict):
    raise UserError(
      f'{where}has no vocabulary; expected the names of objects and predicates in '
      'model_kwargs["vocab"]'
    )
  vocabulary = Vocabulary.from_dict(names).without_attributes()  # the networks know none
  config = _base_config(section('args'), vocabulary, where)
  _set_generator(config, kwargs['generator'], where, notes)
  config['model']['align_corners'] = align_corners
  for network in ('image_discriminator', 'object_discriminator'):
    config[network]['enabled'] = bool(states[network])
    if states[network]:
      _set_discriminator(
        config[network], kwargs[network], f'{where}{_PUBLISHED_NETWORKS[network]}_kwargs', notes
      )
    else:
      notes.append(f'there is no {network.replace("_", " ")}: fine-tuning goes on without one')

  with _naming(path):
    settings = Settings.from_config(config)
    training = AdversarialTraining.build(settings, vocabulary)
    abstract = jax.eval_shape(training.init)
  variables, faults, not_finite = {}, [], []
  for network, table in array_table.tables(settings).items():
    arrays, name = states[network], _PUBLISHED_NETWORKS[network]
    dropped = [array for array in arrays if _takes_no_part(network, array)]
    if any(array.startswith('classifier') for array in dropped):
      notes.append(
        f'{name}_state: the classifier, which the published code never applies, is left out'
      )
    arrays = {array: values for array, values in arrays.items() if array not in dropped}
    faults += [
      f'{name}_state: {fault}'
      for fault in _faults(arrays, table, getattr(abstract, network).variables)
    ]
    if not faults:
      variables[network] = array_table.to_flax(arrays, table)
    not_finite += [
      f'{name}_state: {array}' for array, values in arrays.items() if not np.isfinite(values).all()
    ]
  if faults:
    raise UserError(
      f'{where}its arrays are not those of the model that it describes: {"; ".join(faults)}'
    )
  if not_finite:
    raise UserError(
      f'{where}has weights that are not finite, as after a training that diverged '
      f'({_some(not_finite)}); take an earlier checkpoint of it'
    )
  counters = section('counters')
  if counters.get('t') is None:
    notes.append(
      'it does not say how long it was trained, as those that were stripped: steps count from 0'
    )
  step = _argument(counters, 't', 0, f'{where}counters')
  return PublishedCheckpoint(training, vocabulary, step, variables, tuple(notes))


def _load(path: str | os.PathLike) -> Any:
  """What torch.load returns, on the CPU; a file that holds anything but tensors, containers and
  numbers is refused.
  """
  try:
    import torch
  except ImportError as error:
    raise UserError(
      'PyTorch is needed to read its checkpoints and is not installed; install it with '
      "pip install -e '.[convert]' (its build for CPUs is enough)"
    ) from error
  # Histories of losses are defaultdicts of NumPy numbers, and arguments may be such numbers.
  # PyTorch's reader fills plain dicts only.
  harmless = [(_plain_dict, 'collections.defaultdict'), (list, 'builtins.list')]
  harmless.append((_NumberType, 'numpy.dtype'))
  harmless += [(_number, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')]
  try:
    file = open(path, 'rb')
  except OSError as error:
    raise UserError(
      f'{path}: cannot be read ({error.strerror}); expected a published checkpoint'
    ) from error
  with file, torch.serialization.safe_globals(harmless):
    _refuse_other_files(file.read(200), path)
    file.seek(0)
    try:
      return torch.load(file, map_location='cpu', weights_only=True)
    except (
      Exception
    ) as error:  # whatever PyTorch makes of a file that is cut off or none of its own
      unsafe = (
        re.search(r'GLOBAL (\S+)', str(error))
        if isinstance(error, pickle.UnpicklingError)
        else None
      )
      if unsafe:
        raise UserError(
          f'{path}: refused, for it names {unsafe[1]}, which a checkpoint has no need of and which '
          'could '
          'run code; nothing of it was run; take the file from where it is published'
        ) from error
      reason = str(error).strip().split('\n')[0] or type(error).__name__
      raise UserError(
        f'{path}: no whole PyTorch checkpoint ({reason[:120]}); it may have been cut off: compare '
        'its '
        f'size ({os.path.getsize(path)} bytes) and download it again'
      ) from error


def _plain_dict(*_) -> dict:
  return {}


class _NumberType:
  """Stands for a NumPy dtype: the code of a number, such as f8."""

  def __init__(self, code: str, *_):
    self.code = code

  def __setstate__(self, state: tuple):
    self.code = f'{state[1]}{self.code}'  # the order of its bytes


def _number(kind: _NumberType, content: bytes) -> Any:
  """A NumPy number as Python has it; None for anything else."""
  code = kind.code.lstrip('<>|=')
  if code[:1] not in ('b', 'i', 'u', 'f') or not isinstance(content, bytes):
    return None
  return np.frombuffer(content, kind.code)[0].item()


@contextlib.contextmanager
def _naming(path: str | os.PathLike):
  try:
    yield
  except UserError as error:
    raise UserError(f'{path}: {error}') from error
  except Exception as error:  # sizes that no layer can have
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    raise UserError(f'{path}: describes a model that cannot be built ({reason[:200]})') from error


def _refuse_other_files(beginning: bytes, path: str | os.PathLike):
  """UserError for what is often saved in place of a checkpoint."""
  if beginning.startswith(b'version https://git-lfs'):
    raise UserError(
      f'{path}: a Git LFS pointer, not the checkpoint itself; run git lfs pull where it came from'
    )
  if beginning.lstrip().lower().startswith((b'<!doctype', b'<html', b'<?xml')):
    raise UserError(
      f'{path}: a web page, not a checkpoint; open its address in a browser and download the file'
    )


def _state(state: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
  """The arrays of a state dict by name, without the prefix of torch.nn.DataParallel."""
  if not all(hasattr(array, 'detach') for array in state.values()):
    raise UserError(f'{where}: expected tensors by name')
  return {
    name.removeprefix('module.'): array.detach().float().numpy() for name, array in state.items()
  }


def _base_config(
  arguments: Mapping[str, Any], vocabulary: Vocabulary, where: str
) -> dict[str, Any]:
  """The config of the data set with what the arguments of the training say, as nested dicts."""
  geometric = set(GEOMETRIC_PREDICATES) <= set(vocabulary.predicate_names)
  is_coco = arguments.get('dataset', 'coco' if geometric else 'vg') == 'coco'
  config = (coco64 if is_coco else vg64).get_config().to_dict()
  for name, setting in {**_TRAINING_ARGUMENTS, **(_COCO_ARGUMENTS if is_coco else {})}.items():
    *sections, key = setting.split('.')
    section = config
    for part in sections:
      section = section[part]
    if arguments.get(name) is not None:
      section[key] = _typed(arguments[name], section[key], f'{where}args["{name}"]')
  if is_coco and 'min_object_size' in arguments and 'coco_include_other' not in arguments:
    # The default of the published code for checkpoints that are older than that argument.
    config['data']['options']['include_other'] = True
  if config['freeze_batch_norm_after'] < 0:
    config['freeze_batch_norm_after'] = _NEVER
  if not arguments.get('include_relationships', True):
    config['data']['relations'] = 'none'
  config['sampling']['stretch'] = True
  return config


def _set_generator(config: dict[str, Any], kwargs: Mapping[str, Any], where: str, notes: list[str]):
  where += 'model_kwargs'
  model, data = config['model'], config['data']
  for name, default in _GENERATOR_DEFAULTS.items():
    model[name] = _argument(kwargs, name, default, where)
  model['activation'] = _activation(model['activation'])
  if model['mlp_normalization'] != 'batch':
    model['mlp_normalization'] = 'none'  # whatever else is asked for
  data['image_size'] = _argument(kwargs, 'image_size', (64, 64), where)
  if model['mask_size'] and data['mask_size'] is not None:
    data['mask_size'] = model['mask_size']
  _note_retired(kwargs, {*_GENERATOR_DEFAULTS, 'image_size', 'vocab'}, where, notes)


def _set_discriminator(
  settings: dict[str, Any], kwargs: Mapping[str, Any], where: str, notes: list[str]
):
  has_crops = 'crop_size' in settings
  defaults = _OBJECT_DISCRIMINATOR_DEFAULTS if has_crops else _IMAGE_DISCRIMINATOR_DEFAULTS
  arguments = {name: _argument(kwargs, name, default, where) for name, default in defaults.items()}
  if not arguments['arch']:
    raise UserError(f'{where}: has no "arch", but there are arrays of the network')
  if kwargs.get('pooling', 'avg') != 'avg':
    raise UserError(f'{where}: pooling is {describe(kwargs["pooling"])}; only avg can be converted')
  if has_crops:
    settings['crop_size'] = arguments.pop('object_size')
  settings.update(arguments, activation=_activation(arguments['activation']))
  _note_retired(kwargs, {*defaults, 'vocab', 'pooling'}, where, notes)


def _argument(kwargs: Mapping[str, Any], name: str, default: Any, where: str) -> Any:
  value = kwargs.get(name)
  return default if value is None else _typed(value, default, f'{where}["{name}"]')


def _typed(value: Any, like: Any, where: str) -> Any:
  """`value` as the type of `like`; UserError if it has another meaning."""
  if isinstance(like, tuple) and isinstance(value, list | tuple):
    kind = type(like[0]) if like else str
    if all(type(item) is kind for item in value):
      return tuple(value)
  if isinstance(like, float) and isinstance(value, int | float):
    return float(value)
  if type(value) is type(like):
    return value
  raise UserError(f'{where} is {value!r}, expected something like {like!r}')


def _activation(name: str) -> str:
  """The published code takes any name, and makes a LeakyReLU of it; those it does not know have the
  default slope.
  """
  name = name.lower()
  return name if name.split('-')[0] in LEAKY_SLOPES else 'leakyrelu'


def _note_retired(kwargs: Mapping[str, Any], known: set[str], where: str, notes: list[str]):
  retired = [f'{name}={value!r}' for name, value in kwargs.items() if name not in known]
  if retired:
    notes.append(f'{where}: retired arguments are ignored: {", ".join(retired)}')


def _takes_no_part(network: str, name: str) -> bool:
  return name.endswith('.num_batches_tracked') or (
    network == 'image_discriminator' and name.startswith('classifier.')
  )


def _faults(
  arrays: dict[str, np.ndarray], table: list[array_table.Row], abstract: dict[str, Any]
) -> list[str]:
  """What is wrong with the arrays of a network, by their published names."""
  expected = {}
  for array in array_table.arrays_of(table):
    shape = array_table.look_up(abstract, array).shape
    expected[array.published] = tuple(shape[array.axes.index(axis)] for axis in range(len(shape)))
  prefix = _common_prefix(arrays, expected)
  if prefix:
    return [
      f'all names begin with {describe(prefix)}, as of a model that was wrapped (DataParallel?) '
      'before it was saved; save its inner model, or take that from the names'
    ]
  faults = []
  for complaint, names in (
    ('missing', [name for name in expected if name not in arrays]),
    ('unexpected', [name for name in arrays if name not in expected]),
  ):
    if names:
      faults.append(f'{complaint} {_some(names)}')
  shapes = [
    f'{name} is {arrays[name].shape}, expected {shape}'
    for name, shape in expected.items()
    if name in arrays and arrays[name].shape != shape
  ]
  return faults + ([_some(shapes, '; ')] if shapes else [])


def _common_prefix(arrays: Mapping[str, Any], expected: Iterable[str]) -> str:
  """What precedes the expected names in all arrays, such as "module."; '' if nothing does."""
  for name in expected:
    for array in arrays:
      prefix = array.removesuffix(name)
      if array.endswith(f'.{name}') and all(other.startswith(prefix) for other in arrays):
        return prefix
  return ''


def _some(texts: Sequence[str], between: str = ', ') -> str:
  """At most five of them."""
  more = f' and {len(texts) - 5} more' if len(texts) > 5 else ''
  return between.join(texts[:5]) + more

"""Which settings describe networks that cannot be built. Imports neither JAX nor Flax."""

from collections.abc import Sequence
from typing import Any

from data_pipelines.scene_graphs.errors import Fault, UserError
from sg2im_jax.models import arch

DTYPES = ('float32', 'bfloat16')
POOLINGS = ('avg', 'sum')
MLP_NORMALIZATIONS = ('none', 'batch')
NORMALIZATIONS = ('batch', 'instance', 'none')


def faults(settings: Any) -> list[Fault]:
  """Every setting that the networks cannot be built with; empty if all can be.

  Args:
    settings: an object with the attributes of the config (see `configs/coco64.py`), of the right
      types; the discriminators that are not enabled are not checked.
  """
  model = settings.model
  found = _not_among('dtype', settings.dtype, DTYPES)

  height, width = settings.data.image_size
  num_modules = len(model.refinement_dims)
  if num_modules == 0:
    found.append(Fault('model.refinement_dims', 'is empty, expected one refinement module or more'))
  elif height % 2**num_modules or width % 2**num_modules:
    expected = f'multiples of {2**num_modules} for {num_modules} refinement modules'
    found.append(Fault('data.image_size', f'is {height}x{width}, expected {expected}'))

  if model.mask_size < 0 or model.mask_size & (model.mask_size - 1):
    found.append(Fault('model.mask_size', f'is {model.mask_size}, expected 0 or a power of two'))
  found += _not_among('model.gconv_pooling', model.gconv_pooling, POOLINGS)
  found += _not_among('model.mlp_normalization', model.mlp_normalization, MLP_NORMALIZATIONS)
  found += _not_among('model.normalization', model.normalization, NORMALIZATIONS)
  found += _activation('model.activation', model.activation)

  discriminator = settings.image_discriminator
  if discriminator.enabled:
    found += _discriminator('image_discriminator', discriminator, (height, width))
    if discriminator.classifier and 'FC' in discriminator.arch:
      problem = 'is True, which needs the scores of patches, but the arch has an FC'
      found.append(Fault('image_discriminator.classifier', problem, 'False'))

  discriminator = settings.object_discriminator
  if discriminator.enabled:
    size = discriminator.crop_size
    if size < 2:
      problem = f'is {size}, expected 2 or more pixels'
      found.append(Fault('object_discriminator.crop_size', problem))
    else:
      found += _discriminator('object_discriminator', discriminator, (size, size))
  return found


def _not_among(setting: str, value: str, known: Sequence[str]) -> list[Fault]:
  if value in known:
    return []
  *others, last = known
  return [Fault(setting, f'is {value!r}, expected {", ".join(others)} or {last}')]


def _activation(setting: str, value: str) -> list[Fault]:
  try:
    arch.leaky_slope(value)
  except UserError:
    return [Fault(setting, f'is {value!r}, expected {arch.ACTIVATIONS}')]
  return []


def _discriminator(name: str, settings: Any, input_size: tuple[int, int]) -> list[Fault]:
  """The faults that both discriminators can have; `input_size` is H, W of what they look at."""
  found = _not_among(f'{name}.normalization', settings.normalization, NORMALIZATIONS)
  found += _activation(f'{name}.activation', settings.activation)
  unknown_padding = _not_among(f'{name}.padding', settings.padding, arch.PADDINGS)
  if unknown_padding:
    return found + unknown_padding

  try:
    arch.check_arch(settings.arch, padding=settings.padding, image_size=input_size)
  except arch.ArchError as error:
    found.append(Fault(f'{name}.arch', f'is {settings.arch!r}: {error.problem}'))
  return found

"""Settings that are right one by one but describe networks that cannot be built."""

from data_pipelines.scene_graphs.errors import Fault, UserError
from sg2im_jax.models import arch
from sg2im_jax.models.settings import DiscriminatorSettings, NetworkSettings


def faults(settings: NetworkSettings) -> list[Fault]:
  """Every fault of the networks; those of discriminators that are not enabled do not count."""
  model = settings.model
  found = []
  height, width = settings.data.image_size
  num_modules = len(model.refinement_dims)
  if num_modules == 0:
    found.append(Fault('model.refinement_dims', 'is empty, expected one refinement module or more'))
  elif height % 2**num_modules or width % 2**num_modules:
    expected = f'multiples of {2**num_modules} for {num_modules} refinement modules'
    found.append(Fault('data.image_size', f'is {height}x{width}, expected {expected}'))
  if model.mask_size & (model.mask_size - 1):
    found.append(Fault('model.mask_size', f'is {model.mask_size}, expected 0 or a power of two'))
  found += _activation('model.activation', model.activation)

  discriminator = settings.image_discriminator
  if discriminator.enabled:
    found += _discriminator('image_discriminator', discriminator, (height, width))
    if discriminator.classifier and 'FC' in discriminator.arch:
      problem = 'is True, which needs the scores of patches, but the arch has an FC'
      found.append(Fault('image_discriminator.classifier', problem, 'False'))
  discriminator = settings.object_discriminator
  if discriminator.enabled:
    crop_size = (discriminator.crop_size, discriminator.crop_size)
    found += _discriminator('object_discriminator', discriminator, crop_size)
  return found


def _activation(setting: str, value: str) -> list[Fault]:
  try:
    arch.leaky_slope(value)
  except UserError:
    return [Fault(setting, f'is {value!r}, expected {arch.ACTIVATIONS}')]
  return []


def _discriminator(
  name: str, settings: DiscriminatorSettings, input_size: tuple[int, int]
) -> list[Fault]:
  """The faults that both discriminators can have; `input_size` is H, W of their input."""
  found = _activation(f'{name}.activation', settings.activation)
  try:
    arch.check_arch(settings.arch, padding=settings.padding, image_size=input_size)
  except arch.ArchError as error:
    found.append(Fault(f'{name}.arch', f'is {settings.arch!r}: {error.problem}'))
  return found

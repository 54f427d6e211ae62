"""Settings that are right one by one but describe networks that cannot be built."""

from collections.abc import Iterator

from data_pipelines.scene_graphs.errors import Fault, UserError
from sg2im_jax.models import arch
from sg2im_jax.models.painter import sprite_size
from sg2im_jax.models.settings import DiscriminatorSettings, NetworkSettings, TokenSettings
from sg2im_jax.models.token_prior import HEADS


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

  if settings.tokens is not None:
    found += _tokens(settings.tokens, settings)

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


def _tokens(tokens: TokenSettings, settings: NetworkSettings) -> Iterator[Fault]:
  """The faults of a token model."""
  mask_size, num_sprites = settings.model.mask_size, len(tokens.sprite_dims)
  if num_sprites == 0 or mask_size != sprite_size(num_sprites):
    fitting = [size for size in range(1, 8) if sprite_size(size) == mask_size]
    expected = f'{fitting[0]} numbers' if fitting else 'one number for 4, two for 8, three for 16'
    problem = f'has {num_sprites} numbers, but model.mask_size is {mask_size}; expected {expected}'
    yield Fault('tokens.sprite_dims', problem)
  if settings.data.mask_size not in (None, mask_size):
    problem = f'is {mask_size}, but the masks of the data have data.mask_size='
    yield Fault('model.mask_size', f'{problem}{settings.data.mask_size}; expected the same')
  if not tokens.encoder_dims or tokens.crop_size % 2 ** len(tokens.encoder_dims):
    expected = 2 ** max(1, len(tokens.encoder_dims))
    problem = f'is {tokens.crop_size}, expected a multiple of {expected}, which is halved for each'
    yield Fault('tokens.crop_size', f'{problem} of tokens.encoder_dims, one number or more')
  side, num_halved = min(settings.data.image_size), len(tokens.discriminator_dims)
  if num_halved < 2 or side >> num_halved < 1:
    problem = f'has {num_halved} numbers, each of which halves the image'
    yield Fault('tokens.discriminator_dims', f'{problem}; expected 2 to {side.bit_length() - 1}')
  if tokens.prior.features % HEADS:
    problem = f'is {tokens.prior.features}, expected a multiple of {HEADS}'
    yield Fault('tokens.prior.features', problem)


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

import jax
import jax.numpy as jnp
import pytest

from benchmarks import flops
from benchmarks.comparison import resized
from benchmarks.scenes import random_batch
from data_pipelines.configs import coco64, debug
from sg2im_jax.settings import Settings


def counted(function, *arguments) -> float:
  """What XLA counts."""
  return jax.jit(function).lower(*arguments).compile().cost_analysis()['flops']


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('padding', [0, 1])
def test_a_convolution_is_what_xla_counts(stride, padding):
  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image,
      kernel,
      (stride, stride),
      [(padding, padding)] * 2,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  assert counted(convolve, jnp.ones((1, 10, 13, 6)), jnp.ones((3, 3, 6, 7))) == (
    flops.convolution(10, 13, 3, 6, 7, stride=stride, padding=padding)
  )


def test_linear_layers_are_what_xla_counts():
  assert counted(
    lambda x, a, b: x @ a @ b, jnp.ones((1, 5)), jnp.ones((5, 7)), jnp.ones((7, 3))
  ) == (flops.linear(5, 7, 3))


@pytest.fixture(scope='module')
def pair():
  """coco64 with two images a step."""
  return resized(Settings.from_config(coco64.get_config()), batch_size=2)


def test_discriminators_are_their_layers(pair):
  batch = random_batch(pair, seed=0, full=True)
  layers = 31 * 31 * 3 * 64 + 14 * 14 * 64 * 128 + 6 * 6 * 128 * 256
  assert flops.image_discriminator_flops(pair, batch) == 2 * 2 * 16 * layers
  layers = 16 * (15 * 15 * 3 * 64 + 6 * 6 * 64 * 128 + 2 * 2 * 128 * 256) + 256 * 1024 + 1024 * 185
  assert flops.object_discriminator_flops(pair, batch) == 2 * 2 * 9 * layers


@pytest.mark.parametrize(
  'arch, operations',
  [
    # 32 places of 3 taps, 2 of them outside
    ('I3,C3-8,R,P2,U2,C3-4', 2 * 94 * 94 * (3 * 8 + 2 * 8 * 8 + 8 * 4)),
    ('C3-8-2,FC-2048-7', 2 * (47 * 47 * 3 * 8 + 2048 * 7)),
  ],
)
def test_every_token_counts(arch, operations):
  config = debug.get_config()
  config.image_discriminator.update(arch=arch, padding='same')
  settings = Settings.from_config(config)
  batch = random_batch(settings, seed=0)
  assert flops.image_discriminator_flops(settings, batch) == settings.batch_size * operations


def test_the_count_is_that_of_a_plain_implementation(pair):
  batch = random_batch(pair, seed=0, full=True)
  # XLA's counts, before it optimises, of an implementation that builds layouts and upsampled maps
  # as the paper says.
  assert flops.sampling_flops(pair, batch) == pytest.approx(12.465e9, rel=0.01)
  assert flops.training_flops(pair, batch) == pytest.approx(41.765e9, rel=0.02)
  without_objects = resized(pair, **{'object_discriminator.enabled': False})
  without = flops.training_flops(without_objects, batch)
  alone = flops.training_flops(
    resized(without_objects, **{'image_discriminator.enabled': False}), batch
  )
  assert alone == 3 * flops.sampling_flops(pair, batch)
  assert without - alone == 8 * flops.image_discriminator_flops(pair, batch)


def test_padding_is_no_work():
  settings = Settings.from_config(debug.get_config())
  batch = random_batch(settings, seed=0)
  wide = {'data.max_objects': 40, 'data.max_triples': 80}
  wider = random_batch(resized(settings, **wide), seed=0)
  wider = wider.replace(object_mask=wider.object_mask.copy(), triple_mask=wider.triple_mask.copy())
  wider.object_mask[:] = False
  wider.triple_mask[:] = False
  wider.object_mask[:, :12], wider.triple_mask[:, :24] = batch.object_mask, batch.triple_mask
  assert flops.training_flops(settings, wider) == flops.training_flops(settings, batch)


def test_peaks():
  assert flops.peak('NVIDIA H200', 'bfloat16') == 2 * 494.5e12
  assert flops.peak('NVIDIA H200', 'float32') < flops.peak('NVIDIA H200', 'bfloat16')
  assert flops.peak('cpu', 'float32') is None

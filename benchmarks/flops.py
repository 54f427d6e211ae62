"""Floating-point operations of the model, and the peak FLOP/s of devices.

Counted is the network as the paper describes it: two operations for each multiply-add of its
convolutions and linear layers, for real objects and triples, without padding. The count is the same
for every implementation, whatever it computes in fact, so that FLOP/s and fractions of a device's
peak are comparable.

Token models have no other implementation to compare with. Theirs is the count that XLA makes of the
program before it optimises it: everything, padding included.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.scenes import VOCABULARY
from sg2im_jax.models.arch import parse_arch
from sg2im_jax.models.settings import DiscriminatorSettings
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.training.build import build_training
from sg2im_jax.training.token_training import TokenTraining

# Dense FLOP/s by jax.Device.device_kind, in bfloat16 and of float32 products at their default
# precision: TF32 on tensor cores, a single pass of bfloat16 on TPUs. From the data sheets of NVIDIA
# (half of the figures with sparsity) and Google.
_PEAKS = {
  'NVIDIA H200': (989e12, 494e12),
  'NVIDIA H100 80GB HBM3': (989e12, 494e12),
  'NVIDIA H100 PCIe': (756e12, 378e12),
  'NVIDIA A100-SXM4-40GB': (312e12, 156e12),
  'NVIDIA A100-SXM4-80GB': (312e12, 156e12),
  'NVIDIA A100-PCIE-40GB': (312e12, 156e12),
  'NVIDIA A100 80GB PCIe': (312e12, 156e12),
  'NVIDIA L40S': (362e12, 183e12),
  'NVIDIA L4': (121e12, 60e12),
  'TPU v4': (275e12, 275e12),
  'TPU v5 lite': (197e12, 197e12),
  'TPU v5': (459e12, 459e12),
  'TPU v6 lite': (918e12, 918e12),
}


def peak(device_kind: str, dtype: str) -> float | None:
  """Peak FLOP/s of a device in `bfloat16` or `float32`; None if unknown, as for CPUs."""
  bfloat16, float32 = _PEAKS.get(device_kind, (None, None))
  return bfloat16 if dtype == 'bfloat16' else float32


def sampling_flops(settings: Settings, batch: SceneBatch) -> float:
  """Operations of sampling a batch: boxes, masks, predicate logits and images."""
  if settings.tokens is not None:
    return _token_sampling_flops(settings, batch)
  model, (height, width) = settings.model, settings.data.image_size
  hidden, features = model.gconv_hidden_dim, model.gconv_dim
  images, objects, triples = (
    batch.example_mask.sum(),
    batch.object_mask.sum(),
    batch.triple_mask.sum(),
  )

  of_object, of_triple, inputs = 0, 0, model.embedding_dim
  for _ in range(model.gconv_num_layers):
    of_triple += linear(3 * inputs, hidden, 2 * hidden + features)
    of_object += linear(hidden, hidden, features)
    inputs = features
  if not model.gconv_num_layers:
    of_object += linear(inputs, features)
  of_object += linear(features, hidden, 4)  # the box
  of_object += 2 * height * width * features  # the object vector times its canvas
  of_triple += linear(2 * (4 + model.embedding_dim), hidden, VOCABULARY.num_predicates)
  if model.mask_size:
    for doubling in range(1, model.mask_size.bit_length()):
      of_object += convolution(2**doubling, 2**doubling, 3, features, features, padding=1)
    of_object += convolution(model.mask_size, model.mask_size, 1, features, 1)

  of_image, channels, dims = 0, 1, model.refinement_dims
  for index, dim in enumerate(dims):
    rows, columns = height >> len(dims) - 1 - index, width >> len(dims) - 1 - index
    inputs = features + model.layout_noise_dim + channels
    of_image += convolution(rows, columns, 3, inputs, dim, padding=1)
    of_image += convolution(rows, columns, 3, dim, dim, padding=1)
    channels = dim
  of_image += convolution(height, width, 3, channels, channels, padding=1)
  of_image += convolution(height, width, 1, channels, 3)
  return float(images * of_image + objects * of_object + triples * of_triple)


def training_flops(settings: Settings, batch: SceneBatch) -> float:
  """Operations of a training step: 3 times the generator, 8 times the discriminators.

  A forward pass with its backward pass counts 3 times the forward pass: the backward pass computes
  gradients of inputs and of weights. Each discriminator has such passes on generated and on real
  images (6), and in the generator's update one with gradients of its inputs alone (2).
  """
  if settings.tokens is not None:
    training = build_training(settings, VOCABULARY)
    state = jax.eval_shape(training.init)
    return _traced(training.train_step, state, batch, jax.eval_shape(lambda: jax.random.key(0)))
  discriminators = 0.0
  if settings.image_discriminator.enabled:
    discriminators += image_discriminator_flops(settings, batch)
  if settings.object_discriminator.enabled:
    discriminators += object_discriminator_flops(settings, batch)
  return 3 * sampling_flops(settings, batch) + 8 * discriminators


def image_discriminator_flops(settings: Settings, batch: SceneBatch) -> float:
  """Operations of one forward pass over the images of a batch."""
  discriminator = settings.image_discriminator
  total, (height, width, channels) = _network(discriminator, *settings.data.image_size)
  if discriminator.classifier:
    total += convolution(height, width, 1, channels, 1)
  return float(batch.example_mask.sum() * total)


def object_discriminator_flops(settings: Settings, batch: SceneBatch) -> float:
  """Operations of one forward pass over the objects of a batch."""
  discriminator = settings.object_discriminator
  total, (_, _, channels) = _network(
    discriminator, discriminator.crop_size, discriminator.crop_size
  )
  total += linear(channels, 1024, 1 + VOCABULARY.num_objects)
  return float(batch.object_mask.sum() * total)


def _token_sampling_flops(settings: Settings, batch: SceneBatch) -> float:
  """Those of the painter and of the prior's velocities: one a step, two under guidance."""
  training = build_training(settings, VOCABULARY)
  assert isinstance(training, TokenTraining) and settings.tokens is not None
  generator: Any = training.generator
  variables = jax.eval_shape(lambda: training.init().sampling_variables())
  latent_dim, prior = settings.tokens.latent_dim, settings.tokens.prior
  noise_shape = (*settings.data.image_size, settings.model.layout_noise_dim)

  def of_objects(*features: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*batch.object_mask.shape, *features), 'float32')

  velocity = _traced(
    lambda *arguments: generator.apply(*arguments, method='velocity'),
    variables,
    batch,
    of_objects(4 + latent_dim),
    of_objects(2),
  )
  painting = _traced(
    lambda variables, batch, boxes, latents, noise: generator.apply(
      variables, batch, boxes, latents, noise, use_masks=False, train=False, method='paint'
    ),
    variables,
    batch,
    of_objects(4),
    of_objects(latent_dim),
    jax.ShapeDtypeStruct((len(batch.object_mask), *noise_shape), 'float32'),
  )
  num_velocities = prior.sampling_steps * (1 if prior.guidance == 1 else 2)
  return num_velocities * velocity + painting


def _traced(function: Callable, *arguments: Any) -> float:
  """XLA's count of a function's operations before it optimises them."""
  analysis: Any = jax.jit(function).lower(*arguments).cost_analysis()
  return analysis['flops']


def linear(*features: int) -> int:
  """Operations of linear layers from features[0] to features[1] and so on, for one vector."""
  return sum(2 * inputs * outputs for inputs, outputs in itertools.pairwise(features))


def convolution(
  height: int,
  width: int,
  kernel: int,
  inputs: int,
  outputs: int,
  *,
  stride: int = 1,
  padding: int = 0,
) -> int:
  """Operations of a convolution over height x width pixels, without taps on the padding."""
  rows, columns = (_taps(size, kernel, stride, padding) for size in (height, width))
  return 2 * rows * columns * inputs * outputs


def _taps(size: int, kernel: int, stride: int, padding: int) -> int:
  """Number of kernel taps on pixels, over all positions along an axis."""
  firsts = range(-padding, size + padding - kernel + 1, stride)
  return sum(min(first + kernel, size) - max(first, 0) for first in firsts)


def _network(
  settings: DiscriminatorSettings, height: int, width: int
) -> tuple[int, tuple[int, int, int]]:
  """Operations of the layers of an arch string; height, width and channels of their output."""
  total, channels = 0, 3
  for kind, *arguments in parse_arch(settings.arch):
    if kind == 'C':
      kernel, outputs, stride = (*arguments, 1)[:3]
      padding = kernel // 2 if settings.padding == 'same' else 0
      total += convolution(height, width, kernel, channels, outputs, stride=stride, padding=padding)
      height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
      channels = outputs
    elif kind == 'R':
      total += 2 * convolution(height, width, 3, channels, channels, padding=1)
    elif kind == 'U':
      height, width = height * arguments[0], width * arguments[0]
    elif kind == 'P':
      height, width = height // arguments[0], width // arguments[0]
    elif kind == 'FC':
      total += linear(*arguments)
      height, width, channels = 1, 1, arguments[1]
    else:  # I
      channels = arguments[0]
  return total, (height, width, channels)

"""What the benchmarks compare with: the same networks and training step in plain, fast PyTorch.

Written in ways that are fast in PyTorch: objects and triples are flat lists without padding; images
are channels_last; masks are warped on their own and multiplied with the object vectors in one
product; layouts are pooled level by level; the weights of the discriminators get no gradient while
the generator is updated; images and their crops are generated once a step; Adam is fused; no
operation waits for the device.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.measure import process_peak_memory
from benchmarks.torch_networks import Generator, ObjectDiscriminator, Scenes, image_discriminator
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models import pixels
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings

_DISCRIMINATOR = {
  'enabled': True,
  'normalization': 'batch',
  'activation': 'leakyrelu-0.2',
  'padding': 'valid',
}
_SUPPORTED: dict[str, dict[str, Any]] = {
  'model': {
    'gconv_pooling': 'avg',
    'mlp_normalization': 'none',
    'normalization': 'batch',
    'activation': 'leakyrelu-0.2',
  },
  'image_discriminator': {**_DISCRIMINATOR, 'classifier': False},
  'object_discriminator': _DISCRIMINATOR,
  'losses': {'gan_type': 'gan'},
  'optimizer': {'schedule': 'constant'},
}


def _faults(settings: Settings) -> Iterator[Fault]:
  """The settings that the peer does not implement."""
  for section, supported in _SUPPORTED.items():
    for name, value in supported.items():
      found = getattr(getattr(settings, section), name)
      if found != value:
        problem = f'is {found!r}, the PyTorch peer knows {value!r} alone'
        yield Fault(f'{section}.{name}', problem, str(value))
  for name in ('mask_size', 'gconv_num_layers'):
    found = getattr(settings.model, name)
    if found < 1:
      yield Fault(f'model.{name}', f'is {found}, the PyTorch peer needs 1 or more')


class Peer:
  """The networks, their optimizers and one batch."""

  def __init__(
    self,
    settings: Settings,
    vocabulary: Vocabulary,
    *,
    device: str,
    dtype: str = 'float32',
    compile: bool = False,
  ):
    """Builds the networks with random weights.

    Args:
      settings: sizes and all else; its dtype is not used.
      vocabulary: decides on the number of embeddings and classes.
      device: cpu | cuda.
      dtype: float32 (on cuda with TF32, as in JAX) | bfloat16 (torch.autocast).
      compile: with torch.compile, on cuda with CUDA graphs; the next step then overwrites what a
        step returned.

    Raises:
      SettingsError: names everything that the peer does not implement.
      UserError: nor does it implement a token of an arch.
    """
    faults = list(_faults(settings))
    if faults:
      raise SettingsError(faults)
    if device == 'cuda':
      torch.backends.cudnn.benchmark = True
      torch.set_float32_matmul_precision('high')
    torch.manual_seed(settings.seed)
    self._device, self._compiled = device, compile
    self._autocast = functools.partial(
      torch.autocast, device, getattr(torch, dtype), dtype != 'float32'
    )
    self._noise_shape = *settings.data.image_size, settings.model.layout_noise_dim
    losses = settings.losses
    self._weights = {
      'l1_pixel': losses.l1_pixel_weight,
      'bbox': losses.bbox_weight,
      'predicate': losses.predicate_weight,
      'mask': losses.mask_weight,
      'object_gan': losses.gan_weight * losses.object_gan_weight,
      'auxiliary_class': losses.auxiliary_class_weight,
      'image_gan': losses.gan_weight * losses.image_gan_weight,
    }
    self.generator = Generator(settings, vocabulary)
    self.object_discriminator = ObjectDiscriminator(settings, vocabulary.num_objects)
    self.image_discriminator = image_discriminator(settings)
    networks = self.generator, self.object_discriminator, self.image_discriminator
    for network in networks:
      # The annotations of PyTorch lack memory_format.
      network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    adam = settings.optimizer
    self._optimizers = [
      torch.optim.Adam(
        module.parameters(),
        fused=True,
        lr=adam.learning_rate,
        betas=(adam.b1, adam.b2),
        eps=adam.eps,
      )
      for module in networks
    ]
    if compile:
      for name in ('_generate', '_generator_losses', '_object_losses', '_image_losses'):
        setattr(self, name, torch.compile(getattr(self, name), mode='reduce-overhead'))

  def load_batch(self, batch: SceneBatch):
    """Puts the batch on the device for the following steps.

    Args:
      batch: every row is an image; boxes and image may be None to sample.

    Raises:
      UserError: a row is padding.
    """
    if not np.all(batch.example_mask):
      raise UserError(
        'a row of the batch is padding, the PyTorch peer expects images alone; fill the batch'
      )
    object_mask, triple_mask = np.asarray(batch.object_mask), np.asarray(batch.triple_mask)
    numbers = object_mask.cumsum().reshape(object_mask.shape) - 1
    rows, triples = np.nonzero(triple_mask)[0], np.asarray(batch.triples)[triple_mask]

    def move(values: np.ndarray, dtype=torch.float32) -> torch.Tensor:
      return torch.from_numpy(values).to(self._device, dtype)

    def real(values) -> torch.Tensor | None:
      return None if values is None else move(np.asarray(values)[object_mask])

    image = None
    if batch.image is not None:
      normalized = (np.asarray(batch.image, np.float32) / 255 - pixels.MEAN) / pixels.STD
      image = move(normalized).permute(0, 3, 1, 2)  # channels_last
    image_of, slot_of = np.nonzero(object_mask)
    self.scenes = Scenes(
      classes=move(np.asarray(batch.object_class)[object_mask], torch.int64),
      image_of=move(image_of, torch.int64),
      slot_of=move(slot_of, torch.int64),
      subjects=move(numbers[rows, triples[:, 0]], torch.int64),
      predicates=move(triples[:, 1], torch.int64),
      objects=move(numbers[rows, triples[:, 2]], torch.int64),
      shape=object_mask.shape,
      boxes=real(batch.boxes),
      masks=real(batch.masks),
      image=image,
    )

  def train_step(self, noise: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """A training step on the loaded batch; returns the unweighted losses.

    If the generator's loss is not finite, no parameters are updated.

    Args:
      noise: float32[B, C, H, W]; None for new random noise.
    """
    if self._compiled:
      torch.compiler.cudagraph_mark_step_begin()
    discriminators = self.object_discriminator, self.image_discriminator
    for module in discriminators:
      module.requires_grad_(False)
    terms, fake, crops = self._generator_losses(
      self.scenes, self._noise() if noise is None else noise
    )
    skip = 1 - terms['generator/total'].detach().isfinite().float()
    self._update(0, terms['generator/total'], skip)
    for module in discriminators:
      module.requires_grad_(True)
    object_terms = self._object_losses(self.scenes, crops)
    self._update(1, object_terms['object_discriminator/total'], skip)
    image_terms = self._image_losses(self.scenes, fake)
    self._update(2, image_terms['image_discriminator/gan'], skip)
    return {name: term.detach() for name, term in {**terms, **object_terms, **image_terms}.items()}

  def _update(self, network: int, loss: torch.Tensor, skip: torch.Tensor):
    optimizer = self._optimizers[network]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # GradScaler sets these attributes of fused optimizers to skip a step without a synchronisation.
    optimizer.grad_scale = None  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.found_inf = skip  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()

  def _generator_losses(self, scenes: Scenes, noise: torch.Tensor):
    assert scenes.image is not None and scenes.boxes is not None  # a step needs them
    with self._autocast():
      image, boxes, mask_logits, predicate_logits = self.generator(
        scenes, noise, scenes.boxes, scenes.masks
      )
      crops = self.object_discriminator.crop(image, scenes)
      scores, class_logits = self.object_discriminator(crops)
      terms: dict[str, Any] = {
        'l1_pixel': F.l1_loss(image, scenes.image),
        'bbox': F.mse_loss(boxes, scenes.boxes),
        'predicate': F.cross_entropy(predicate_logits, scenes.predicates),
        'object_gan': F.softplus(-scores).mean(),  # binary cross-entropy of logits with ones
        'auxiliary_class': F.cross_entropy(class_logits, scenes.classes),
        'image_gan': F.softplus(-self.image_discriminator(image).float()).mean(),
      }
      if scenes.masks is not None:
        terms['mask'] = F.binary_cross_entropy_with_logits(mask_logits, scenes.masks)
      terms['total'] = sum(self._weights[name] * term for name, term in terms.items())
    return (
      {f'generator/{name}': term for name, term in terms.items()},
      image.detach(),
      crops.detach(),
    )

  def _object_losses(self, scenes: Scenes, fake_crops: torch.Tensor):
    with self._autocast():
      fake_scores, fake_logits = self.object_discriminator(fake_crops)
      real_scores, real_logits = self.object_discriminator(
        self.object_discriminator.crop(scenes.image, scenes)
      )
      terms: dict[str, Any] = {
        'gan': F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean(),
        'class_real': F.cross_entropy(real_logits, scenes.classes),
        'class_fake': F.cross_entropy(fake_logits, scenes.classes),
      }
      terms['total'] = sum(terms.values())
    return {f'object_discriminator/{name}': term for name, term in terms.items()}

  def _image_losses(self, scenes: Scenes, fake: torch.Tensor):
    with self._autocast():
      fake_scores = self.image_discriminator(fake).float()
      real_scores = self.image_discriminator(scenes.image).float()
      return {
        'image_discriminator/gan': F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()
      }

  @torch.inference_mode()
  def sample(self, noise: torch.Tensor | None = None) -> torch.Tensor:
    """Images of the loaded graphs from predicted boxes and masks.

    Args:
      noise: float32[B, C, H, W]; None for new random noise.

    Returns:
      float32[B, 3, H, W], ImageNet-normalised.
    """
    if self._compiled:
      torch.compiler.cudagraph_mark_step_begin()
    self.generator.eval()
    image = self._generate(self.scenes, self._noise() if noise is None else noise)
    self.generator.train()
    return image

  def _generate(self, scenes: Scenes, noise: torch.Tensor):
    with self._autocast():
      return self.generator(scenes, noise)[0]

  def _noise(self) -> torch.Tensor:
    return torch.randn(self.scenes.shape[0], *self._noise_shape, device=self._device).permute(
      0, 3, 1, 2
    )

  def synchronize(self):
    """Waits for the device."""
    if self._device == 'cuda':
      torch.cuda.synchronize()

  def peak_memory(self) -> int:
    """Bytes of the GPU, or of the process on a CPU."""
    if self._device == 'cuda':
      return torch.cuda.max_memory_allocated()
    return process_peak_memory()

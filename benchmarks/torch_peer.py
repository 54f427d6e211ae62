"""The opponent of the benchmarks: the same networks and training step in plain PyTorch, written to
be fast.

It uses what PyTorch is good at: objects and triples are flat lists of real ones, without padding;
images are channels_last; masks are warped alone and meet their vectors in one product; layouts are
pooled level by level; the discriminators' weights get no gradient while the generator is updated;
fakes, and crops of fakes, are made once a step; Adam is fused; nothing waits for the device.
"""

import functools
import resource
import sys

import numpy as np
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict

from benchmarks.torch_networks import Generator, ObjectDiscriminator, Scenes, image_discriminator
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models import pixels
from sg2im_jax.scene_batch import SceneBatch

_DISCRIMINATOR = {
  'enabled': True,
  'normalization': 'batch',
  'activation': 'leakyrelu-0.2',
  'padding': 'valid',
}
_SUPPORTED = {
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


def _check(config: ConfigDict):
  for group, settings in _SUPPORTED.items():
    for name, value in settings.items():
      if config[group][name] != value:
        raise UserError(
          f'config.{group}.{name} is {config[group][name]!r}, the PyTorch peer knows {value!r} '
          'alone; '
          'benchmark another config'
        )
  for name in ('mask_size', 'gconv_num_layers'):
    if config.model[name] < 1:
      raise UserError(
        f'config.model.{name} is {config.model[name]}, the PyTorch peer needs 1 or more; benchmark '
        'another config'
      )


class Peer:
  """The networks, their optimizers and one batch.

  Args:
    device: cpu | cuda.
    dtype: float32 (on cuda with TF32, as JAX has it) | bfloat16 (torch.autocast).
    compile: with torch.compile, on cuda with CUDA graphs; what a step returned is then gone when
      the next one begins.

  Raises:
    UserError: the config asks for what no benchmark needs.
  """

  def __init__(
    self,
    config: ConfigDict,
    vocabulary: Vocabulary,
    *,
    device: str,
    dtype: str = 'float32',
    compile: bool = False,
  ):
    _check(config)
    if device == 'cuda':
      torch.backends.cudnn.benchmark = True
      torch.set_float32_matmul_precision('high')
    torch.manual_seed(config.seed)
    self._device, self._compiled = device, compile
    self._autocast = functools.partial(
      torch.autocast, device, getattr(torch, dtype), dtype != 'float32'
    )
    self._noise_shape = *config.data.image_size, config.model.layout_noise_dim
    losses = config.losses
    self._weights = {
      'l1_pixel': losses.l1_pixel_weight,
      'bbox': losses.bbox_weight,
      'predicate': losses.predicate_weight,
      'mask': losses.mask_weight,
      'object_gan': losses.gan_weight * losses.object_gan_weight,
      'auxiliary_class': losses.auxiliary_class_weight,
      'image_gan': losses.gan_weight * losses.image_gan_weight,
    }
    self.generator = Generator(config, vocabulary)
    self.object_discriminator = ObjectDiscriminator(config, vocabulary.num_objects)
    self.image_discriminator = image_discriminator(config)
    self._optimizers = [
      torch.optim.Adam(
        module.to(device, memory_format=torch.channels_last).parameters(),
        fused=True,
        lr=config.optimizer.learning_rate,
        betas=(config.optimizer.b1, config.optimizer.b2),
        eps=config.optimizer.eps,
      )
      for module in (self.generator, self.object_discriminator, self.image_discriminator)
    ]
    if compile:
      for name in ('_paint', '_generator_losses', '_object_losses', '_image_losses'):
        setattr(self, name, torch.compile(getattr(self, name), mode='reduce-overhead'))

  def load_batch(self, batch: SceneBatch):
    """Keeps the batch for all that follows; every row has to be an image, boxes and image may be
    None to sample.
    """
    if not np.all(batch.example_mask):
      raise UserError(
        'a row of the batch is padding, the PyTorch peer expects images alone; fill the batch'
      )
    object_mask, triple_mask = np.asarray(batch.object_mask), np.asarray(batch.triple_mask)
    numbers = object_mask.cumsum().reshape(object_mask.shape) - 1
    rows, triples = np.nonzero(triple_mask)[0], np.asarray(batch.triples)[triple_mask]

    def move(values, dtype=torch.float32):
      return (
        None if values is None else torch.from_numpy(np.asarray(values)).to(self._device, dtype)
      )

    def real(values):
      return None if values is None else move(np.asarray(values)[object_mask])

    flat = (
      np.asarray(batch.object_class)[object_mask],
      *np.nonzero(object_mask),
      numbers[rows, triples[:, 0]],
      triples[:, 1],
      numbers[rows, triples[:, 2]],
    )
    image = None
    if batch.image is not None:
      image = (move(batch.image) / 255 - move(pixels.MEAN)) / move(pixels.STD)
      image = image.permute(0, 3, 1, 2)  # which makes it channels_last
    self.scenes = Scenes(
      *(move(values, torch.int64) for values in flat),
      object_mask.shape,
      real(batch.boxes),
      real(batch.masks),
      image,
    )

  def train_step(self, noise: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """One step on the loaded batch, with fresh noise unless it is given; returns the unweighted
    losses.
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
    optimizer.grad_scale, optimizer.found_inf = (
      None,
      skip,
    )  # as GradScaler does, to skip a step without waiting
    optimizer.step()

  def _generator_losses(self, scenes: Scenes, noise):
    with self._autocast():
      image, boxes, mask_logits, predicate_logits = self.generator(
        scenes, noise, scenes.boxes, scenes.masks
      )
      crops = self.object_discriminator.crop(image, scenes)
      scores, class_logits = self.object_discriminator(crops)
      terms = {
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

  def _object_losses(self, scenes: Scenes, fake_crops):
    with self._autocast():
      fake_scores, fake_logits = self.object_discriminator(fake_crops)
      real_scores, real_logits = self.object_discriminator(
        self.object_discriminator.crop(scenes.image, scenes)
      )
      terms = {
        'gan': F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean(),
        'class_real': F.cross_entropy(real_logits, scenes.classes),
        'class_fake': F.cross_entropy(fake_logits, scenes.classes),
      }
      terms['total'] = sum(terms.values())
    return {f'object_discriminator/{name}': term for name, term in terms.items()}

  def _image_losses(self, scenes: Scenes, fake):
    with self._autocast():
      fake_scores = self.image_discriminator(fake).float()
      real_scores = self.image_discriminator(scenes.image).float()
      return {
        'image_discriminator/gan': F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()
      }

  @torch.inference_mode()
  def sample(self, noise: torch.Tensor | None = None) -> torch.Tensor:
    """Pictures of the loaded graphs by predicted boxes and masks, float32[B, 3, H, W],
    ImageNet-normalised.
    """
    if self._compiled:
      torch.compiler.cudagraph_mark_step_begin()
    self.generator.eval()
    image = self._paint(self.scenes, self._noise() if noise is None else noise)
    self.generator.train()
    return image

  def _paint(self, scenes: Scenes, noise):
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
    """Bytes: of the device where there is one, else of the whole process."""
    if self._device == 'cuda':
      return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
      1 if sys.platform == 'darwin' else 1024
    )

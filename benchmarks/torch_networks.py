"""The networks of the PyTorch peer, see torch_peer.py.

Modules have the published names, so that published weights load. Letters of shapes are those of
sg2im_jax/scene_batch.py, and N, R for the objects and triples of the whole batch. Images are
[B, 3, H, W].
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models.arch import parse_arch
from sg2im_jax.settings import Settings


class Scenes(NamedTuple):
  """A batch on the device, without padding.

  Attributes:
    classes: int64[N].
    image_of: int64[N], row of the object's image.
    slot_of: int64[N], slot of the object in its image.
    subjects: int64[R], indices among the N objects.
    predicates: int64[R].
    objects: int64[R], indices among the N objects.
    shape: B, O.
    boxes: float32[N, 4]; None for bare graphs.
    masks: float32[N, M, M]; None for bare graphs and data sets without masks.
    image: float32[B, 3, H, W], normalised; None for bare graphs.
  """

  classes: torch.Tensor
  image_of: torch.Tensor
  slot_of: torch.Tensor
  subjects: torch.Tensor
  predicates: torch.Tensor
  objects: torch.Tensor
  shape: tuple[int, int]
  boxes: torch.Tensor | None
  masks: torch.Tensor | None
  image: torch.Tensor | None


def _activation() -> nn.Module:
  return nn.LeakyReLU(0.2, inplace=True)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Linear(inputs, hidden), nn.ReLU(True), nn.Linear(hidden, outputs), nn.ReLU(True)
  )


def _cnn(arch: str) -> tuple[nn.Sequential, int]:
  """The layers of an arch string and the channels of their output."""
  layers, channels = [], 3
  for kind, *arguments in parse_arch(arch):
    if kind != 'C':
      raise UserError(
        f'arch {arch!r} has a token {kind}, the PyTorch peer knows Cw-c-s alone; benchmark another '
        'config'
      )
    width, features, *stride = arguments
    if layers:
      layers += [nn.BatchNorm2d(channels), _activation()]
    layers.append(nn.Conv2d(channels, features, width, stride=stride[0] if stride else 1))
    channels = features
  return nn.Sequential(*layers), channels


def _kaiming(layer: nn.Module):
  if isinstance(layer, (nn.Linear, nn.Conv2d)):
    nn.init.kaiming_normal_(layer.weight)


def _grid(across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
  """Coordinates in [-1, 1], [N, W] and [N, H], as the grid of grid_sample, [N, H, W, 2]."""
  shape = len(across), down.shape[1], across.shape[1]
  return torch.stack([across[:, None].expand(shape), down[..., None].expand(shape)], -1)


class GraphConvolution(nn.Module):
  """A layer with as many output features for objects as for predicates."""

  def __init__(self, inputs: int, hidden: int, outputs: int):
    super().__init__()
    self.sizes = hidden, outputs, hidden
    self.net1, self.net2 = _mlp(3 * inputs, hidden, sum(self.sizes)), _mlp(hidden, hidden, outputs)
    self.apply(_kaiming)

  def forward(self, vectors, predicate_vectors, scenes: Scenes, degrees):
    """New vectors of objects and of predicates.

    Args:
      vectors: [N, D].
      predicate_vectors: [R, D].
      scenes: the batch.
      degrees: [N, 1], triples of each object, at least 1.
    """
    # The gradient of index_select is an index_add; that of vectors[index] sorts.
    ends = vectors.index_select(0, scenes.subjects), vectors.index_select(0, scenes.objects)
    subjects, predicates, objects = self.net1(
      torch.cat([ends[0], predicate_vectors, ends[1]], 1)
    ).split(self.sizes, 1)
    pooled = subjects.new_zeros(len(vectors), subjects.shape[1])
    pooled = pooled.index_add_(0, scenes.subjects, subjects).index_add_(0, scenes.objects, objects)
    return self.net2(pooled / degrees), predicates


class RefinementNetwork(nn.Module):
  """From the layout [B, D, H, W] to the image, from coarse to fine."""

  def __init__(self, inputs: int, dims: tuple[int, ...]):
    super().__init__()
    self.refinement_modules = nn.ModuleList(
      nn.ModuleDict(
        {
          'net': nn.Sequential(
            nn.Conv2d(inputs + before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            _activation(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.BatchNorm2d(after),
            _activation(),
          )
        }
      )
      for before, after in zip((1, *dims), dims)
    )
    self.output_conv = nn.Sequential(
      nn.Conv2d(dims[-1], dims[-1], 3, padding=1), _activation(), nn.Conv2d(dims[-1], 3, 1)
    )
    self.apply(_kaiming)

  def forward(self, layout):
    pyramid = [layout]
    for _ in self.refinement_modules[1:]:
      pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    batch, _, height, width = pyramid[-1].shape
    x = layout.new_zeros(batch, 1, height // 2, width // 2)
    for module, pooled in zip(self.refinement_modules, reversed(pyramid)):
      x = F.interpolate(x, scale_factor=2, mode='nearest')
      x = module.get_submodule('net')(torch.cat([pooled, x], 1))
    return self.output_conv(x)


class Generator(nn.Module):
  """Scene graph -> boxes and masks -> layout -> image."""

  def __init__(self, settings: Settings, vocabulary: Vocabulary):
    super().__init__()
    model = settings.model
    self.image_size, self.align_corners = settings.data.image_size, model.align_corners
    embedding, features, hidden = model.embedding_dim, model.gconv_dim, model.gconv_hidden_dim
    self.obj_embeddings = nn.Embedding(vocabulary.num_objects + 1, embedding)
    self.pred_embeddings = nn.Embedding(vocabulary.num_predicates, embedding)
    self.gconv = GraphConvolution(embedding, hidden, features)
    self.gconv_net = nn.ModuleDict(
      {
        'gconvs': nn.ModuleList(
          GraphConvolution(features, hidden, features) for _ in range(model.gconv_num_layers - 1)
        )
      }
    )
    self.box_net = _mlp(features, hidden, 4)
    self.box_net.get_parameter('2.bias').data += model.initial_box
    self.rel_aux_net = _mlp(8 + 2 * embedding, hidden, vocabulary.num_predicates)
    self.mask_net = nn.Sequential()
    for _ in range(model.mask_size.bit_length() - 1):
      self.mask_net.extend(
        [
          nn.Upsample(scale_factor=2),
          nn.BatchNorm2d(features),
          nn.Conv2d(features, features, 3, padding=1),
          nn.ReLU(True),
        ]
      )
    self.mask_net.append(nn.Conv2d(features, 1, 1))
    self.refinement_net = RefinementNetwork(
      features + model.layout_noise_dim, model.refinement_dims
    )

  def forward(self, scenes: Scenes, noise, boxes=None, masks=None):
    """Generates images.

    Args:
      scenes: the batch.
      noise: float32[B, C, H, W].
      boxes: [N, 4] of the layout; None for predicted ones.
      masks: [N, M, M] of the layout; None for predicted ones.

    Returns:
      Image [B, 3, H, W], predicted boxes [N, 4], mask logits [N, M, M] and predicate logits [R, P],
      all float32.
    """
    embeddings = self.obj_embeddings(scenes.classes)
    predicates = self.pred_embeddings(scenes.predicates)
    ends = torch.cat([scenes.subjects, scenes.objects])
    degrees = embeddings.new_zeros(len(embeddings), 1).index_add_(
      0, ends, embeddings.new_ones(len(ends), 1)
    )
    vectors, degrees = embeddings, degrees.clamp_(min=1)

    for layer in (self.gconv, *self.gconv_net['gconvs'].children()):
      vectors, predicates = layer(vectors, predicates, scenes, degrees)
    predicted_boxes = self.box_net(vectors).float()
    mask_logits = self.mask_net(vectors[..., None, None]).squeeze(1).float()
    relations = torch.cat(
      [
        values.index_select(0, index)
        for values in (predicted_boxes, embeddings)
        for index in (scenes.subjects, scenes.objects)
      ],
      1,
    )
    layout = self._layout(
      scenes,
      vectors,
      predicted_boxes if boxes is None else boxes,
      mask_logits.sigmoid() if masks is None else masks,
    )
    image = self.refinement_net(torch.cat([layout, noise.to(layout)], 1)).float()
    return image, predicted_boxes, mask_logits, self.rel_aux_net(relations).float()

  def _layout(self, scenes: Scenes, vectors, boxes, masks):
    """Sum over the objects of an image of vector times warped mask: [B, D, H, W], channels_last."""
    height, width = self.image_size
    start, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    # A box of no extent covers one column of pixels at most.
    extent = torch.where(extent == 0, 1e-6, extent)
    across, down = (
      (torch.linspace(0, 1, size, device=boxes.device) - start[:, axis, None])
      / extent[:, axis, None]
      * 2
      - 1
      for axis, size in enumerate((width, height))
    )
    canvases = F.grid_sample(
      masks[:, None], _grid(across, down), align_corners=self.align_corners
    ).flatten(1)
    canvases, vectors = (
      values.new_zeros(*scenes.shape, values.shape[1]).index_put(
        (scenes.image_of, scenes.slot_of), values
      )
      for values in (canvases, vectors)
    )
    return (canvases.mT @ vectors).unflatten(1, (height, width)).permute(0, 3, 1, 2)


def image_discriminator(settings: Settings) -> nn.Module:
  """Maps an image to a feature map, every channel of which is a score."""
  return nn.Sequential(OrderedDict(cnn=_cnn(settings.image_discriminator.arch)[0]))


class ObjectDiscriminator(nn.Module):
  """Scores crops of objects and classifies them."""

  def __init__(self, settings: Settings, num_objects: int):
    super().__init__()
    self.crop_size = settings.object_discriminator.crop_size
    self.align_corners = settings.model.align_corners
    cnn, channels = _cnn(settings.object_discriminator.arch)
    self.cnn = nn.Sequential(
      cnn,
      nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
      nn.Linear(channels, 1024),
    )
    self.real_classifier, self.obj_classifier = nn.Linear(1024, 1), nn.Linear(1024, num_objects)

  def crop(self, image, scenes: Scenes):
    """Crops every object by its box: [N, 3, S, S]."""
    assert scenes.boxes is not None  # a bare graph has nothing to crop
    start, end = scenes.boxes[:, :2, None] * 2 - 1, scenes.boxes[:, 2:, None] * 2 - 1
    steps = torch.linspace(0, 1, self.crop_size, device=image.device)
    across, down = (start * (1 - steps) + end * steps).unbind(1)
    return F.grid_sample(
      image.index_select(0, scenes.image_of), _grid(across, down), align_corners=self.align_corners
    )

  def forward(self, crops):
    """Float32 scores [N, 1] and class logits [N, V]."""
    x = self.cnn(crops)
    return self.real_classifier(x).float(), self.obj_classifier(x).float()

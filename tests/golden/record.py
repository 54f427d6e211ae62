"""Records what the published PyTorch code computes, for sg2im_jax/published/verification.py.

  git clone https://github.com/google/sg2im published
  python tests/golden/record.py --published=published --inputs=tests/golden --output=recordings

For each case that is named, or for all of them, OUTPUT/CASE.npz is written, and OUTPUT/CASE.pt
beside it for the cases that the tests have a checkpoint of. With --inputs, scenes and weights are
those of the recording of that name there, and only what is computed from them is new; without it
both are drawn from --seed. sg2im_jax/published/verification.py lists what a recording holds.
Results in float32 differ in their last digits from processor to processor; --only-step keeps those
of --inputs.

The training step is computed in float64 and its losses, gradients and running statistics are
stored so. All else is float32. After each case a line says how far the gradients of the same step
in float32 stray from those. Where it is 1e-4 or more, most likely an activation lies within
round-off of its kink, and a comparison in float32 is left to chance: take another seed.

Needs PyTorch for CPUs (written with 2.13) and NumPy; of the published code, nothing but its
package `sg2im`.
"""

import argparse
import collections
import contextlib
import importlib
import io
import json
import pathlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

OBJECTS = (
  '__image__',
  *(f'thing{i}' for i in range(1, 10)),
  'NONE',
  *(f'stuff{i}' for i in range(11, 14)),
)
PREDICATES = ('__in_image__', 'left of', 'right of', 'above', 'below', 'inside', 'surrounding')
UNUSED_CLASS = OBJECTS.index('NONE')  # a gap in the ids, as COCO has them
VOCABULARY = {
  'object_idx_to_name': list(OBJECTS),
  'object_name_to_idx': {name: i for i, name in enumerate(OBJECTS) if i != UNUSED_CLASS},
  'pred_idx_to_name': list(PREDICATES),
  'pred_name_to_idx': {name: i for i, name in enumerate(PREDICATES)},
}
WEIGHTS = {'l1_pixel': 1.0, 'bbox': 10.0, 'predicate': 0.3, 'mask': 0.1, 'ac': 0.1, 'g_gan': 0.01}

# The settings of a case are these with its own changes. The generator's are arguments of the
# published class; of the others, d_* are the discriminators' and `crop` is the side of the object
# discriminator's input in pixels, `gan` the kind of loss and `masks` whether scenes have masks.
GENERATOR = {
  'image_size': (32, 32),
  'embedding_dim': 12,
  'gconv_dim': 16,
  'gconv_hidden_dim': 24,
  'gconv_pooling': 'avg',
  'gconv_num_layers': 5,
  'refinement_dims': (32, 16, 8),
  'normalization': 'batch',
  'activation': 'leakyrelu-0.2',
  'mask_size': 8,
  'mlp_normalization': 'none',
  'layout_noise_dim': 4,
}
OTHERS = {
  'd_obj': 'C4-8-2,C4-16-2',
  'd_img': 'C4-8-2,C4-16-2,C4-16-2',
  'd_norm': 'batch',
  'd_act': 'leakyrelu-0.2',
  'd_pad': 'valid',
  'crop': 16,
  'gan': 'gan',
  'masks': True,
}
CASES = {
  'coco': {},
  'vg': {'mask_size': 16, 'layout_noise_dim': 3, 'masks': False},
  'boxes_only': {
    'gconv_num_layers': 1,
    'normalization': 'instance',
    'mask_size': 0,
    'd_norm': 'instance',
    'gan': 'lsgan',
    'masks': False,
  },
  'no_gconv': {
    'gconv_num_layers': 0,
    'normalization': 'none',
    'activation': 'relu',
    'd_norm': 'none',
    'd_act': 'relu',
    'gan': 'wgan',
  },
  'sum_bn_mlp': {
    'gconv_pooling': 'sum',
    'mlp_normalization': 'batch',
    'layout_noise_dim': 0,
    'd_obj': 'C3-8-2,C3-16',
    'd_img': 'C3-8,C5-16-2',
    'd_pad': 'same',
  },
  'residual_rect': {
    'image_size': (32, 64),
    'gconv_num_layers': 2,
    'refinement_dims': (24, 12),
    'mask_size': 4,
    'layout_noise_dim': 2,
    'd_obj': 'C3-8,R,C3-12-2',
    'd_img': 'C3-8,R,C3-12-2,R',
    'd_pad': 'same',
  },
  'pool_up_fc': {
    'image_size': (48, 32),
    'gconv_pooling': 'sum',
    'gconv_num_layers': 3,
    'refinement_dims': (16, 12, 8),
    'normalization': 'instance',
    'mask_size': 2,
    'mlp_normalization': 'batch',
    'layout_noise_dim': 0,
    'd_obj': 'C3-8-2,P2,FC-128-20,FC-20-12',
    'd_img': 'C3-8,P2,C3-12,U2,C3-10',
    'd_norm': 'instance',
    'd_pad': 'same',
    'gan': 'lsgan',
  },
  'first_residual': {
    'image_size': (16, 16),
    'gconv_num_layers': 1,
    'refinement_dims': (8,),
    'mask_size': 1,
    'layout_noise_dim': 1,
    'd_obj': 'I3,C3-6-2,R',
    'd_img': 'R,C3-6-2',
    'd_act': 'relu',
    'd_pad': 'same',
  },
  'no_norm_deep': {
    'image_size': (64, 64),
    'gconv_num_layers': 7,
    'refinement_dims': (12, 10, 8, 6, 4),
    'normalization': 'none',
    'activation': 'relu',
    'mask_size': 32,
    'layout_noise_dim': 5,
    'd_obj': 'C4-8-2,C4-12-2',
    'd_img': 'C5-6-2,C4-8-3,C3-10',
    'd_norm': 'none',
    'd_act': 'leakyrelu',
    'crop': 24,
    'gan': 'wgan',
    'masks': False,
  },
  'unaligned': {'align_corners': False},
}
CHECKPOINTS = ('coco', 'vg', 'boxes_only', 'no_gconv', 'sum_bn_mlp')  # cases with a .pt

NETWORKS = ('model', 'd_obj', 'd_img')
OUTPUTS = ('img', 'boxes', 'masks', 'rel')
DRAWN = ('in/', 'state/', 'ops/vecs', 'ops/other_boxes')  # what --inputs are read for
KEPT = ('in/', 'state/', 'ops/', 'eval/')  # the same with --only-step
Arrays = dict[str, np.ndarray]
Tensors = dict[str, torch.Tensor]


def settings_of(case: str) -> dict[str, Any]:
  """What settings_json holds."""
  unchanged = {**GENERATOR, **OTHERS, 'vocab': VOCABULARY, 'weights': WEIGHTS}
  return {**unchanged, **CASES[case]}


class Published:
  """The published package at a path, and networks made with it."""

  def __init__(self, path: str | pathlib.Path):
    sys.path.insert(0, str(path))
    for module in ('model', 'discriminators', 'losses', 'layout', 'bilinear', 'metrics'):
      setattr(self, module, importlib.import_module(f'sg2im.{module}'))

  def networks(self, settings: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """The three networks, with weights that PyTorch's random generator gives."""
    arguments = network_arguments(settings)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every layer
      return {
        'model': self.model.Sg2ImModel(**arguments['model']),
        'd_obj': self.discriminators.AcCropDiscriminator(**arguments['d_obj']),
        'd_img': self.discriminators.PatchDiscriminator(**arguments['d_img']),
      }


def network_arguments(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """What the published classes are called with, by network."""
  shared = {
    'normalization': settings['d_norm'],
    'activation': settings['d_act'],
    'padding': settings['d_pad'],
  }
  return {
    'model': {**{name: settings[name] for name in GENERATOR}, 'vocab': VOCABULARY},
    'd_obj': {
      'vocab': VOCABULARY,
      'arch': settings['d_obj'],
      **shared,
      'object_size': settings['crop'],
    },
    'd_img': {'arch': settings['d_img'], **shared},
  }


def draw(published: Published, settings: Mapping[str, Any], seed: int) -> Arrays:
  """Scenes, weights and the inputs of the operators, under their recorded names.

  Three images; boxes are (left, top, right, bottom) as shares of the image, in hundredths. Of each
  image's things one leaves the frame and one has no relation but that to its `__image__`.
  """
  random = np.random.default_rng(seed)
  mask_size = settings['mask_size'] or 8
  classes, boxes, image_of, triples = [], [], [], []
  for image in range(3):
    first, count = len(classes), random.integers(3, 7)
    classes += list(random.choice([i for i in range(1, len(OBJECTS)) if i != UNUSED_CLASS], count))
    corner, extent = random.uniform(0, 0.7, (count, 2)), random.uniform(0.05, 0.4, (count, 2))
    corner[0, 0] = -0.04
    boxes += list(np.concatenate([corner, corner + extent], 1).round(2))
    related = np.delete(np.arange(count), 1)
    for subject in related:
      other = random.choice(related[related != subject])
      triples.append((first + subject, random.integers(1, len(PREDICATES)), first + other))
    triples += [(first + thing, 0, first + count) for thing in range(count)]
    classes.append(0)
    boxes.append(np.array([0, 0, 1, 1]))
    image_of += [image] * (count + 1)
  classes, boxes = np.array(classes), np.array(boxes, np.float32)
  masks = random.random((len(classes), mask_size, mask_size)) > 0.4
  masks[classes == 0] = True
  height, width = settings['image_size']

  def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape, np.float32)

  arrays = {
    'in/objs': classes,
    'in/boxes': boxes,
    'in/masks': masks.astype(np.int64),
    'in/triples': np.array(triples),
    'in/obj_to_img': np.array(image_of),
    'in/imgs': normal(3, 3, height, width),
    'in/noise': normal(3, settings['layout_noise_dim'], height, width),
    'ops/vecs': normal(len(classes), 2),
    'ops/other_boxes': boxes + np.float32(0.03) * normal(*boxes.shape),
  }
  torch.manual_seed(seed)
  for name, network in published.networks(settings).items():
    for module in network.modules():  # statistics unlike the initial 0 and 1
      if getattr(module, 'running_mean', None) is not None:
        module.running_mean.normal_(0, 0.2)
        module.running_var.uniform_(0.5, 1.5)
    arrays |= {
      f'state/{name}/{key}': np.array(value) for key, value in network.state_dict().items()
    }
  return arrays


def read_inputs(path: pathlib.Path, settings: Mapping[str, Any], only_step: bool) -> Arrays:
  """What `draw` gives, from a recording with the same settings; all but the step, if asked to."""
  with np.load(path) as file:
    recorded = json.loads(str(file['settings_json']))
    if recorded != json.loads(json.dumps(settings)):
      raise ValueError(f'{path} has other settings than the case of its name here')
    return {name: file[name] for name in file if name.startswith(KEPT if only_step else DRAWN)}


class Run:
  """The published networks with recorded weights and scenes, in one dtype.

  Attributes:
    networks: by name.
    scenes: `objs` [N], `boxes` [N, 4], `masks` [N, M, M], `obj_to_img` [N], `triples` [T, 3],
      `imgs` [B, 3, H, W], and `noise` [B, C, H, W], which the generator is given for its own.
  """

  def __init__(
    self, published: Published, settings: Mapping[str, Any], arrays: Arrays, dtype: torch.dtype
  ):
    self._published, self._settings, self._dtype = published, settings, dtype
    self.networks = published.networks(settings)
    for name, network in self.networks.items():
      prefix = f'state/{name}/'
      network.load_state_dict(
        {
          key.removeprefix(prefix): torch.tensor(value)
          for key, value in arrays.items()
          if key.startswith(prefix)
        }
      )
      network.to(dtype)
    self.scenes = {
      name.removeprefix('in/'): self.tensor(value)
      for name, value in arrays.items()
      if name.startswith('in/')
    }

  def tensor(self, values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=self._dtype if values.dtype.kind == 'f' else None)

  @contextlib.contextmanager
  def calls(self) -> Iterator[None]:
    """Makes the published code compute in one dtype, with the given noise, and sample as it did.

    It leaves `align_corners` of grid_sample to the default, which PyTorch 1.3 changed; it creates
    coordinates in the default dtype, and casts predicted masks to float32.
    """
    noise, sample = self.scenes['noise'], F.grid_sample

    def given_noise(shape: Sequence[int], **_: Any) -> torch.Tensor:
      assert tuple(shape) == noise.shape, f'noise of {tuple(shape)} is drawn'
      return noise

    def grid_sample(values: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
      return sample(values, grid, align_corners=self._settings.get('align_corners', True))

    previous = torch.get_default_dtype()
    torch.set_default_dtype(self._dtype)
    try:
      with (
        mock.patch.object(torch, 'randn', given_noise),
        mock.patch.object(F, 'grid_sample', grid_sample),
        mock.patch.object(torch.Tensor, 'float', lambda tensor: tensor.to(self._dtype)),
      ):
        yield
    finally:
      torch.set_default_dtype(previous)

  def generate(self, boxes: bool, masks: bool) -> Tensors:
    """The generator's outputs, painted with the scenes' boxes and masks or with its own."""
    scenes = self.scenes
    values = self.networks['model'](
      scenes['objs'],
      scenes['triples'],
      scenes['obj_to_img'],
      boxes_gt=scenes['boxes'] if boxes else None,
      masks_gt=scenes['masks'] if masks and self._settings['masks'] else None,
    )
    return {name: value for name, value in zip(OUTPUTS, values) if value is not None}

  def judge_objects(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The object discriminator's scores [N, 1], and its loss of classes."""
    scenes = self.scenes
    return self.networks['d_obj'](images, scenes['objs'], scenes['boxes'], scenes['obj_to_img'])

  @torch.no_grad()
  def evaluation(self) -> Tensors:
    """eval/*"""
    for network in self.networks.values():
      network.eval()
    found = {}
    with self.calls():
      for mode, (boxes, masks) in {
        'gt': (True, True),
        'gt_boxes': (True, False),
        'pred': (False, False),
      }.items():
        found |= _under(f'eval/{mode}', self.generate(boxes, masks))
      scores, class_loss = self.judge_objects(self.scenes['imgs'])
      found |= {
        'eval/d_obj/scores': scores,
        'eval/d_obj/ac_loss': class_loss,
        'eval/d_img/scores': self.networks['d_img'](self.scenes['imgs']),
      }
    return found

  @torch.no_grad()
  def operators(self, vectors: np.ndarray, other_boxes: np.ndarray) -> Tensors:
    """ops/*, of vectors [N, D] for the objects and boxes [N, 4] to compare theirs with."""
    scenes, published = self.scenes, self._published
    boxes, image_of, vectors = scenes['boxes'], scenes['obj_to_img'], self.tensor(vectors)
    size = self._settings['image_size']
    with self.calls():
      return {
        'ops/crops': published.bilinear.crop_bbox_batch(
          scenes['imgs'], boxes, image_of, self._settings['crop']
        ),
        'ops/boxes_to_layout': published.layout.boxes_to_layout(vectors, boxes, image_of, *size),
        'ops/masks_to_layout': published.layout.masks_to_layout(
          vectors, boxes, scenes['masks'], image_of, *size
        ),
        'ops/iou_sum': published.metrics.jaccard(self.tensor(other_boxes), boxes),
      }

  def step(self) -> Tensors:
    """train/*: one step, in the order of the published training but without the updates.

    The generator's losses are weighted. Running statistics move with every forward pass.
    """
    for network in self.networks.values():
      network.train()
    model, d_obj, d_img = (self.networks[name] for name in NETWORKS)
    generator_loss, discriminator_loss = self._published.losses.get_gan_losses(
      self._settings['gan']
    )
    real = self.scenes['imgs']
    with self.calls():
      outputs = self.generate(boxes=True, masks=True)
      found = _under('train/gt', outputs)
      losses = self._generator_losses(outputs)
      object_scores, class_loss = self.judge_objects(outputs['img'])
      losses |= {
        'ac': class_loss,
        'g_gan_obj': generator_loss(object_scores),
        'g_gan_img': generator_loss(d_img(outputs['img'])),
      }
      losses = {
        name: value * WEIGHTS['g_gan' if name.startswith('g_gan') else name]
        for name, value in losses.items()
      }
      losses['total'] = sum(losses.values())
      found |= _under('train/g_loss', losses)
      found |= _under('train/g_grad', _gradients(losses['total'], model))
      found |= _under('train/stats_after_g/model', _statistics(model))

      fake = outputs['img'].detach()
      fake_scores, fake_loss = self.judge_objects(fake)
      real_scores, real_loss = self.judge_objects(real)
      losses = {
        'gan': discriminator_loss(real_scores, fake_scores),
        'ac_real': real_loss,
        'ac_fake': fake_loss,
      }
      found |= _under('train/d_obj', losses)
      found |= _under('train/d_obj_grad', _gradients(sum(losses.values()), d_obj))

      fake_scores = d_img(fake)
      loss = discriminator_loss(d_img(real), fake_scores)
      found['train/d_img/gan'] = loss
      found |= _under('train/d_img_grad', _gradients(loss, d_img))
    for name in ('d_obj', 'd_img'):
      found |= _under(f'train/stats_after_step/{name}', _statistics(self.networks[name]))
    return found

  def _generator_losses(self, outputs: Tensors) -> Tensors:
    """Those of the paper that need no discriminator, before they are weighted."""
    scenes = self.scenes
    losses = {
      'l1_pixel': F.l1_loss(outputs['img'], scenes['imgs']),
      'bbox': F.mse_loss(outputs['boxes'], scenes['boxes']),
      'predicate': F.cross_entropy(outputs['rel'], scenes['triples'][:, 1]),
    }
    if 'masks' in outputs and self._settings['masks']:
      losses['mask'] = F.binary_cross_entropy(outputs['masks'], scenes['masks'].to(self._dtype))
    return losses


def _under(prefix: str, tensors: Tensors) -> Tensors:
  return {f'{prefix}/{name}': value for name, value in tensors.items()}


def _gradients(loss: torch.Tensor, network: torch.nn.Module) -> Tensors:
  """By parameter, but for those that the loss does not depend on."""
  parameters = dict(network.named_parameters())
  values = torch.autograd.grad(
    loss, list(parameters.values()), retain_graph=True, allow_unused=True
  )
  return {name: value for name, value in zip(parameters, values) if value is not None}


def _statistics(network: torch.nn.Module) -> Tensors:
  return {name: value.clone() for name, value in network.state_dict().items() if 'running' in name}


def stray(steps: Tensors, exact: Tensors) -> tuple[float, str]:
  """The largest difference of a gradient, relative to its largest entry, and the gradient's name.

  Those that are zero but for round-off are left out.
  """
  return max(
    (float((steps[name] - value).abs().max() / value.abs().max()), name)
    for name, value in exact.items()
    if '_grad/' in name and value.abs().max() > 1e-12
  )


def checkpoint(
  case: str, settings: Mapping[str, Any], arrays: Arrays, networks: Mapping[str, torch.nn.Module]
) -> dict[str, Any]:
  """The model as the published training saves it, in the guise that the tests have it in.

  `coco` has histories and the state of an optimizer besides, `vg` is stripped and has a retired
  argument, `sum_bn_mlp` has the names that DataParallel gives.
  """
  arguments = network_arguments(settings)
  states = {
    network: {
      name.split('/', 2)[2]: torch.tensor(value)
      for name, value in arrays.items()
      if name.startswith(f'state/{network}/')
    }
    for network in NETWORKS
  }
  content = {
    'args': {name: settings[name] for name in ('mask_size', 'image_size')},
    'vocab': VOCABULARY,
    **{f'{name}_kwargs': arguments[name] for name in NETWORKS},
    **{f'{name}_state': states[name] for name in NETWORKS},
    'counters': {'t': 7, 'epoch': 1},
  }
  if case == 'coco':
    content['losses'] = collections.defaultdict(list, total_loss=[3.0, 2.5])
    content['optim_state'] = torch.optim.Adam(networks['model'].parameters(), 1e-4).state_dict()
  elif case == 'vg':
    content['model_kwargs'] = {**arguments['model'], 'vec_noise_dim': 0}
    content = {
      name: content[name]
      for name in (
        'args',
        'model_state',
        'model_kwargs',
        'd_img_state',
        'd_img_kwargs',
        'd_obj_state',
        'd_obj_kwargs',
      )
    }
  elif case == 'sum_bn_mlp':
    content['model_state'] = {f'module.{name}': value for name, value in states['model'].items()}
  return content


def record(
  published: Published,
  case: str,
  output: pathlib.Path,
  *,
  inputs: pathlib.Path | None,
  only_step: bool,
  seed: int,
):
  """Writes the files of a case and prints a line about it."""
  settings = settings_of(case)
  arrays = (
    draw(published, settings, seed)
    if inputs is None
    else read_inputs(inputs / f'{case}.npz', settings, only_step)
  )
  single = Run(published, settings, arrays, torch.float32)
  found = (
    {}
    if only_step
    else {**single.evaluation(), **single.operators(arrays['ops/vecs'], arrays['ops/other_boxes'])}
  )
  step = Run(published, settings, arrays, torch.float64).step()
  for name, value in step.items():
    assert value.dtype == torch.float64, f'{name} was computed in {value.dtype}'
    found[name] = value.float() if name.startswith('train/gt/') else value
  arrays |= {name: value.detach().numpy() for name, value in found.items()}
  np.savez_compressed(output / f'{case}.npz', settings_json=json.dumps(settings), **arrays)
  if case in CHECKPOINTS:  # published files are of the older format
    torch.save(
      checkpoint(case, settings, arrays, single.networks),
      output / f'{case}.pt',
      _use_new_zipfile_serialization=case != 'vg',
    )
  difference, name = stray(single.step(), step)
  print(
    f'{case}: {len(arrays)} arrays; gradients in float32 stray by {difference:.0e} at most, {name}'
  )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--published',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='a checkout of the published code: the directory that holds sg2im/',
  )
  parser.add_argument(
    '--output',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='where to write; files of the same names there are replaced',
  )
  parser.add_argument(
    '--inputs',
    type=pathlib.Path,
    metavar='DIR',
    help='recordings whose scenes and weights to take; drawn anew without it',
  )
  parser.add_argument(
    '--only-step',
    action='store_true',
    help='compute the training step alone, and take all else from --inputs',
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='of what is drawn without --inputs (default: %(default)s)'
  )
  parser.add_argument(
    'cases', nargs='*', metavar='CASE', help=f'of {", ".join(CASES)} (default: all)'
  )
  arguments = parser.parse_args()
  unknown = [case for case in arguments.cases if case not in CASES]
  if unknown:
    parser.error(f'there is no case {unknown[0]!r}, but {", ".join(CASES)}')
  cases = arguments.cases or list(CASES)
  if not (arguments.published / 'sg2im/model.py').is_file():
    parser.error(
      f'{arguments.published} is no checkout of the published code: it has no sg2im/model.py'
    )
  if arguments.inputs is None and arguments.only_step:
    parser.error('--only-step needs --inputs')
  if arguments.inputs is not None:
    for case in cases:
      if not (arguments.inputs / f'{case}.npz').is_file():
        parser.error(f'{arguments.inputs} has no {case}.npz')
  arguments.output.mkdir(parents=True, exist_ok=True)
  warnings.simplefilter('ignore')  # of functions that PyTorch has renamed since
  published = Published(arguments.published)
  for case in cases:
    record(
      published,
      case,
      arguments.output,
      inputs=arguments.inputs,
      only_step=arguments.only_step,
      seed=arguments.seed,
    )


if __name__ == '__main__':
  main()

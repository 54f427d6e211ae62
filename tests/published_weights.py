"""Puts the arrays of the published PyTorch system into this project's networks, by one table of names."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sg2im_jax.models.discriminators import parse_arch

# (published prefix, path of the module here); a module's arrays are found by its kind.
Rows = Iterator[tuple[str, tuple[str, ...]]]


def _mlp(prefix: str, path: tuple[str, ...], layers: int, normalization: str) -> Rows:
  stride = 2 if normalization == 'none' else 3
  for i in range(layers):
    yield f'{prefix}.{stride * i}', (*path, f'dense_{i}')
    if normalization != 'none':
      yield f'{prefix}.{stride * i + 1}', (*path, f'norm_{i}')


def generator_rows(config: ConfigDict) -> Rows:
  """Every module of the generator."""
  model = config.model
  yield 'obj_embeddings', ('object_embedding',)
  yield 'pred_embeddings', ('predicate_embedding',)
  if model.gconv_num_layers == 0:
    yield 'gconv', ('linear',)
  for i in range(model.gconv_num_layers):
    prefix = 'gconv' if i == 0 else f'gconv_net.gconvs.{i - 1}'
    yield from _mlp(f'{prefix}.net1', (f'graph_convolution_{i}', 'triple_mlp'), 2, model.mlp_normalization)
    yield from _mlp(f'{prefix}.net2', (f'graph_convolution_{i}', 'object_mlp'), 2, model.mlp_normalization)
  yield from _mlp('box_net', ('box_head',), 2, model.mlp_normalization)
  yield from _mlp('rel_aux_net', ('relation_head',), 2, model.mlp_normalization)
  if model.mask_size:
    doublings = model.mask_size.bit_length() - 1
    for i in range(doublings):
      yield f'mask_net.{4 * i + 1}', ('mask_head', f'norm_{i}')
      yield f'mask_net.{4 * i + 2}', ('mask_head', f'conv_{i}')
    yield f'mask_net.{4 * doublings}', ('mask_head', 'logits')
  stride = 2 if model.normalization == 'none' else 3
  for i in range(len(model.refinement_dims)):
    for j in range(2):
      prefix = f'refinement_net.refinement_modules.{i}.net'
      yield f'{prefix}.{stride * j}', ('refinement', f'module_{i}', f'conv_{j}')
      if model.normalization == 'batch':
        yield f'{prefix}.{stride * j + 1}', ('refinement', f'module_{i}', f'norm_{j}')
  yield 'refinement_net.output_conv.0', ('refinement', 'output_conv')
  yield 'refinement_net.output_conv.2', ('refinement', 'rgb')


def _cnn_rows(prefix: str, settings: ConfigDict) -> Rows:
  tokens = parse_arch(settings.arch)
  index, first, flat = 0, True, False
  for i, (kind, *_) in enumerate(tokens):
    if kind == 'C':
      if not first:
        if settings.normalization == 'batch':
          yield f'{prefix}.{index}', ('cnn', f'norm_{i}')
        index += 1 if settings.normalization == 'none' else 2
      yield f'{prefix}.{index}', ('cnn', f'conv_{i}')
      index, first = index + 1, False
    elif kind == 'R':
      stride = 2 if settings.normalization == 'none' or first else 3
      for j in range(2):
        if settings.normalization == 'batch' and not first:
          yield f'{prefix}.{index}.net.{stride * j}', ('cnn', f'residual_{i}', f'norm_{j}')
        yield f'{prefix}.{index}.net.{stride * (j + 1) - 1}', ('cnn', f'residual_{i}', f'conv_{j}')
      index, first = index + 1, False
    elif kind in ('U', 'P'):
      index += 1
    elif kind == 'FC':
      index += 0 if flat else 1
      flat = True
      yield f'{prefix}.{index}', ('cnn', f'linear_{i}')
      index += 2 if i + 1 < len(tokens) else 1


def image_discriminator_rows(config: ConfigDict) -> Rows:
  """Every module that takes part; the published `classifier` never does."""
  yield from _cnn_rows('cnn', config.image_discriminator)


def object_discriminator_rows(config: ConfigDict) -> Rows:
  """Every module."""
  yield from _cnn_rows('discriminator.cnn.0', config.object_discriminator)
  yield 'discriminator.cnn.2', ('linear',)
  yield 'discriminator.real_classifier', ('score',)
  yield 'discriminator.obj_classifier', ('class',)


def _set(tree: dict, path: tuple[str, ...], value: np.ndarray) -> None:
  for name in path[:-1]:
    tree = tree.setdefault(name, {})
  tree[path[-1]] = jnp.asarray(value)


def to_flax(arrays: dict[str, np.ndarray], rows: Rows) -> tuple[dict, dict]:
  """(params, batch_stats) of a network from its published arrays; gradients and statistics translate alike."""
  params, batch_stats = {}, {}
  for prefix, path in rows:
    weight = arrays.get(f'{prefix}.weight')
    if weight is not None:
      if 'embedding' in path[-1]:
        _set(params, (*path, 'embedding'), weight)
      elif weight.ndim == 1:
        _set(params, (*path, 'scale'), weight)
      else:
        _set(params, (*path, 'kernel'), weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0))
    if f'{prefix}.bias' in arrays:
      _set(params, (*path, 'bias'), arrays[f'{prefix}.bias'])
    if f'{prefix}.running_mean' in arrays:
      _set(batch_stats, (*path, 'mean'), arrays[f'{prefix}.running_mean'])
      _set(batch_stats, (*path, 'var'), arrays[f'{prefix}.running_var'])
  return params, batch_stats

"""Which array of a published checkpoint is which array here: one table a network.

A row names a layer twice, as published and as here, and its kind, which tells what arrays the layer
has:

    kind        published                                here
    embedding   weight [N, D]                            embedding [N, D]
    linear      weight [out, in], bias                   kernel [in, out], bias
    conv        weight [out, in, h, w], bias             kernel [h, w, in, out], bias
    norm        weight, bias, running_mean, running_var  scale, bias; batch_stats mean, var

Much of the published network is in `nn.Sequential`s, whose layers are named by their numbers. Those
are spelled here as lists of their layers in order, `None` for each that has no arrays (activations,
resizing, instance normalisation).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sg2im_jax.models.arch import parse_arch
from sg2im_jax.models.settings import DiscriminatorSettings
from sg2im_jax.settings import Settings


class Row(NamedTuple):
  """A layer in both naming schemes.

  Attributes:
    published: name of the layer in the published state dict.
    here: path of the module in the parameters of the network, separated by slashes.
    kind: embedding | linear | conv | norm.
  """

  published: str
  here: str
  kind: str


class Array(NamedTuple):
  """One array of a layer.

  Attributes:
    published: its full published name.
    collection: params | batch_stats.
    path: where it is in that collection.
    axes: the published axes in the order that they have here.
  """

  published: str
  collection: str
  path: tuple[str, ...]
  axes: tuple[int, ...]


_BIAS = ('bias', 'params', 'bias', (0,))
_ARRAYS_OF_KIND = {
  'embedding': (('weight', 'params', 'embedding', (0, 1)),),
  'linear': (('weight', 'params', 'kernel', (1, 0)), _BIAS),
  'conv': (('weight', 'params', 'kernel', (2, 3, 1, 0)), _BIAS),
  'norm': (
    ('weight', 'params', 'scale', (0,)),
    _BIAS,
    ('running_mean', 'batch_stats', 'mean', (0,)),
    ('running_var', 'batch_stats', 'var', (0,)),
  ),
}

# (module here, kind); the layers of a residual block, which hold a Sequential named `net`; or a
# layer without arrays
_Layer = tuple[str, str] | list | None


def generator_table(settings: Settings) -> list[Row]:
  """Every layer of the published `Sg2ImModel`."""
  model = settings.model

  def mlp(published: str, here: str) -> Iterator[Row]:
    layers = []
    for i in range(2):
      layers += [
        (f'{here}/dense_{i}', 'linear'),
        *_norm(f'{here}/norm_{i}', model.mlp_normalization),
        None,
      ]
    return _sequential(published, layers)

  rows = [
    Row('obj_embeddings', 'object_embedding', 'embedding'),
    Row('pred_embeddings', 'predicate_embedding', 'embedding'),
  ]
  if model.gconv_num_layers == 0:
    rows.append(Row('gconv', 'linear', 'linear'))
  for i in range(model.gconv_num_layers):
    published = 'gconv' if i == 0 else f'gconv_net.gconvs.{i - 1}'
    rows += mlp(f'{published}.net1', f'graph_convolution_{i}/triple_mlp')
    rows += mlp(f'{published}.net2', f'graph_convolution_{i}/object_mlp')
  rows += mlp('box_net', 'box_head')
  rows += mlp('rel_aux_net', 'relation_head')

  if model.mask_size:
    layers = []
    for i in range(model.mask_size.bit_length() - 1):
      layers += [None, (f'mask_head/norm_{i}', 'norm'), (f'mask_head/conv_{i}', 'conv'), None]
    rows += _sequential('mask_net', [*layers, ('mask_head/logits', 'conv')])

  for i in range(len(model.refinement_dims)):
    layers = []
    for j in range(2):
      module = f'refinement/module_{i}'
      layers += [
        (f'{module}/conv_{j}', 'conv'),
        *_norm(f'{module}/norm_{j}', model.normalization),
        None,
      ]
    rows += _sequential(f'refinement_net.refinement_modules.{i}.net', layers)
  rows += _sequential(
    'refinement_net.output_conv',
    [('refinement/output_conv', 'conv'), None, ('refinement/rgb', 'conv')],
  )
  return rows


def image_discriminator_table(settings: Settings) -> list[Row]:
  """Every layer of the published `PatchDiscriminator` that takes part."""
  rows = [*_cnn('cnn', settings.image_discriminator)]
  if settings.image_discriminator.classifier:
    rows.append(Row('classifier', 'classifier', 'conv'))
  return rows


def object_discriminator_table(settings: Settings) -> list[Row]:
  """Every layer of the published `AcCropDiscriminator`."""
  return [
    *_cnn('discriminator.cnn.0', settings.object_discriminator),
    Row('discriminator.cnn.2', 'linear', 'linear'),
    Row('discriminator.real_classifier', 'score', 'linear'),
    Row('discriminator.obj_classifier', 'class', 'linear'),
  ]


def tables(settings: Settings) -> dict[str, list[Row]]:
  """The tables of the networks that the settings enable, by the names of TrainState's fields."""
  found = {'generator': generator_table(settings)}
  if settings.image_discriminator.enabled:
    found['image_discriminator'] = image_discriminator_table(settings)
  if settings.object_discriminator.enabled:
    found['object_discriminator'] = object_discriminator_table(settings)
  return found


def arrays_of(table: Sequence[Row]) -> Iterator[Array]:
  """Every array of a network."""
  for row in table:
    for published, collection, here, axes in _ARRAYS_OF_KIND[row.kind]:
      yield Array(f'{row.published}.{published}', collection, (*row.here.split('/'), here), axes)


def to_flax(arrays: Mapping[str, np.ndarray], table: Sequence[Row]) -> dict[str, Any]:
  """{'params': ..., 'batch_stats': ...} of a network.

  Args:
    arrays: by their published names; all that the table names.
    table: of the network.
  """
  variables = {'params': {}, 'batch_stats': {}}
  for array in arrays_of(table):
    tree = variables[array.collection]
    for name in array.path[:-1]:
      tree = tree.setdefault(name, {})
    tree[array.path[-1]] = arrays[array.published].transpose(array.axes)
  return variables


def look_up(variables: Mapping[str, Any], array: Array) -> Any:
  """The leaf of a network's variables that `array` names."""
  leaf = variables[array.collection]
  for name in array.path:
    leaf = leaf[name]
  return leaf


def _sequential(published: str, layers: Sequence[_Layer]) -> Iterator[Row]:
  """Rows of the layers that have arrays, numbered as in an nn.Sequential."""
  for number, layer in enumerate(layers):
    if isinstance(layer, list):
      yield from _sequential(f'{published}.{number}.net', layer)
    elif layer is not None:
      yield Row(f'{published}.{number}', *layer)


def _norm(here: str, normalization: str) -> list[_Layer]:
  """A normalisation in a Sequential: a layer with arrays, one without, or no layer at all."""
  return {'batch': [(here, 'norm')], 'instance': [None], 'none': []}[normalization]


def _cnn(published: str, settings: DiscriminatorSettings) -> Iterator[Row]:
  """Rows of the network that an arch string describes."""
  tokens = parse_arch(settings.arch)
  layers, first, flat = [], True, False
  for i, (kind, *_) in enumerate(tokens):
    if kind == 'C':
      if not first:
        layers += [*_norm(f'cnn/norm_{i}', settings.normalization), None]
      layers.append((f'cnn/conv_{i}', 'conv'))
      first = False
    elif kind == 'R':
      block = []
      for j in range(2):
        block += [
          *_norm(f'cnn/residual_{i}/norm_{j}', 'none' if first else settings.normalization),
          None,
          (f'cnn/residual_{i}/conv_{j}', 'conv'),
        ]
      layers.append(block)
      first = False
    elif kind in ('U', 'P'):
      layers.append(None)
    elif kind == 'FC':
      if not flat:
        layers.append(None)  # flattens
      flat = True
      layers.append((f'cnn/linear_{i}', 'linear'))
      if i + 1 < len(tokens):
        layers.append(None)
  return _sequential(published, layers)

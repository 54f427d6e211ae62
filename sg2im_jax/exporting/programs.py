"""What is exported of a trained model: functions of a graph's bare numbers, in any language.

An exported program takes a graph as people have it, without `__image__` and the triples that a
`SceneBatch` has besides. Ids are those of the vocabulary; -1 is padding. Of an object whose box,
mask or appearance is nan it is sampled or predicted, as that of `Pins`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Int

from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.models import pixels
from sg2im_jax.models.object_tokens import BOX_DIM
from sg2im_jax.models.token_generator import TokenNoise
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.scene_batch import SceneBatch

Arrays = Mapping[str, Any]  # by the names of ports

# Sizes that are decided when a program is called:
#   B graphs, N objects, R relationships, A attributes of an object or of the whole image
SIZES = ('B', 'N', 'R', 'A')


@dataclasses.dataclass(frozen=True)
class Port:
  """An input or an output.

  Attributes:
    name: of it.
    dtype: as NumPy calls it.
    shape: numbers, and letters of `SIZES`; 'N+1' is with `__image__`, which comes first.
    meaning: what it holds, for people.
  """

  name: str
  dtype: str
  shape: tuple[int | str, ...]
  meaning: str


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """A function that is exported.

  Attributes:
    name: of it.
    function: from the model's variables and arrays by the names of `inputs` to arrays by those of
      `outputs`.
    inputs, outputs: its ports.
    meaning: what it does, for people.
  """

  name: str
  function: Callable[[Any, Arrays], dict[str, jax.Array]]
  inputs: tuple[Port, ...]
  outputs: tuple[Port, ...]
  meaning: str

  def abstract_inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
    """The inputs, with symbols for sizes that are decided when the program is called."""
    symbols: Any = dict(zip(SIZES, export.symbolic_shape(','.join(SIZES))))
    symbols['N+1'] = symbols['N'] + 1
    return {
      port.name: jax.ShapeDtypeStruct(
        [size if isinstance(size, int) else symbols[size] for size in port.shape],
        np.dtype(port.dtype),
      )
      for port in self.inputs
    }


def programs(model: TrainedModel, *, noise_is_given: bool = False) -> list[Program]:
  """All that can be exported of a model: `sample`, `sample_given`, and `encode` of a token model.

  Args:
    model: any.
    noise_is_given: noise of N(0, 1) is an input in place of seeds, where JAX's generator of random
      numbers is not at hand.
  """
  of_graphs, given, noise = _inputs(model, noise_is_given)
  found = [
    Program(
      'sample',
      _sampling(model, noise_is_given),
      (*of_graphs, *noise),
      _outputs(model),
      'graphs -> pictures',
    ),
    Program(
      'sample_given',
      _sampling(model, noise_is_given),
      (*of_graphs, *given, *noise),
      _outputs(model),
      'graphs, and what is given of their objects -> pictures',
    ),
  ]
  return found if model.settings.tokens is None else [*found, _encoding(model)]


def _inputs(model: TrainedModel, noise_is_given: bool) -> tuple[list[Port], list[Port], list[Port]]:
  """The inputs of sampling: graphs, what may be given, what is random."""
  settings = model.settings
  graphs = [
    Port('objects', 'int32', ('B', 'N'), 'class ids'),
    Port(
      'relationships',
      'int32',
      ('B', 'R', 3),
      'index of the subject, predicate id, index of the object',
    ),
  ]
  if model.vocabulary.attribute_names:
    graphs += [
      Port('attributes', 'int32', ('B', 'N', 'A'), 'attribute ids of each object'),
      Port('scene', 'int32', ('B', 'A'), 'attribute ids of the whole picture'),
    ]
  given = [Port('boxes', 'float32', ('B', 'N', 4), 'x0, y0, x1, y1 in [0, 1], or nan')]
  if size := settings.model.mask_size:
    masks = ('B', 'N', size, size)
    given.append(Port('masks', 'float32', masks, 'in [0, 1], each in the frame of its box, or nan'))
  if settings.tokens is not None:
    size = settings.tokens.latent_dim
    given += [
      Port('latents', 'float32', ('B', 'N', size), 'appearances, or nan'),
      Port('scene_latents', 'float32', ('B', size), 'that of the whole picture, or nan'),
      Port('nearness', 'float32', ('B', 'N'), '0; more of an object that is to be in front'),
    ]
  if not noise_is_given:
    return (
      graphs,
      given,
      [
        Port('seed', 'int32', ('B',), 'the same seed and number give the same picture'),
        Port('number', 'int32', ('B',), 'of the picture among those of its graph and seed'),
      ],
    )
  noise = []
  if settings.model.layout_noise_dim:
    shape = ('B', *settings.data.image_size, settings.model.layout_noise_dim)
    noise.append(Port('pixel_noise', 'float32', shape, 'of N(0, 1)'))
  if settings.tokens is not None:
    shape = ('B', 'N+1', BOX_DIM + settings.tokens.latent_dim)
    noise.append(Port('token_noise', 'float32', shape, 'of N(0, 1), the whole picture first'))
  return graphs, given, noise


def _outputs(model: TrainedModel) -> tuple[Port, ...]:
  """The outputs of sampling."""
  settings = model.settings
  found = [
    Port('pictures', 'uint8', ('B', *settings.data.image_size, 3), 'RGB'),
    Port('found_boxes', 'float32', ('B', 'N', 4), 'x0, y0, x1, y1, the picture at [0, 1]'),
  ]
  if size := settings.model.mask_size:
    meaning = 'in [0, 1], each in the frame of its box'
    found.append(Port('found_masks', 'float32', ('B', 'N', size, size), meaning))
  return (*found, *(() if settings.tokens is None else _appearances(settings.tokens.latent_dim)))


def _appearances(size: int) -> tuple[Port, ...]:
  return (
    Port('found_latents', 'float32', ('B', 'N', size), 'appearances'),
    Port('found_scene_latents', 'float32', ('B', size), 'that of the whole picture'),
  )


def _sampling(
  model: TrainedModel, noise_is_given: bool
) -> Callable[[Any, Arrays], dict[str, jax.Array]]:
  """The function of sampling programs."""
  settings, generator = model.settings, model.generator

  def random(seed: jax.Array, number: jax.Array, slots: Any) -> Any:
    key = jax.random.fold_in(jax.random.key(seed), 0)  # as of the first graph of a file
    return generator.random_noise(jax.random.fold_in(key, number), slots)

  def noise(arrays: Arrays, slots: Any) -> Any:
    if not noise_is_given:
      return jax.vmap(random, (0, 0, None))(arrays['seed'], arrays['number'], slots)
    shape = (arrays['objects'].shape[0], *settings.data.image_size)
    of_pixels = arrays.get('pixel_noise', jnp.zeros((*shape, 0)))
    if settings.tokens is None:
      return of_pixels
    return TokenNoise(pixels=of_pixels, tokens=arrays['token_noise'])

  def sample(variables: Any, arrays: Arrays) -> dict[str, jax.Array]:
    batch, given = scene_batch(arrays)
    outputs: Any = generator.apply(
      variables, batch, noise(arrays, batch.object_mask.shape[1]), train=False, **given
    )
    found = {
      'pictures': pixels.denormalize(outputs.image, settings.sampling.stretch),
      'found_boxes': outputs.boxes[:, 1:],
    }
    if settings.model.mask_size:
      found['found_masks'] = outputs.masks[:, 1:]
    if settings.tokens is not None:
      found['found_latents'] = outputs.latents[:, 1:]
      found['found_scene_latents'] = outputs.latents[:, 0]
    return found

  return sample


def _encoding(model: TrainedModel) -> Program:
  """Pictures and boxes -> appearances, as `TrainedModel.encode` without masks; of a token model."""
  settings = model.settings
  assert settings.tokens is not None

  def encode(variables: Any, arrays: Arrays) -> dict[str, jax.Array]:
    boxes = jnp.asarray(arrays['boxes'])
    present = with_first(~jnp.isnan(boxes).any(-1), True)
    whole = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0, 1.0]), (boxes.shape[0], 1, 4))
    batch = SceneBatch(
      object_class=jnp.zeros(present.shape, jnp.int32),
      object_mask=present,
      triples=jnp.zeros((boxes.shape[0], 1, 3), jnp.int32),
      triple_mask=jnp.zeros((boxes.shape[0], 1), bool),
      boxes=jnp.concatenate([whole, jnp.where(jnp.isnan(boxes), 0, boxes)], 1),
    )
    generator: Any = model.generator
    image = pixels.normalize(arrays['pictures'])
    found = generator.apply(variables, image, batch, method='encode').mean
    return {'found_latents': found[:, 1:], 'found_scene_latents': found[:, 0]}

  return Program(
    'encode',
    encode,
    (
      Port('pictures', 'uint8', ('B', *settings.data.image_size, 3), 'RGB'),
      Port('boxes', 'float32', ('B', 'N', 4), 'x0, y0, x1, y1 in [0, 1]; nan is padding'),
    ),
    _appearances(settings.tokens.latent_dim),
    'pictures and boxes -> appearances',
  )


def scene_batch(arrays: Arrays) -> tuple[SceneBatch, dict[str, Any]]:
  """The batch of inputs, with `__image__` in slot 0 and `__in_image__` triples; and which objects'
  boxes, masks and latents are given, as arguments of generators."""
  objects: Int[jax.Array, 'B N'] = jnp.asarray(arrays['objects'])
  relationships: Int[jax.Array, 'B R 3'] = jnp.asarray(arrays['relationships'])
  present, count = objects >= 0, objects.shape[1]
  slots = jnp.arange(count, dtype=jnp.int32) + 1
  in_image = jnp.stack([slots, jnp.zeros_like(slots), jnp.zeros_like(slots)], -1)
  in_image = jnp.broadcast_to(in_image, (objects.shape[0], count, 3))
  moved = relationships + jnp.array([1, 0, 1], jnp.int32)  # slot 0 is __image__
  batch = SceneBatch(
    object_class=with_first(jnp.maximum(objects, 0), 0),
    object_mask=with_first(present, True),
    triples=jnp.concatenate([moved, in_image], 1),
    triple_mask=jnp.concatenate([relationships[..., 1] >= 0, present], 1),
  )
  if 'attributes' in arrays:
    ids = jnp.concatenate([arrays['scene'][:, None], arrays['attributes']], 1)
    batch = batch.replace(attributes=ids + 1)
  if 'nearness' in arrays:
    batch = batch.replace(nearness=with_first(jnp.asarray(arrays['nearness']), 0))
  given: dict[str, Any] = {'use_boxes': False, 'use_masks': False}
  for name in ('boxes', 'masks', 'latents'):
    if name not in arrays:
      continue
    values = jnp.asarray(arrays[name])
    first = arrays['scene_latents'] if name == 'latents' else jnp.full_like(values[:, 0], jnp.nan)
    every = jnp.concatenate([jnp.asarray(first)[:, None], values], 1)
    is_open = jnp.isnan(every)
    given[f'use_{name}'] = ~is_open.any(tuple(range(2, every.ndim)))
    batch = batch.replace(**{name: jnp.where(is_open, 0, every)})
  return batch, given


def with_first(values: jax.Array, first: Any) -> jax.Array:
  """[B, N] with one more value at the start of each row: [B, N + 1]."""
  return jnp.concatenate([jnp.full_like(values[:, :1], first), values], 1)


def encode_graphs(
  program: Program, vocabulary: Vocabulary, graphs: Sequence[SceneGraph], seeds: Sequence[int]
) -> dict[str, np.ndarray]:
  """Inputs for graphs: ids, nothing given, and pictures of number 0; no noise.

  Args:
    program: of sampling.
    vocabulary: that has the names.
    graphs: B of them.
    seeds: B.
  """
  most = {
    'B': len(graphs),
    'N': max(len(graph.objects) for graph in graphs),
    'R': max(1, *(len(graph.relationships) for graph in graphs)),
    'A': max(1, *(len(names) for graph in graphs for names in (graph.scene, *graph.attributes))),
  }
  empty = {'int32': -1, 'float32': np.nan}
  arrays = {
    port.name: np.full(
      [size if isinstance(size, int) else most[size] for size in port.shape],
      empty[port.dtype],
      port.dtype,
    )
    for port in program.inputs
    if not port.name.endswith('noise')
  }
  for row, graph in enumerate(graphs):
    ids = [vocabulary.object_id(name, 'graph') for name in graph.objects]
    arrays['objects'][row, : len(ids)] = ids
    for place, (subject, predicate, object_) in enumerate(graph.relationships):
      predicate_id = vocabulary.predicate_id(predicate, 'graph')
      arrays['relationships'][row, place] = subject, predicate_id, object_
    if 'attributes' in arrays:
      slots = [arrays['scene'][row], *arrays['attributes'][row]]
      for slot, names in zip(slots, (graph.scene, *graph.attributes)):
        slot[: len(names)] = [vocabulary.attribute_id(name, 'graph') for name in names]
  if 'nearness' in arrays:
    arrays['nearness'][:] = 0
  if 'seed' in arrays:
    arrays['seed'][:], arrays['number'][:] = seeds, 0
  return arrays

"""Compares a model with vectors that the published PyTorch code computed from the same weights.

A recording is an .npz file whose names are paths:

    settings_json   the options of the recording, among them the loss weights and the GAN type
    in/*            the scenes, flat as in the published code:
                      objs [N], boxes [N, 4], masks [N, M, M], obj_to_img [N]
                      triples [T, 3], with indices among all N objects
                      imgs [B, 3, H, W], normalised; noise [B, C, H, W], the layout noise
    state/*         the weights, by network: model, d_obj, d_img
    ops/*           the layout and crop operators alone
    eval/*          outputs in evaluation mode: with ground-truth boxes and masks, with ground-truth
                    boxes, with predictions alone
    train/*         one training step: outputs, weighted losses, gradients before the update,
                    running statistics after it

Losses, gradients and statistics of the step are computed in float64, everything else in float32 as
users run it. Gradients can be ill-conditioned: through BatchNorms over 16 rows, a float32 program,
this one or the original, differs from the exact gradient by 8e-5 of it, depending on the order in
which the processor adds. So a recorded step is best in float64, too. The dtype of its losses,
gradients and statistics tells which it is: if all of them are float64, the tolerances are tight;
what difference is left comes from images and pixel coordinates, which are float32 here. If they are
float32, whether they were computed so or only stored, the tolerances allow for that.
"""

import dataclasses
import functools
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax import losses, models
from sg2im_jax.metrics.layout_metrics import box_iou
from sg2im_jax.models import pixels
from sg2im_jax.models.generator import BOX_TEXTURE_SIZE, GeneratorOutputs
from sg2im_jax.models.warping import crop_objects, object_canvases
from sg2im_jax.published import array_table
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.scene_batch import Array, SceneBatch
from sg2im_jax.settings import Settings
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.state import TrainState

# Largest differences that count as equal, on values of order 1; of larger arrays, relative to their
# largest entry.
OUTPUT_TOLERANCE = 1e-4
OPERATOR_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-5  # relative
# Of a step, by its precision: float64 where it is both recorded and computed in that.
STATISTIC_TOLERANCE = {'float32': 1e-5, 'float64': 1e-6}
GRADIENT_TOLERANCE = {'float32': 1e-4, 'float64': 1e-5}  # relative to the gradient's largest entry
# The gradient of a bias that normalisation takes away again is zero in exact arithmetic and
# round-off in every program. A recorded one is taken for that, and ours has to be, below this share
# of the gradient of the weights beside it.
ROUND_OFF = {'float32': 1e-5, 'float64': 1e-12}

_MODES = {
  'gt': (True, True),
  'gt_boxes': (True, False),
  'pred': (False, False),
}  # use_boxes, use_masks
_EXTRA_SLOTS = 2  # so that padding takes part

# Recorded losses: the metric that they are here, and the weight that they were recorded with.
_LOSSES = {
  'g_loss/l1_pixel': ('generator/l1_pixel', 'l1_pixel'),
  'g_loss/bbox': ('generator/bbox', 'bbox'),
  'g_loss/predicate': ('generator/predicate', 'predicate'),
  'g_loss/mask': ('generator/mask', 'mask'),
  'g_loss/ac': ('generator/auxiliary_class', 'ac'),
  'g_loss/g_gan_obj': ('generator/object_gan', 'g_gan'),
  'g_loss/g_gan_img': ('generator/image_gan', 'g_gan'),
  'g_loss/total': ('generator/total', None),
  'd_obj/gan': ('object_discriminator/gan', None),
  'd_obj/ac_real': ('object_discriminator/class_real', None),
  'd_obj/ac_fake': ('object_discriminator/class_fake', None),
  'd_img/gan': ('image_discriminator/gan', None),
}
_LOSS_WEIGHTS = {  # name in the recording -> in config.losses
  'l1_pixel': 'l1_pixel_weight',
  'bbox': 'bbox_weight',
  'predicate': 'predicate_weight',
  'mask': 'mask_weight',
  'ac': 'auxiliary_class_weight',
  'g_gan': 'gan_weight',
}
# name here -> (of its weights, of its gradients, where its statistics are after the step)
_NETWORKS = {
  'generator': ('model', 'g_grad', 'stats_after_g/model'),
  'object_discriminator': ('d_obj', 'd_obj_grad', 'stats_after_step/d_obj'),
  'image_discriminator': ('d_img', 'd_img_grad', 'stats_after_step/d_img'),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One recorded array and what was computed here.

  Attributes:
    name: in the recording.
    difference: the largest one, divided by `scale`.
    scale: what the tolerance is relative to; 1 where it is absolute.
    tolerance: of the difference.
    remark: what to know of the comparison; mostly empty.
    step_dtype: what the step was recorded in, if the array is part of it.
  """

  name: str
  difference: float
  scale: float
  tolerance: float
  remark: str = ''
  step_dtype: str = ''

  @property
  def passed(self) -> bool:
    return self.difference <= self.tolerance  # False for nan


class Recording:
  """The vectors of a file, its scenes as a padded batch.

  Attributes:
    settings: the options that it was recorded with.
    batch: `__image__` first among the objects of a scene, and more slots than any scene fills.
    noise: float32[B, H, W, C].
  """

  def __init__(self, path: str | os.PathLike):
    try:
      with np.load(path) as file:
        self._arrays = dict(file)
      self.settings = json.loads(str(self._arrays['settings_json']))
      self._index_slots()
      self.batch = self._make_batch()
      self.noise = jnp.asarray(self._arrays['in/noise'].transpose(0, 2, 3, 1))
    except OSError as error:
      raise UserError(
        f'{path}: cannot be read ({error.strerror or error}); expected vectors of the original in '
        'an '
        '.npz file'
      ) from error
    except (
      ValueError,
      KeyError,
      zipfile.BadZipFile,
      EOFError,
      TypeError,
      AttributeError,
      IndexError,
    ) as error:
      raise UserError(
        f'{path}: no recording of the original ({type(error).__name__}: {error}); see '
        'sg2im_jax/published/verification.py for what it holds'
      ) from error

  def __contains__(self, name: str) -> bool:
    return name in self._arrays

  def __getitem__(self, name: str) -> np.ndarray:
    return self._arrays[name]

  def names(self, prefix: str) -> list[str]:
    """The arrays under a prefix, without it."""
    return [
      name.removeprefix(prefix + '/') for name in self._arrays if name.startswith(prefix + '/')
    ]

  @property
  def step_dtype(self) -> str:
    """What the step is recorded in: 'float64' if all its losses, gradients and statistics are, else
    'float32'.
    """
    step = [
      self._arrays[f'train/{name}'] for name in self.names('train') if not name.startswith('gt/')
    ]
    return 'float64' if step and all(array.dtype == np.float64 for array in step) else 'float32'

  def scatter(self, values: np.ndarray) -> np.ndarray:
    """Values of each recorded object [N, ...] -> [B, O, ...]."""
    return _scatter(values, *self._object_slots, self._shape)

  def objects(self, values: Array) -> np.ndarray:
    """[B, O, ...] -> values of each object, in the recorded order."""
    return np.asarray(values)[self._object_slots]

  def triples(self, values: Array) -> np.ndarray:
    """[B, T, ...] -> values of each triple, in the recorded order."""
    return np.asarray(values)[self._triple_slots]

  def _index_slots(self):
    """Row and slot of every object and every triple."""
    image_of, classes = self._arrays['in/obj_to_img'], self._arrays['in/objs']
    slots = np.zeros_like(image_of)
    for row in range(image_of.max() + 1):
      members = np.flatnonzero(image_of == row)
      slots[members[np.argsort(classes[members] != 0, kind='stable')]] = np.arange(len(members))
    self._object_slots = image_of, slots
    rows = image_of[self._arrays['in/triples'][:, 0]]
    self._triple_slots = (
      rows,
      np.array([np.sum(rows[:i] == row) for i, row in enumerate(rows)], int),
    )
    self._shape = image_of.max() + 1, slots.max() + 1 + _EXTRA_SLOTS

  def _make_batch(self) -> SceneBatch:
    arrays, slots = self._arrays, self._object_slots[1]
    subject, predicate, object_ = arrays['in/triples'].T
    triples = np.stack([slots[subject], predicate, slots[object_]], -1).astype(np.int32)
    shape = self._shape[0], self._triple_slots[1].max() + 1 + _EXTRA_SLOTS
    image = arrays['in/imgs'].transpose(0, 2, 3, 1)
    return SceneBatch(
      object_class=self.scatter(arrays['in/objs'].astype(np.int32)),
      object_mask=self.scatter(np.ones(len(slots), bool)),
      triples=_scatter(triples, *self._triple_slots, shape),
      triple_mask=_scatter(np.ones(len(triples), bool), *self._triple_slots, shape),
      boxes=self.scatter(arrays['in/boxes']),
      masks=self.scatter(arrays['in/masks'].astype(np.float32)) if self.settings['masks'] else None,
      image=(image * np.array(pixels.STD, np.float32) + np.array(pixels.MEAN, np.float32)) * 255,
    )


def verify(
  training: AdversarialTraining, state: TrainState, path: str | os.PathLike
) -> list[Comparison]:
  """Runs the model on the vectors of a file and compares everything that is recorded there.

  Raises:
    UserError: the file cannot be read, or was recorded from a model of another shape.
  """
  recording = Recording(path)
  settings, networks = training.settings, training.networks
  _check_same_model(recording, settings, path)
  with jax.default_matmul_precision('highest'):
    return [
      *_compare_weights(recording, settings, state),
      *_compare_operators(recording, settings),
      *compare_outputs(recording, Sampler(networks.generator, state.generator.variables)),
      *_compare_scores(recording, networks, state),
      *_compare_training(recording, networks, state),
      *compare_step(recording, training, state, 'float64'),
    ]


def report(comparisons: list[Comparison]) -> str:
  """The comparisons as a table, and how many failed."""
  width = max(len(comparison.name) for comparison in comparisons)
  lines = [f'{"recorded":{width}}  largest difference  tolerance']
  for comparison in comparisons:
    end = '' if comparison.passed else '  OUT OF TOLERANCE'
    end += f'  ({comparison.remark})' if comparison.remark else ''
    lines.append(
      f'{comparison.name:{width}}  {comparison.difference:18.2e}  {comparison.tolerance:9.0e}{end}'
    )
  for dtype in sorted({comparison.step_dtype for comparison in comparisons} - {''}):
    lines.append(
      f'The step was recorded in {dtype}: gradients have to agree within '
      f'{GRADIENT_TOLERANCE[dtype]:.0e}, statistics within {STATISTIC_TOLERANCE[dtype]:.0e}.'
    )
  num_failed = sum(not comparison.passed for comparison in comparisons)
  lines.append(
    f'{len(comparisons)} comparisons, {num_failed or "none"} out of tolerance. Differences are '
    'relative to '
    'the largest entry of a gradient or an output above 1, and to the value of a loss.'
  )
  return '\n'.join(lines)


def _compare_weights(
  recording: Recording, settings: Settings, state: TrainState
) -> Iterator[Comparison]:
  for network, table in array_table.tables(settings).items():
    prefix = f'state/{_NETWORKS[network][0]}'
    for array in array_table.arrays_of(table):
      name = f'{prefix}/{array.published}'
      if name in recording:
        actual = array_table.look_up(getattr(state, network).variables, array)
        yield _compare(name, actual, recording[name].transpose(array.axes), 0.0)


def _compare_operators(recording: Recording, settings: Settings) -> Iterator[Comparison]:
  batch, align_corners = recording.batch, settings.model.align_corners
  assert batch.image is not None and batch.boxes is not None
  if 'ops/crops' in recording:
    expected = recording['ops/crops']
    crops = crop_objects(
      pixels.normalize(batch.image), batch.boxes, expected.shape[-1], align_corners=align_corners
    )
    yield _compare(
      'ops/crops', recording.objects(crops), expected.transpose(0, 2, 3, 1), OPERATOR_TOLERANCE
    )
  ones = np.ones((*batch.object_mask.shape, BOX_TEXTURE_SIZE, BOX_TEXTURE_SIZE), np.float32)
  for name, masks in (
    ('ops/boxes_to_layout', ones),
    ('ops/masks_to_layout', recording.scatter(recording['in/masks'].astype(np.float32))),
  ):
    if name in recording:
      canvases = object_canvases(
        batch.boxes, masks, settings.data.image_size, align_corners=align_corners
      )
      layout = np.einsum('bhwo,bod->bhwd', canvases, recording.scatter(recording['ops/vecs']))
      yield _compare(name, layout, recording[name].transpose(0, 2, 3, 1), OPERATOR_TOLERANCE)
  if 'ops/iou_sum' in recording:
    iou = box_iou(recording['in/boxes'], recording['ops/other_boxes']).sum()
    yield _compare('ops/iou_sum', iou, recording['ops/iou_sum'], OPERATOR_TOLERANCE)


def compare_outputs(recording: Recording, sampler: Sampler) -> Iterator[Comparison]:
  """Pictures, boxes, masks and relation scores in evaluation mode, with the recorded noise."""
  for mode, (use_boxes, use_masks) in _MODES.items():
    if f'eval/{mode}/img' in recording:
      outputs = sampler(
        recording.batch,
        recording.noise,
        use_boxes=use_boxes,
        use_masks=use_masks and recording.batch.masks is not None,
      )
      yield from _compare_generator_outputs(
        recording, f'eval/{mode}', outputs, predicted_boxes=not use_boxes
      )


def _compare_generator_outputs(
  recording: Recording, prefix: str, outputs: GeneratorOutputs, predicted_boxes: bool
) -> Iterator[Comparison]:
  assert outputs.predicate_logits is not None  # a published model has them
  found = {
    'boxes': recording.objects(outputs.boxes),
    'rel': recording.triples(outputs.predicate_logits),
  }
  if outputs.masks is not None:
    found['masks'] = recording.objects(outputs.masks)
  image, expected, remark = (
    np.asarray(outputs.image),
    recording[f'{prefix}/img'].transpose(0, 2, 3, 1),
    '',
  )
  if predicted_boxes:
    # The published layout divides by the extent of a box; where a predicted box has none, its whole
    # image is NaN.
    boxes = recording[f'{prefix}/boxes']
    without_extent = (boxes[:, 2:] == boxes[:, :2]).any(-1)
    defined = ~np.isin(np.arange(len(image)), recording['in/obj_to_img'][without_extent])
    if not defined.all():
      remark = (
        f'except {np.sum(~defined)} images with a box of no extent, where the original is NaN'
      )
      image, expected = image[defined], expected[defined]
  yield _compare(f'{prefix}/img', image, expected, OUTPUT_TOLERANCE, remark)
  for name, values in found.items():
    if f'{prefix}/{name}' in recording:
      yield _compare(f'{prefix}/{name}', values, recording[f'{prefix}/{name}'], OUTPUT_TOLERANCE)


def _compare_scores(
  recording: Recording, networks: models.Networks, state: TrainState
) -> Iterator[Comparison]:
  batch = recording.batch
  assert batch.image is not None
  image = pixels.normalize(batch.image)
  if state.object_discriminator is not None and 'eval/d_obj/scores' in recording:
    assert networks.object_discriminator is not None
    scores, class_logits = jax.jit(
      functools.partial(networks.object_discriminator.apply, train=False)
    )(state.object_discriminator.variables, image, batch.boxes, batch.object_mask)
    yield _compare(
      'eval/d_obj/scores',
      recording.objects(scores)[:, None],
      recording['eval/d_obj/scores'],
      OUTPUT_TOLERANCE,
    )
    yield _compare(
      'eval/d_obj/ac_loss',
      losses.object_class(class_logits, batch.object_class, batch.object_mask),
      recording['eval/d_obj/ac_loss'],
      OUTPUT_TOLERANCE,
    )
  if state.image_discriminator is not None and 'eval/d_img/scores' in recording:
    assert networks.image_discriminator is not None
    scores = jax.jit(functools.partial(networks.image_discriminator.apply, train=False))(
      state.image_discriminator.variables, image, batch.example_mask
    )
    expected = recording['eval/d_img/scores']
    yield _compare('eval/d_img/scores', scores, np.moveaxis(expected, 1, -1), OUTPUT_TOLERANCE)


def _compare_training(
  recording: Recording, networks: models.Networks, state: TrainState
) -> Iterator[Comparison]:
  """The generator's outputs in training mode."""
  if 'train/gt/img' in recording:
    apply = functools.partial(
      networks.generator.apply,
      use_boxes=True,
      use_masks=recording.batch.masks is not None,
      train=True,
      mutable=['batch_stats'],
    )
    outputs, _ = jax.jit(apply)(state.generator.variables, recording.batch, recording.noise)
    yield from _compare_generator_outputs(recording, 'train/gt', outputs, predicted_boxes=False)


def compare_step(
  recording: Recording, training: AdversarialTraining, state: TrainState, dtype: str
) -> Iterator[Comparison]:
  """Losses, gradients and running statistics of a training step, in float32 or float64."""
  precision = 'float64' if dtype == recording.step_dtype == 'float64' else 'float32'
  for comparison in _compare_step(recording, training, state, dtype, precision):
    yield dataclasses.replace(comparison, step_dtype=recording.step_dtype)


def _compare_step(
  recording: Recording,
  training: AdversarialTraining,
  state: TrainState,
  dtype: str,
  precision: str,
) -> Iterator[Comparison]:
  recorded_losses = [name for name in _LOSSES if f'train/{name}' in recording]
  if not recorded_losses:
    return
  weights = recording.settings['weights']
  loss_settings = training.settings.losses.replace(
    gan_type=recording.settings['gan'],
    image_gan_weight=1.0,
    object_gan_weight=1.0,
    **{_LOSS_WEIGHTS[name]: weight for name, weight in weights.items()},
  )

  def cast(tree: Any) -> Any:
    return jax.tree.map(
      lambda array: np.asarray(array, dtype if array.dtype.kind == 'f' else None), tree
    )

  training = dataclasses.replace(
    training,
    settings=training.settings.replace(losses=loss_settings),
    networks=training.networks._make(
      network and network.clone(dtype=dtype) for network in training.networks
    ),
  )
  on_cpu = jax.default_device(jax.local_devices(backend='cpu')[0])  # TPUs have no float64
  with jax.enable_x64(dtype == 'float64'), on_cpu:
    gradients, statistics, terms = jax.device_get(
      jax.jit(training.gradients)(cast(state), cast(recording.batch), cast(recording.noise))
    )
  for name in recorded_losses:
    term, weight = _LOSSES[name]
    expected = recording[f'train/{name}']
    yield _compare(
      f'train/{name}',
      terms[term] * (weights[weight] if weight else 1),
      expected,
      LOSS_TOLERANCE,
      scale=abs(float(expected)),
    )
  for network, table in array_table.tables(training.settings).items():
    _, gradient, statistic = _NETWORKS[network]
    yield from _compare_gradients(
      recording, f'train/{gradient}', gradients[network], table, precision
    )
    for array in array_table.arrays_of(table):
      name = f'train/{statistic}/{array.published}'
      if array.collection == 'batch_stats' and name in recording:
        actual = array_table.look_up({'batch_stats': statistics[network]}, array)
        yield _compare(name, actual, recording[name], STATISTIC_TOLERANCE[precision])


def _compare_gradients(
  recording: Recording,
  prefix: str,
  gradients: Mapping[str, Any],
  table: list[array_table.Row],
  precision: str,
) -> Iterator[Comparison]:
  if not recording.names(prefix):
    return
  weight_size, round_off = 0.0, ROUND_OFF[precision]
  for array in array_table.arrays_of(table):
    if array.collection != 'params':
      continue
    name, actual = f'{prefix}/{array.published}', array_table.look_up({'params': gradients}, array)
    if (
      name not in recording
    ):  # the original has no gradient at all where nothing depends on a parameter
      yield _compare(name, actual, np.zeros_like(actual), 0.0, 'none in the original')
      continue
    expected = recording[name].transpose(array.axes)
    size = float(np.abs(expected).max())
    if array.path[-1] != 'bias':
      weight_size = size
    if array.path[-1] == 'bias' and size < round_off * weight_size:
      yield _compare(
        name,
        actual,
        expected,
        round_off,
        'zero but for round-off; relative to the weights',
        weight_size,
      )
    else:
      yield _compare(
        name, actual, expected, GRADIENT_TOLERANCE[precision] if size else 0.0, scale=size
      )


def _compare(
  name: str,
  actual: Any,
  expected: np.ndarray,
  tolerance: float,
  remark: str = '',
  scale: float | None = None,
) -> Comparison:
  actual, expected = np.asarray(actual), np.asarray(expected)
  if actual.shape != expected.shape:
    raise UserError(
      f'{name} was recorded from another model: it is {expected.shape}, here {actual.shape} '
      '(axes in the order used here)'
    )
  if scale is None:
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
  difference = float(np.abs(actual - expected).max(initial=0)) / (scale or 1.0)
  return Comparison(name, difference, scale, tolerance, remark)


def _check_same_model(recording: Recording, settings: Settings, path: str | os.PathLike):
  """The settings that decide on shapes of what is computed."""
  height, width = recording['in/imgs'].shape[2:]
  for what, recorded, here in (
    ('images', (height, width), tuple(settings.data.image_size)),
    ('noise', recording.noise.shape[-1], settings.model.layout_noise_dim),
  ):
    if recorded != here:
      raise UserError(
        f'{path}: recorded from another model, with {what} of {recorded}; the checkpoint has {here}'
      )


def _scatter(
  values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
  out = np.zeros((*shape, *values.shape[1:]), values.dtype)
  out[rows, columns] = values
  return out

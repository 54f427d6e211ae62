"""The networks, the losses, the gradients and the statistics equal those recorded from the published PyTorch system."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import coco64
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import losses
from sg2im_jax.models.crops import crop_objects
from sg2im_jax.models.generator import BOX_TEXTURE_SIZE
from sg2im_jax.models.layout import scene_layout
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.train_state import NetworkState, TrainState, build_networks
from sg2im_jax.train_step import losses_and_gradients
from tests import published_weights

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'
CASES = ('coco', 'vg', 'no_gconv', 'sum_bn_mlp', 'boxes_only')
MODES = {'gt': (True, True), 'gt_boxes': (True, False), 'pred': (False, False)}
OBJECT_SLOTS, TRIPLE_SLOTS = 9, 12  # more than any recorded scene has, so that padding takes part


class Case:
  """A recording: its config, its scenes as a padded batch, its weights as a TrainState."""

  def __init__(self, name: str):
    with np.load(GOLDEN / f'{name}.npz') as file:
      self.arrays = dict(file)
    settings = json.loads(str(self.arrays['settings_json']))
    self.config = _config(settings)
    self.networks = build_networks(self.config, Vocabulary.from_dict(settings['vocab']))
    self._index_slots()
    self.batch = self._batch(settings['masks'])
    noise = self.arrays.get('in/noise', np.zeros((len(self.batch.image), 0, *settings['image_size']), np.float32))
    self.noise = jnp.asarray(noise.transpose(0, 2, 3, 1))
    self.state = TrainState(jnp.int32(0), *(NetworkState(*self.tree(f'state/{name}'), None)
                                            for name in ('model', 'd_img', 'd_obj')))

  def group(self, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix + '/'): array for name, array in self.arrays.items()
            if name.startswith(prefix + '/')}

  def tree(self, prefix: str) -> tuple[dict, dict]:
    """(params, batch_stats) from the arrays under a prefix, which names the network."""
    rows = (published_weights.object_discriminator_rows if 'd_obj' in prefix else
            published_weights.image_discriminator_rows if 'd_img' in prefix else published_weights.generator_rows)
    return published_weights.to_flax(self.group(prefix), rows(self.config))

  def _index_slots(self) -> None:
    """Row and slot of every recorded object: __image__ first, the others in order; and of every triple."""
    image_of, classes = self.arrays['in/obj_to_img'], self.arrays['in/objs']
    self.rows = image_of
    self.slots = np.zeros_like(image_of)
    for row in range(image_of.max() + 1):
      members = np.flatnonzero(image_of == row)
      members = members[np.argsort(classes[members] != 0, kind='stable')]
      self.slots[members] = np.arange(len(members))
    self.triple_rows = image_of[self.arrays['in/triples'][:, 0]]
    self.triple_slots = np.array([np.sum(self.triple_rows[:i] == row) for i, row in enumerate(self.triple_rows)])

  def _batch(self, has_masks: bool) -> SceneBatch:
    arrays = self.arrays
    images = arrays['in/imgs'].transpose(0, 2, 3, 1)
    images = (images * np.array([.229, .224, .225]) + np.array([.485, .456, .406])) * 255
    size = len(images)
    subject, predicate, object_ = arrays['in/triples'].T
    triples = np.stack([self.slots[subject], predicate, self.slots[object_]], -1)
    return SceneBatch(
        object_class=self.padded(arrays['in/objs'].astype(np.int32)),
        object_mask=self.padded(np.ones(len(self.rows), bool)),
        triples=_scatter(triples.astype(np.int32), self.triple_rows, self.triple_slots, size, TRIPLE_SLOTS),
        triple_mask=_scatter(np.ones(len(triples), bool), self.triple_rows, self.triple_slots, size, TRIPLE_SLOTS),
        boxes=self.padded(arrays['in/boxes']),
        masks=self.padded(arrays['in/masks'].astype(np.uint8)) if has_masks else None,
        image=jnp.asarray(images, jnp.float32))

  def padded(self, values: np.ndarray) -> np.ndarray:
    """Recorded values an object -> [B, O, ...]."""
    return _scatter(values, self.rows, self.slots, self.rows.max() + 1, OBJECT_SLOTS)

  def objects(self, values: jax.Array) -> np.ndarray:
    """[B, O, ...] -> values an object, in the recorded order."""
    return np.asarray(values)[self.rows, self.slots]

  def triples(self, values: jax.Array) -> np.ndarray:
    return np.asarray(values)[self.triple_rows, self.triple_slots]


def _scatter(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, num_rows: int, num_columns: int) -> np.ndarray:
  out = np.zeros((num_rows, num_columns, *values.shape[1:]), values.dtype)
  out[rows, columns] = values
  return out


def _config(settings: dict):
  config = coco64.get_config()
  config.data.image_size = tuple(settings['image_size'])
  config.data.mask_size = settings['mask_size']
  for name in ('embedding_dim', 'gconv_dim', 'gconv_hidden_dim', 'gconv_num_layers', 'gconv_pooling',
               'mlp_normalization', 'mask_size', 'layout_noise_dim', 'normalization', 'activation'):
    config.model[name] = settings[name]
  config.model.refinement_dims = tuple(settings['refinement_dims'])
  for discriminator, arch in ((config.image_discriminator, 'd_img'), (config.object_discriminator, 'd_obj')):
    discriminator.arch = settings[arch]
    discriminator.normalization = settings['d_norm']
    discriminator.activation = settings['d_act']
    discriminator.padding = settings['d_pad']
  config.object_discriminator.crop_size = settings['crop']
  config.losses.gan_type = settings['gan']
  for name, published in (('l1_pixel', 'l1_pixel'), ('bbox', 'bbox'), ('predicate', 'predicate'), ('mask', 'mask'),
                          ('auxiliary_class', 'ac'), ('gan', 'g_gan')):
    config.losses[f'{name}_weight'] = settings['weights'][published]
  return config


@pytest.fixture(scope='module', autouse=True)
def optimized():
  """The numbers are those of programs compiled as they are for users."""
  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture(scope='module', params=CASES)
def case(request) -> Case:
  return Case(request.param)


def scale(values: np.ndarray) -> float:
  """The size of recorded values, 1 at least: tolerances are absolute on values of order 1."""
  return np.abs(values).max(initial=1)


def assert_trees_close(actual: dict, expected: dict, tolerance_of) -> None:
  actual, expected = (dict(jax.tree_util.tree_flatten_with_path(tree)[0]) for tree in (actual, expected))
  assert actual.keys() == expected.keys()
  for path, value in expected.items():
    np.testing.assert_allclose(actual[path], value, rtol=0, atol=tolerance_of(value), err_msg=str(path))


@pytest.mark.parametrize('mode', MODES)
def test_evaluation_outputs(case, mode):
  use_boxes, use_masks = MODES[mode]
  expected = case.group(f'eval/{mode}')
  outputs = jax.jit(lambda: case.networks.generator.apply(
      case.state.generator.variables, case.batch, case.noise, use_boxes=use_boxes,
      use_masks=use_masks and case.batch.masks is not None, train=False))()
  assert np.isfinite(outputs.image).all()
  # The published layout divides by the extent of a box; where a predicted box has none, its whole image is NaN.
  extents = expected['boxes'][:, 2:] - expected['boxes'][:, :2]
  degenerate = np.isin(np.arange(len(outputs.image)), case.rows[(extents == 0).any(-1)] if mode == 'pred' else [])
  assert np.isnan(expected['img']).all((1, 2, 3)).tolist() == degenerate.tolist()
  np.testing.assert_allclose(outputs.image.transpose(0, 3, 1, 2)[~degenerate], expected['img'][~degenerate], rtol=0,
                             atol=1e-4 * scale(expected['img'][~degenerate]))
  np.testing.assert_allclose(case.objects(outputs.boxes), expected['boxes'], rtol=0, atol=1e-4)
  np.testing.assert_allclose(case.triples(outputs.predicate_logits), expected['rel'], rtol=0, atol=1e-4)
  if 'masks' in expected:
    np.testing.assert_allclose(case.objects(outputs.masks), expected['masks'], rtol=0, atol=1e-4)
  else:
    assert outputs.masks is None


def test_discriminator_scores(case):
  image = jnp.asarray(case.arrays['in/imgs'].transpose(0, 2, 3, 1))
  scores, class_logits = case.networks.object_discriminator.apply(
      case.state.object_discriminator.variables, image, case.batch.boxes, case.batch.object_mask, train=False)
  np.testing.assert_allclose(case.objects(scores), case.arrays['eval/d_obj/scores'][:, 0], rtol=0, atol=1e-4)
  np.testing.assert_allclose(losses.object_class(class_logits, case.batch.object_class, case.batch.object_mask),
                             case.arrays['eval/d_obj/ac_loss'], rtol=1e-4)
  scores = case.networks.image_discriminator.apply(
      case.state.image_discriminator.variables, image, case.batch.example_mask, train=False)
  np.testing.assert_allclose(scores.transpose(0, 3, 1, 2), case.arrays['eval/d_img/scores'], rtol=0, atol=1e-4)


def test_operators(case):
  arrays = case.arrays
  image = jnp.asarray(arrays['in/imgs'].transpose(0, 2, 3, 1))
  size = image.shape[1:3]
  crops = crop_objects(image, case.batch.boxes, arrays['ops/crops'].shape[-1])
  np.testing.assert_allclose(case.objects(crops).transpose(0, 3, 1, 2), arrays['ops/crops'], rtol=0,
                             atol=1e-5 * scale(arrays['ops/crops']))
  vectors = case.padded(arrays['ops/vecs'])
  ones = np.ones((*case.batch.object_mask.shape, BOX_TEXTURE_SIZE, BOX_TEXTURE_SIZE), np.float32)
  for name, masks in (('boxes_to_layout', ones), ('masks_to_layout', case.batch.masks)):
    if f'ops/{name}' in arrays and masks is not None:
      layout = scene_layout(vectors, case.batch.boxes, jnp.float32(masks), case.batch.object_mask, size)
      np.testing.assert_allclose(layout.transpose(0, 3, 1, 2), arrays[f'ops/{name}'], rtol=0,
                                 atol=1e-5 * scale(arrays[f'ops/{name}']))


LOSS_TERMS = {  # published name -> (name in the metrics here, name of its weight)
    'g_loss/l1_pixel': ('generator/l1_pixel', 'l1_pixel'), 'g_loss/bbox': ('generator/bbox', 'bbox'),
    'g_loss/predicate': ('generator/predicate', 'predicate'), 'g_loss/mask': ('generator/mask', 'mask'),
    'g_loss/ac': ('generator/auxiliary_class', 'ac'), 'g_loss/g_gan_obj': ('generator/object_gan', 'g_gan'),
    'g_loss/g_gan_img': ('generator/image_gan', 'g_gan'), 'g_loss/total': ('generator/total', None),
    'd_obj/gan': ('object_discriminator/gan', None), 'd_obj/ac_real': ('object_discriminator/class_real', None),
    'd_obj/ac_fake': ('object_discriminator/class_fake', None), 'd_img/gan': ('image_discriminator/gan', None),
}


def test_training_step(case):
  gradients, batch_stats, metrics = jax.jit(lambda: losses_and_gradients(
      case.networks, case.state, case.batch, case.noise, case.config.losses, batch_norm_frozen=False))()
  weights = json.loads(str(case.arrays['settings_json']))['weights']

  recorded = {name: value for name, value in case.group('train').items() if name in LOSS_TERMS}
  assert {LOSS_TERMS[name][0] for name in recorded} == {name for name in metrics if '/total' not in name} | {
      'generator/total'}
  for name, value in recorded.items():
    metric, weight = LOSS_TERMS[name]
    np.testing.assert_allclose(metrics[metric] * (weights[weight] if weight else 1), value, rtol=1e-5, err_msg=name)

  for network, name in (('generator', 'g'), ('object_discriminator', 'd_obj'), ('image_discriminator', 'd_img')):
    expected, _ = case.tree(f'train/{name}_grad')
    if case.config.model.gconv_num_layers == 0 and network == 'generator':  # nothing sees the predicates
      expected['predicate_embedding'] = jax.tree.map(np.zeros_like, case.state.generator.params['predicate_embedding'])
    # A bias in front of BatchNorm has no gradient; what is recorded there is round-off, as ours must be.
    round_off = 1e-6 * max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    assert_trees_close(gradients[network], expected,
                       lambda value, least=round_off: max(1e-4 * np.abs(value).max(), least))
  for network, prefix in (('generator', 'stats_after_g/model'), ('object_discriminator', 'stats_after_step/d_obj'),
                          ('image_discriminator', 'stats_after_step/d_img')):
    assert_trees_close(batch_stats[network], case.tree(f'train/{prefix}')[1], lambda value: 1e-5)

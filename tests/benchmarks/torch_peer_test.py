"""The peer computes what the published code computed, so the benchmarks compare equals."""

import functools

import numpy as np
import pytest

from data_pipelines.scene_graphs.errors import SettingsError, UserError
from sg2im_jax.published import checkpoint as published_checkpoint
from sg2im_jax.published.verification import (
  _LOSS_WEIGHTS,
  _LOSSES,
  _NETWORKS,
  GRADIENT_TOLERANCE,
  LOSS_TOLERANCE,
  OUTPUT_TOLERANCE,
  ROUND_OFF,
  STATISTIC_TOLERANCE,
  Recording,
)
from sg2im_jax.settings import Settings
from tests.small_scenes import VOCABULARY, random_batch, tiny_config

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch')

from benchmarks.torch_peer import Peer  # noqa: E402  needs torch
from tests.published_files import GOLDEN, checkpoint_of  # noqa: E402  needs torch

# Operations on so few numbers take longer with more threads.
torch.set_num_threads(1)

_PREFIX = 'discriminator.'  # of all names in the published object discriminator


@functools.cache
def read_published(name):
  return published_checkpoint.read(GOLDEN / f'{name}.pt')


class Case:
  """A recording, and a peer with its weights and scenes."""

  def __init__(self, name):
    self.recording = Recording(GOLDEN / f'{name}.npz')
    published = read_published(name)
    weights = {
      _LOSS_WEIGHTS[loss]: weight for loss, weight in self.recording.settings['weights'].items()
    }
    settings = published.settings.replace(losses=published.settings.losses.replace(**weights))
    self.peer = Peer(settings, published.vocabulary, device='cpu')
    checkpoint = checkpoint_of(name)
    for network, (recorded, *_) in _NETWORKS.items():
      getattr(self.peer, network).load_state_dict(
        {
          key.removeprefix(_PREFIX): value
          for key, value in checkpoint[f'{recorded}_state'].items()
          if not key.startswith('classifier.')  # a layer that is never applied
        }
      )
    self.peer.load_batch(self.recording.batch)
    self.noise = torch.from_numpy(self.recording['in/noise'])

  def expected_of_objects(self, name):
    """A recorded array of all objects, in the peer's order: by slot."""
    return self.recording.scatter(self.recording[name])[self.recording.batch.object_mask]

  def recorded(self, prefix, name):
    return next(
      (
        self.recording[key]
        for key in (f'{prefix}/{name}', f'{prefix}/{_PREFIX}{name}')
        if key in self.recording
      ),
      None,
    )


def assert_close(actual, expected, tolerance, name=''):
  np.testing.assert_allclose(
    actual, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()), err_msg=name
  )


@pytest.fixture(scope='module', params=['coco', 'vg'])
def case(request):
  return Case(request.param)


def test_images_of_given_layouts(case):
  scenes = case.peer.scenes
  for mode, masks in (('gt', scenes.masks), ('gt_boxes', None)):
    with torch.inference_mode():
      image, boxes, mask_logits, predicate_logits = case.peer.generator.eval()(
        scenes, case.noise, scenes.boxes, masks
      )
    prefix = f'eval/{mode}'
    assert_close(image, case.recording[f'{prefix}/img'], OUTPUT_TOLERANCE)
    assert_close(boxes, case.expected_of_objects(f'{prefix}/boxes'), OUTPUT_TOLERANCE)
    assert_close(
      mask_logits.sigmoid(), case.expected_of_objects(f'{prefix}/masks'), OUTPUT_TOLERANCE
    )
    assert_close(predicate_logits, case.recording[f'{prefix}/rel'], OUTPUT_TOLERANCE)


def test_sampling_needs_nothing_but_graphs():
  # In the coco recording, every image has a predicted box of no extent, where the original is NaN.
  case = Case('vg')
  case.peer.load_batch(case.recording.batch.replace(boxes=None, masks=None, image=None))
  assert_close(case.peer.sample(case.noise), case.recording['eval/pred/img'], OUTPUT_TOLERANCE)
  assert not torch.equal(case.peer.sample(), case.peer.sample())  # the noise is fresh
  assert case.peer.generator.training


def test_boxes_of_no_extent_give_finite_images():
  assert Case('coco').peer.sample().isfinite().all()


@pytest.mark.parametrize('name', ['coco', 'vg'])
def test_a_step(name):
  case = Case(name)  # a fresh one, as a step changes its weights
  losses = case.peer.train_step(case.noise)
  assert ('generator/mask' in losses) == (name == 'coco')
  for recorded, (term, weight) in _LOSSES.items():
    if term in losses:
      expected = case.recording[f'train/{recorded}']
      factor = case.recording.settings['weights'][weight] if weight else 1
      np.testing.assert_allclose(losses[term] * factor, expected, rtol=LOSS_TOLERANCE, err_msg=term)
  for network, (_, gradients, statistics) in _NETWORKS.items():
    compare_gradients(case, f'train/{gradients}', getattr(case.peer, network))
    for key, value in getattr(case.peer, network).named_buffers():
      if not key.endswith('num_batches_tracked'):
        assert_close(
          value, case.recorded(f'train/{statistics}', key), STATISTIC_TOLERANCE['float32'], key
        )


def compare_gradients(case, prefix, module):
  weight_size = 0.0
  for name, parameter in module.named_parameters():
    expected = case.recorded(prefix, name)
    size = np.abs(expected).max()
    if not name.endswith('bias'):
      weight_size = size
    tolerance = GRADIENT_TOLERANCE['float32'] * size
    round_off = ROUND_OFF['float32'] * weight_size
    # zero, as normalisation takes the bias away again
    if name.endswith('bias') and size < round_off:
      tolerance = round_off
    np.testing.assert_allclose(parameter.grad, expected, rtol=0, atol=tolerance, err_msg=name)


def tiny_settings(**values):
  config = tiny_config()
  config.update_from_flattened_dict(values)
  return Settings.from_config(config)


def tiny_peer(**options):
  peer = Peer(tiny_settings(), VOCABULARY, device='cpu', **options)
  peer.load_batch(random_batch())
  return peer


def parameters(peer):
  return [
    parameter.detach().clone()
    for network in _NETWORKS
    for parameter in getattr(peer, network).parameters()
  ]


def test_steps_learn():
  peer = tiny_peer()
  first, *_, last = [peer.train_step()['generator/l1_pixel'] for _ in range(30)]
  assert last < first


def test_a_step_that_is_not_finite_changes_no_parameters():
  peer = tiny_peer()
  before = parameters(peer)
  peer.train_step(torch.full((4, 2, 16, 16), float('nan')))
  assert all(map(torch.equal, before, parameters(peer)))


def test_bfloat16_keeps_parameters_and_losses_in_float32():
  peer, exact = tiny_peer(dtype='bfloat16'), tiny_peer()
  noise = torch.randn(4, 2, 16, 16)
  losses, expected = peer.train_step(noise), exact.train_step(noise)
  assert losses.keys() == expected.keys()
  assert all(loss.dtype == torch.float32 for loss in losses.values())
  assert all(parameter.dtype == torch.float32 for parameter in parameters(peer))
  difference = abs(losses['generator/total'] / expected['generator/total'] - 1)
  assert 0 < difference < 0.05
  assert peer.sample().dtype == torch.float32


def test_what_the_peer_does_not_know_is_named():
  settings = tiny_settings(**{'losses.gan_type': 'wgan', 'model.mask_size': 0})
  with pytest.raises(SettingsError) as refused:
    Peer(settings, VOCABULARY, device='cpu')
  message = str(refused.value)
  assert "losses.gan_type is 'wgan', the PyTorch peer knows 'gan' alone" in message
  assert 'model.mask_size is 0, the PyTorch peer needs 1 or more' in message

  settings = tiny_settings(**{'image_discriminator.arch': 'C4-4-2,P2'})
  with pytest.raises(UserError, match="arch 'C4-4-2,P2' has a token P"):
    Peer(settings, VOCABULARY, device='cpu')


def test_rows_of_padding_are_refused():
  batch = random_batch()
  batch.object_mask[1] = False
  with pytest.raises(UserError, match='a row of the batch is padding'):
    tiny_peer().load_batch(batch)


def test_peak_memory_is_at_least_that_of_the_parameters():
  peer = tiny_peer()
  peer.synchronize()
  assert peer.peak_memory() > sum(values.nbytes for values in parameters(peer))

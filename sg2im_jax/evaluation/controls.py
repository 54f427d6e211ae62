"""What a model makes of boxes and tokens that are given: pictures to score beside its samples.

Perturbed boxes are the test of PLGAN (Wang et al., "Interactive image synthesis with panoptic
layout generation", CVPR 2022): people do not draw boxes exactly. Reconstruction shows what painter
and encoder lose; stability, whether an edit leaves alone what was not edited.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from sg2im_jax.evaluation.backbones import Backbone
from sg2im_jax.evaluation.pictures import Gathered, Pictures, Scenes
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics.image_metrics import difference_maps
from sg2im_jax.models.object_tokens import SMALLEST_SIDE
from sg2im_jax.models.warping import object_canvases
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.sampler import SampledBatch
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.scene_batch import SceneBatch

PERTURBATION = 0.2  # of a box: most that it is shifted and scaled by, as a share of its sides


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Controls:
  """Pictures and changes under what is given; one picture a graph.

  Attributes:
    perturbed: painted from the boxes of the data, perturbed.
    reconstructed: painted from the boxes and the encoded appearances of the data; None for a
      published model.
    changes: mean absolute differences of pictures in [0, 1], by what is compared; empty for a
      published model.
  """

  perturbed: Pictures
  reconstructed: Pictures | None
  changes: dict[str, float]


def controls(
  model: TrainedModel, scenes: Scenes, protocol: Protocol, backbone: Backbone
) -> Controls:
  """Paints every scene under control.

  Perturbations and the objects that are edited come from the protocol's seed.
  """
  has_tokens = model.settings.tokens is not None
  batch_size = model.sampler.batch_size(len(scenes))
  rng = np.random.default_rng(protocol.seed)
  perturbed, reconstructed = Gathered(backbone, protocol), Gathered(backbone, protocol)
  totals: dict[str, np.ndarray] = {}
  for index, batch in enumerate(
    reporting.with_progress(
      scenes.batches(batch_size),
      total=-(-len(scenes) // batch_size),
      noun='batches of scenes under control',
      images_each=batch_size,
    )
  ):
    run = _Run(model, protocol, batch, scenes.batch_numbers(index, batch_size))
    boxes = perturbed_boxes(np.asarray(batch.boxes), rng)
    pictures = run.sample(batch.replace(boxes=boxes), boxes=run.every)
    perturbed.add(np.asarray(pictures.pictures)[:, None], boxes[:, None], batch)
    if not has_tokens:
      continue
    latents = model.encode_batch(batch)
    rebuilt = run.sample(batch.replace(latents=latents), boxes=run.every, latents=run.every)
    pictures = np.asarray(rebuilt.pictures)
    reconstructed.add(pictures[:, None], np.asarray(batch.boxes)[:, None], batch)
    found = {'reconstruction': _change(pictures, np.asarray(batch.image), run.rows)}
    for name, part in (found | run.edit(rng)).items():
      totals[name] = totals.get(name, np.zeros(2)) + part
  return Controls(
    perturbed=perturbed.pictures(),
    reconstructed=reconstructed.pictures() if has_tokens else None,
    changes={name: float(total / max(count, 1)) for name, (total, count) in totals.items()},
  )


def perturbed_boxes(
  boxes: Float[np.ndarray, 'B O 4'], rng: np.random.Generator
) -> Float[np.ndarray, 'B O 4']:
  """The boxes shifted and scaled at random by up to PERTURBATION of their sides, in the image.

  That of `__image__`, in slot 0, stays.
  """
  low, high = np.split(boxes, 2, -1)
  sides = high - low
  shift, scale = rng.uniform(-PERTURBATION, PERTURBATION, (2, *low.shape))
  centres, halves = (low + high) / 2 + shift * sides, sides * (1 + scale) / 2
  low = np.clip(centres - halves, 0, 1 - SMALLEST_SIDE)
  moved = np.concatenate([low, np.clip(centres + halves, low + SMALLEST_SIDE, 1)], -1)
  moved[:, 0] = boxes[:, 0]
  return moved.astype(np.float32)


class _Run:
  """Samples of one batch of scenes."""

  def __init__(
    self, model: TrainedModel, protocol: Protocol, batch: SceneBatch, numbers: np.ndarray
  ):
    self._model, self._protocol, self._batch, self._numbers = model, protocol, batch, numbers
    self.every = np.asarray(batch.object_mask)
    self.rows = np.broadcast_to(np.asarray(batch.example_mask)[:, None, None], self._shape)

  @property
  def _shape(self) -> tuple[int, int, int]:
    return (len(self._batch.object_mask), *self._model.settings.data.image_size)

  def sample(self, batch: SceneBatch, sample: int = 0, **given: np.ndarray) -> SampledBatch:
    """One sample of each graph, with what is given of `batch`."""
    bare = batch.replace(image=None, masks=None)
    bare = bare.replace(**{name: None for name in ('boxes', 'latents') if name not in given})
    assert self._protocol.stretch is not None
    return self._model.sampler.sample(
      bare,
      self._protocol.seed,
      self._numbers,
      np.full(len(self._numbers), sample, np.int32),
      stretch=self._protocol.stretch,
      given=given,
    )

  def edit(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Samples each scene, then one of its objects anew, all others being pinned.

    Returns:
      The change where the edited object is seen, before or after, and where pinned ones are and it
      is not: sum and number of values.
    """
    before = self.sample(self._batch)
    objects = np.array(self.every)
    objects[:, 0] = False  # __image__
    edited = np.zeros_like(objects)
    for row in np.flatnonzero(objects.any(1)):
      edited[row, rng.choice(np.flatnonzero(objects[row]))] = True
    kept = self.every & ~edited
    pinned = self._batch.replace(boxes=np.asarray(before.boxes), latents=np.asarray(before.latents))
    after = self.sample(pinned, 1, boxes=kept, latents=kept)
    seen_before, seen_after = (self._seen(one) for one in (before, after))
    touched = ((seen_before | seen_after) & edited[:, None, None]).any(-1)
    untouched = (seen_before & (kept & objects)[:, None, None]).any(-1) & ~touched
    pictures = np.asarray(before.pictures), np.asarray(after.pictures)
    return {
      'edited objects': _change(*pictures, touched),
      'pinned objects': _change(*pictures, untouched),
    }

  def _seen(self, sampled: SampledBatch) -> np.ndarray:
    """bool[B, H, W, O]: where each object's mask covers the picture."""
    settings = self._model.settings
    canvases = object_canvases(
      sampled.boxes,
      jnp.asarray(sampled.masks),
      settings.data.image_size,
      align_corners=settings.model.align_corners,
    )
    return np.asarray(jax.device_get(canvases)) > 0.5


def _change(pictures: np.ndarray, others: np.ndarray, where: ArrayLike) -> np.ndarray:
  """Sum and number of the absolute differences at pixels where bool[B, H, W] says so."""
  difference = difference_maps(pictures, others)[np.asarray(where)]
  return np.array([difference.sum(), difference.size])

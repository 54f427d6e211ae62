"""Edits of a picture: its objects are encoded to tokens, the graph is changed, the rest is pinned.

Image manipulation with scene graphs is the task of SIMSG (Dhamo et al., "Semantic image
manipulation using scene graphs", CVPR 2020), which inpaints masked regions. Here every object has a
token; what a change does not touch keeps its own, and the prior samples what is open around it. The
picture that is painted of all tokens replaces the old one where changed objects were or are, and
nowhere else.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models.warping import object_canvases
from sg2im_jax.sampling.changes import Change, Edit, ImageCrop, parse_changes
from sg2im_jax.sampling.graphs import GraphSamples, Pins, check_graphs
from sg2im_jax.sampling.placed_scene import PlacedScene

if TYPE_CHECKING:
  from sg2im_jax.sampling.trained_model import TrainedModel

Repaint = Literal['changed', 'all']
# Pixels at 64 in which paintings are compared beyond objects, and over which a region fades out.
_MARGIN = 3
_DIFFERS = 0.04  # of the range from black to white: paintings that differ by more are not alike
_WHOLE_IMAGE = np.array([[0, 0, 1, 1]], np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class EditedScene:
  """A picture with its scene, at the start or after a change.

  Attributes:
    picture: uint8[H, W, 3].
    scene: graph, boxes and masks of N objects.
    latents: float32[N, L], their appearances.
    image_latents: float32[L], that of the whole image.
    painting: uint8[H, W, 3], the whole scene painted from its tokens.
    region: float32[H, W] in [0, 1], how much of each pixel was repainted by the change.
    change: that led here; None at the start.
  """

  picture: UInt8[np.ndarray, 'H W 3']
  scene: PlacedScene
  latents: Float[np.ndarray, 'N L']
  image_latents: Float[np.ndarray, ' L']
  painting: UInt8[np.ndarray, 'H W 3']
  region: Float[np.ndarray, 'H W']
  change: Change | None = None


def edit(
  model: 'TrainedModel',
  picture: np.ndarray,
  scene: PlacedScene | Mapping[str, Any],
  changes: Sequence[Change | Mapping[str, Any]] | Change | Mapping[str, Any],
  *,
  seed: int = 0,
  repaint: Repaint = 'changed',
) -> list[EditedScene]:
  """Makes changes one after the other, each in what the one before left.

  Args:
    model: a token model.
    picture: uint8[height, width, 3], resized to the model's image size.
    scene: what is where in it.
    changes: see `changes`.
    seed: of what is sampled.
    repaint: changed: pixels stay where no changed object was or is; all: the whole picture is
      painted from its tokens.

  Returns:
    The scene at the start, then after each change.

  Raises:
    UserError: the scene or a change is broken, or names what the model does not know; or this is
      not a token model.
  """
  if not isinstance(scene, PlacedScene):
    scene = PlacedScene.from_dict(scene, 'scene')
  steps = [start(model, picture, scene)]
  for index, change in enumerate(parse_changes(changes, 'changes')):
    try:
      steps.append(step(model, steps[-1], change, seed=seed + index, repaint=repaint))
    except UserError as error:
      raise UserError(f'change {index} ({change}): {error}') from None
  return steps


def start(model: 'TrainedModel', picture: np.ndarray, scene: PlacedScene) -> EditedScene:
  """The scene as the model has it: encoded, with masks."""
  graph = model.understood([scene.graph])[0]
  check_graphs([graph], model.vocabulary, 'scene')
  mask_size = model.settings.model.mask_size
  given = None if scene.masks is None else _resized_masks(scene.masks, mask_size)
  with_image = None
  if given is not None:
    with_image = np.concatenate([np.ones((1, mask_size, mask_size), np.float32), given])
  encoded = model.encode(picture, np.concatenate([_WHOLE_IMAGE, scene.boxes]), with_image)
  height, width = model.settings.data.image_size
  pinned = Pins(scene.boxes, given, encoded[1:], encoded[0])
  painted = _sample(model, graph, pinned, 0)
  assert painted.masks is not None
  resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
  return EditedScene(
    np.asarray(resized),
    PlacedScene(graph, scene.boxes, painted.masks[0]),
    encoded[1:],
    encoded[0],
    painted.pictures[0],
    np.zeros((height, width), np.float32),
  )


def step(
  model: 'TrainedModel',
  before: EditedScene,
  change: Change,
  *,
  seed: int,
  repaint: Repaint = 'changed',
) -> EditedScene:
  """The scene after one change; see `edit`."""
  planned = change.apply(before.scene)
  check_graphs([planned.graph], model.vocabulary, 'the graph')
  latents = _latents(model, before, planned)
  old_masks = before.scene.masks
  assert old_masks is not None
  masks = np.full((len(latents), *old_masks.shape[1:]), np.nan, np.float32)
  for index, origin in enumerate(planned.origin):
    looks_otherwise = planned.sampled_appearances[index] or index in planned.appearance_of
    if origin is not None and not looks_otherwise:
      masks[index] = old_masks[origin]
  of_image = None if planned.whole_image else before.image_latents
  painted = _sample(model, planned.graph, Pins(planned.boxes, masks, latents, of_image), seed)
  assert painted.masks is not None
  assert painted.latents is not None and painted.image_latents is not None
  after = PlacedScene(planned.graph, painted.boxes[0], painted.masks[0])
  region = np.ones(before.picture.shape[:2], np.float32)
  if repaint == 'changed' and not planned.whole_image:
    kept = {origin for origin, new in zip(planned.origin, planned.changed) if not new}
    gone = [index for index in range(len(before.scene.boxes)) if index not in kept]
    region = repainted_region(
      model,
      [(before.scene, gone), (after, np.flatnonzero(planned.changed))],
      np.abs(painted.pictures[0] - before.painting.astype(np.float32)).max(-1) / 255,
    )
  share = region[..., None]
  picture = share * painted.pictures[0] + (1 - share) * before.picture
  return EditedScene(
    picture.round().astype(np.uint8),
    after,
    painted.latents[0],
    painted.image_latents[0] if of_image is None else of_image,
    painted.pictures[0],
    region,
    change,
  )


def _latents(model: 'TrainedModel', before: EditedScene, planned: Edit) -> np.ndarray:
  """The appearances that are known after a change; nan for those that are to be sampled."""
  count = len(planned.graph.objects)
  latents = np.full((count, before.latents.shape[1]), np.nan, np.float32)
  for index, origin in enumerate(planned.origin):
    if origin is not None and not planned.sampled_appearances[index]:
      latents[index] = before.latents[origin]
  for index, source in planned.appearance_of.items():
    if isinstance(source, ImageCrop):
      box = np.array([source.box], np.float32)
      latents[index] = model.encode(read_picture(source.image), box)[0]
    else:
      latents[index] = before.latents[source]
  return latents


def _sample(model: 'TrainedModel', graph: Any, pins: Pins, seed: int) -> GraphSamples:
  (samples,) = model.sample_graphs({0: graph}, samples=1, seed=seed, stretch=False, pins={0: pins})
  return samples


def repainted_region(
  model: 'TrainedModel',
  changed: Sequence[tuple[PlacedScene, Sequence[int] | np.ndarray]],
  difference: Float[np.ndarray, 'H W'],
) -> Float[np.ndarray, 'H W']:
  """How much of each pixel is repainted: around objects, where the paintings differ.

  What is kept in front of a changed object looks alike in both paintings, and keeps its pixels.

  Args:
    model: whose warp places masks.
    changed: scenes, and the objects in each that are changed.
    difference: of the paintings before and after, in [0, 1].
  """
  import scipy.ndimage  # takes time that sampling need not spend

  settings = model.settings
  covered = np.zeros(difference.shape, bool)
  for scene, objects in changed:
    if len(objects):
      assert scene.masks is not None
      chosen = np.asarray(objects)
      canvases = object_canvases(
        scene.boxes[None, chosen],
        scene.masks[None, chosen],
        difference.shape,
        align_corners=settings.model.align_corners,
      )
      covered |= np.asarray(canvases)[0].max(-1) > 0.1
  margin = max(1, round(_MARGIN * max(difference.shape) / 64))
  around = scipy.ndimage.binary_dilation(covered, iterations=margin)
  differs = np.asarray(around, bool) & (difference > _DIFFERS)
  grown = scipy.ndimage.binary_dilation(differs, iterations=2 * margin)
  # 1 up to one margin beyond where the paintings differ, then falls to 0 in another one: the edges
  # of what was there may lie a little off those that are painted.
  distance = np.asarray(scipy.ndimage.distance_transform_edt(grown))
  return np.clip(distance / margin, 0, 1).astype(np.float32)


def _resized_masks(masks: np.ndarray, size: int) -> np.ndarray:
  """Masks [N, M, M] at another size M."""
  if masks.shape[-1] == size:
    return masks.astype(np.float32)
  return np.stack(
    [
      np.asarray(
        Image.fromarray(mask.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
      )
      for mask in masks
    ]
  )


def read_picture(path: str) -> UInt8[np.ndarray, 'H W 3']:
  """A picture file as RGB; UserError if it is none."""
  try:
    with Image.open(path) as image:
      return np.asarray(image.convert('RGB'))
  except OSError as error:
    reason = error.strerror or error
    raise UserError(
      f'{path}: cannot be read as a picture ({reason}); expected a PNG or JPEG'
    ) from None

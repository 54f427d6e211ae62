"""Edits of a picture: its objects are encoded to tokens, the graph is changed, the rest is pinned.

Image manipulation with scene graphs is the task of SIMSG (Dhamo et al., "Semantic image
manipulation using scene graphs", CVPR 2020), which inpaints masked regions. Here every object has a
token; what a change does not touch keeps its own, and the prior samples what is open around it. The
picture that is painted of all tokens replaces the old one where changed objects were or are, and
nowhere else.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.models.warping import object_canvases
from sg2im_jax.sampling.changes import Change, Edit, ImageCrop, parse_changes
from sg2im_jax.sampling.graphs import (
  GraphSamples,
  Pins,
  Row,
  batched,
  bucket,
  bucket_size,
  check_graphs,
  dispatch,
  encode_graph,
  one_ahead,
  samples_of_graph,
  unstacked,
)
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.scene_batch import SceneBatch

if TYPE_CHECKING:
  from sg2im_jax.sampling.trained_model import TrainedModel

Repaint = Literal['changed', 'all']
# Pixels at 64 in which paintings are compared beyond objects, and over which a region fades out.
_MARGIN = 3
_DIFFERS = 0.04  # of the range from black to white: paintings that differ by more are not alike
_MOST_ROWS = 16  # of a batch: scenes are few


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
  return starts(model, [picture], [scene])[0]


def starts(
  model: 'TrainedModel', pictures: Sequence[np.ndarray], scenes: Sequence[PlacedScene]
) -> list[EditedScene]:
  """Several scenes, at least one, as the model has them; computed in batches."""
  graphs = model.understood([scene.graph for scene in scenes])
  check_graphs(graphs, model.vocabulary, 'scene')
  height, width = model.settings.data.image_size
  resized = [
    np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    for picture in pictures
  ]
  boxes, masks = [scene.boxes for scene in scenes], [_masks(model, scene) for scene in scenes]
  latents = _encoded(model, resized, boxes, masks)
  pins = [
    Pins(boxes_of, masks_of, latents_of[1:], latents_of[0])
    for boxes_of, masks_of, latents_of in zip(boxes, masks, latents)
  ]
  painted = _sample(model, graphs, pins, seeds=[0] * len(graphs))
  return [
    EditedScene(
      picture,
      PlacedScene(graph, scene.boxes, _first(samples.masks)),
      latents_of[1:],
      latents_of[0],
      samples.pictures[0],
      np.zeros((height, width), np.float32),
    )
    for picture, graph, scene, latents_of, samples in zip(resized, graphs, scenes, latents, painted)
  ]


def step(
  model: 'TrainedModel',
  before: EditedScene,
  change: Change,
  *,
  seed: int,
  repaint: Repaint = 'changed',
) -> EditedScene:
  """The scene after one change; see `edit`."""
  return steps(model, [before], [change], seeds=[seed], repaint=repaint)[0]


def steps(
  model: 'TrainedModel',
  befores: Sequence[EditedScene],
  changes: Sequence[Change],
  *,
  seeds: Sequence[int],
  repaint: Repaint = 'changed',
) -> list[EditedScene]:
  """Several scenes, at least one, each after one change of its own; computed in batches."""
  edits = [change.apply(before.scene) for before, change in zip(befores, changes)]
  check_graphs([planned.graph for planned in edits], model.vocabulary, 'the graph')
  pins = [
    Pins(
      planned.boxes,
      _kept_masks(before, planned),
      _latents(model, before, planned),
      None if planned.whole_image else before.image_latents,
    )
    for before, planned in zip(befores, edits)
  ]
  painted = _sample(model, [planned.graph for planned in edits], pins, seeds)
  return [
    _repainted(model, *of_scene, repaint)
    for of_scene in zip(befores, changes, edits, painted, strict=True)
  ]


def _repainted(
  model: 'TrainedModel',
  before: EditedScene,
  change: Change,
  planned: Edit,
  painted: GraphSamples,
  repaint: Repaint,
) -> EditedScene:
  """The scene after a change; its picture is the old one but for the region of the change."""
  after = PlacedScene(planned.graph, painted.boxes[0], _first(painted.masks))
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
    _first(painted.latents),
    _first(painted.image_latents) if planned.whole_image else before.image_latents,
    painted.pictures[0],
    region,
    change,
  )


def _encoded(
  model: 'TrainedModel',
  pictures: Sequence[np.ndarray],
  boxes: Sequence[Float[np.ndarray, '_ 4']],
  masks: Sequence[Float[np.ndarray, '_ M M']],
) -> list[Float[np.ndarray, '_ L']]:
  """The appearances of the whole image and of the objects of each scene."""
  counts = np.array([1 + len(of_scene) for of_scene in boxes])
  rows, slots, mask_size = len(boxes), bucket_size(counts.max()), masks[0].shape[-1]
  padded_boxes = np.zeros((rows, slots, 4), np.float32)
  padded_masks = np.zeros((rows, slots, mask_size, mask_size), np.float32)
  padded_boxes[:, 0], padded_masks[:, 0] = (0, 0, 1, 1), 1
  for row, count in enumerate(counts):
    padded_boxes[row, 1:count] = boxes[row]
    padded_masks[row, 1:count] = np.nan_to_num(masks[row], nan=1)
  batch = SceneBatch(
    object_class=np.zeros((rows, slots), np.int32),
    object_mask=np.arange(slots) < counts[:, None],
    triples=np.zeros((rows, 1, 3), np.int32),
    triple_mask=np.zeros((rows, 1), bool),
    boxes=padded_boxes,
    masks=padded_masks,
    image=np.stack(pictures),
  )
  return [latents[:count] for latents, count in zip(model.encode_batch(batch), counts)]


def _masks(model: 'TrainedModel', scene: PlacedScene) -> Float[np.ndarray, 'N M M']:
  """The masks of a scene at the model's size M; nan where none are known."""
  size = model.settings.model.mask_size
  if scene.masks is None:
    return np.full((len(scene.boxes), size, size), np.nan, np.float32)
  return _resized_masks(scene.masks, size)


def _kept_masks(before: EditedScene, planned: Edit) -> Float[np.ndarray, 'N M M']:
  """The masks of objects that look as before a change; nan for those of the others."""
  known = before.scene.masks
  assert known is not None
  masks = np.full((len(planned.origin), *known.shape[1:]), np.nan, np.float32)
  for index, origin in enumerate(planned.origin):
    looks_otherwise = planned.sampled_appearances[index] or index in planned.appearance_of
    if origin is not None and not looks_otherwise:
      masks[index] = known[origin]
  return masks


def _first(samples: np.ndarray | None) -> np.ndarray:
  """Of the one sample what a token model always has."""
  assert samples is not None
  return samples[0]


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


def _sample(
  model: 'TrainedModel',
  graphs: Sequence[SceneGraph],
  pins: Sequence[Pins],
  seeds: Sequence[int],
) -> list[GraphSamples]:
  """One sample of each graph; all are padded to the slots of the largest."""
  slots = tuple(map(max, zip(*map(bucket, graphs))))
  rows = [
    Row(*encode_graph(graph, model.vocabulary, 'graph', known, slots=slots), seed)
    for graph, known, seed in zip(graphs, pins, seeds, strict=True)
  ]
  size = model.sampler.batch_size(len(rows), _MOST_ROWS)
  dispatched = (dispatch(model.sampler, part, size, stretch=False) for part in batched(rows, size))
  sampled = itertools.chain.from_iterable(map(unstacked, one_ahead(dispatched)))
  return [
    samples_of_graph(0, *of_graph) for of_graph in zip(graphs, ([one] for one in sampled), pins)
  ]


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
      # Padded, so that few shapes are compiled.
      chosen, slots = np.asarray(objects), bucket_size(len(objects))
      boxes = np.zeros((1, slots, 4), np.float32)
      masks = np.zeros((1, slots, *scene.masks.shape[1:]), np.float32)
      boxes[0, : len(chosen)], masks[0, : len(chosen)] = scene.boxes[chosen], scene.masks[chosen]
      canvases = object_canvases(
        boxes, masks, difference.shape, align_corners=settings.model.align_corners
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

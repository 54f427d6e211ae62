"""Composes and draws the storybook's scenes: image, exact masks and boxes, true relations."""

import dataclasses
import itertools

import numpy as np
from PIL import Image

from data_pipelines.storybook import shapes
from data_pipelines.storybook.grounds import Ground, Landscape, random_landscape
from data_pipelines.storybook.placing import Thing, place_things, wishes
from data_pipelines.storybook.relations import Layers, relations_of
from data_pipelines.storybook.things import BEHIND_MOUNTAINS, KINDS
from data_pipelines.storybook.weather import paint_weather, random_weather, weathered_ground

MAX_OBJECTS = 9
COMPOSITION_SIZE = 64  # visibility is decided at this size, so every size shows the same objects
WEATHER = 1  # the random numbers of the weather are no others': without it, the scene is the same
LEAST_AREA = 0.01  # share of the picture that an object must show,
LEAST_SIDE = 5  # pixels at the composition size of either side of its box, and
LEAST_VISIBLE = 0.35  # the share of a thing that must not be hidden


@dataclasses.dataclass(frozen=True)
class StorybookScene:
  """A picture and what is in it.

  Attributes:
    image: uint8[size, size, 3] RGB.
    names: N class names, from back to front.
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1], tight around the masks.
    masks: bool[N, size, size] the whole silhouettes, also where another thing stands in front:
      predicted masks overlap in the same way. Only grounds end where the next one begins, and hide
      what is behind them.
    relations: (subject, predicate, object) with indices into `names`.
    attributes: of each object.
    attributes_of_image: the time of day and the weather.
  """

  image: np.ndarray
  names: tuple[str, ...]
  boxes: np.ndarray
  masks: np.ndarray
  relations: tuple[tuple[int, str, int], ...]
  attributes: tuple[tuple[str, ...], ...]
  attributes_of_image: tuple[str, ...]


def draw_scene(seed: int, index: int, size: int = 64) -> StorybookScene:
  """Scene `index` of the storybook `seed`; its composition is the same at every size."""
  rng = np.random.default_rng((seed, index))
  while True:
    landscape = random_landscape(rng)
    placed = place_things(
      rng, landscape, wishes(rng, landscape, MAX_OBJECTS - len(landscape.grounds))
    )
    layers = _keep_visible(_in_paint_order(landscape, placed))
    if layers is not None:
      break
  masks = _silhouettes(layers, size)
  weather_rng = np.random.default_rng((seed, index, WEATHER))
  weather, night = random_weather(weather_rng), landscape.time_of_day == 'night'
  return StorybookScene(
    image=paint_weather(
      weather_rng,
      _paint([_weathered(layer, weather, night) for layer in layers], size),
      weather,
      landscape.horizon,
      night,
    ),
    names=tuple(layer.name for layer in layers),
    masks=masks,
    boxes=np.stack([tight_box(mask) for mask in masks]),
    relations=relations_of(rng, landscape, layers),
    attributes=tuple(layer.attributes if isinstance(layer, Thing) else () for layer in layers),
    attributes_of_image=(landscape.time_of_day, weather),
  )


def _weathered(layer: Ground | Thing, weather: str, night: bool) -> Ground | Thing:
  return weathered_ground(layer, weather, night) if isinstance(layer, Ground) else layer


def tight_box(mask: np.ndarray) -> np.ndarray:
  """float32[4] x0, y0, x1, y1: the outer edges of the pixels of bool[size, size] that are True."""
  columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
  return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) / len(mask)


def _in_paint_order(landscape: Landscape, placed: list[Thing]) -> Layers:
  """Far before near: sky, what is behind mountains, the other grounds, what flies, what stands."""
  behind = [thing for thing in placed if thing.name in BEHIND_MOUNTAINS]
  flying = [
    thing for thing in placed if not KINDS[thing.name].sits and thing.name not in BEHIND_MOUNTAINS
  ]
  standing = sorted(
    (thing for thing in placed if KINDS[thing.name].sits), key=lambda thing: thing.foot[1]
  )
  behind.sort(key=lambda thing: thing.name == 'cloud')
  return [landscape.grounds[0], *behind, *landscape.grounds[1:], *flying, *standing]


def _keep_visible(layers: Layers) -> Layers | None:
  """The layers that are visible enough; None if a ground is hidden or no thing is left."""
  free = np.ones((COMPOSITION_SIZE, COMPOSITION_SIZE), np.float32)
  kept = []
  for layer in reversed(layers):
    cover = shapes.coverage(layer.figure, COMPOSITION_SIZE)
    seen = cover * free
    mask = seen > 0.5
    is_ground = isinstance(layer, Ground)
    hidden = (
      mask.mean() < LEAST_AREA
      or min(mask.any(axis=0).sum(), mask.any(axis=1).sum()) < LEAST_SIDE
      or (not is_ground and seen.sum() < LEAST_VISIBLE * cover.sum())
    )
    if hidden and is_ground:
      return None
    if not hidden:
      kept.append(layer)
      free = free * (1 - cover)
  if not any(isinstance(layer, Thing) for layer in kept):
    return None
  return kept[::-1]


def _silhouettes(layers: Layers, size: int) -> np.ndarray:
  """bool[N, size, size]: each layer's pixels that it covers by half, less the grounds in front."""
  free = np.ones((size, size), np.float32)
  masks = []
  for layer in reversed(layers):
    cover = shapes.coverage(layer.figure, size)
    masks.append(cover * free > 0.5)
    if isinstance(layer, Ground):
      free = free * (1 - cover)
  return np.stack(masks[::-1])


def _paint(layers: Layers, size: int) -> np.ndarray:
  """uint8[size, size, 3] RGB."""
  image = Image.new('RGB', (size, size))
  for is_ground, group in itertools.groupby(layers, lambda layer: isinstance(layer, Ground)):
    if is_ground:
      for ground in group:
        assert isinstance(ground, Ground)
        _paint_ground(image, ground)
    else:
      shapes.paint(image, tuple(itertools.chain.from_iterable(thing.figure for thing in group)))
  return np.array(image)


def _paint_ground(image: Image.Image, ground: Ground) -> None:
  size = image.width
  top, bottom = np.clip((ground.outline[:, 1].min(), ground.outline[:, 1].max()), 0, 1)
  share = np.clip(((np.arange(size) + 0.5) / size - top) / (bottom - top), 0, 1)[:, None]
  rows = np.array(ground.top_colour) * (1 - share) + np.array(ground.bottom_colour) * share
  texture = Image.fromarray(np.repeat(rows.round().astype(np.uint8)[:, None], size, axis=1))
  shapes.paint(texture, ground.details)
  cover = (shapes.coverage(ground.figure, size) * 255).astype(np.uint8)
  image.paste(texture, mask=Image.fromarray(cover))

"""The engine of the studio: one thread owns a model and computes what requests ask for, in batches.

Every graph is padded to one of a few sizes, with arrays for all that may be given (boxes, masks,
latents) and flags that tell what is. So a handful of programs serves every request, and requests
that wait at the same time share a batch, whatever their graphs, seeds and pins.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, SceneGraph
from data_pipelines.scene_graphs.vocabulary import UNUSED_NAME
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.graphs import (
  Pins,
  Row,
  dispatch,
  encode_graph,
  one_ahead,
  samples_of_graph,
  unstacked,
)
from sg2im_jax.sampling.sampler import SampledBatch
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.scene_batch import SceneBatch

# Of objects (with `__image__`), triples and attributes; larger graphs take 2 or 4 times as many.
_SLOTS = (16, 32, 8)
_SCALES = (1, 2, 4)
MAX_OBJECTS = _SCALES[-1] * _SLOTS[0] - 1
MAX_RELATIONSHIPS = _SCALES[-1] * _SLOTS[1] - MAX_OBJECTS - 1
MAX_ATTRIBUTES = _SCALES[-1] * _SLOTS[2]  # of an object
MAX_SAMPLES = 16  # of a request
MAX_NEARNESS = 64.0  # whose exponential float32 can hold beside that of the model's
_BATCH_ROWS = (4, 1, MAX_SAMPLES)  # in the order in which they are compiled
_MAX_WAITING = 32  # requests
_TIMED = 3  # batches of each size at the start, of which the fastest counts
_GATHERING = 0.004  # seconds in which requests may join a batch
_COMPANIONS = 2  # of a class in its example picture
_EXAMPLES = 4  # pictures of a class, of which that is taken whose object is hidden least
_MARGIN = 0.15  # around the object of an example picture, as a share of its box
_SMALLEST_CROP = 24  # pixels


class Busy(Exception):
  """As many requests wait as may."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Sampling:
  """A request for samples.

  Attributes:
    graph: whose names the model knows.
    pins: what is given.
    rows: S, all of one scale.
    scale: of its slots, in `_SCALES`.
    future: of `GraphSamples`.
  """

  graph: SceneGraph
  pins: Pins
  rows: Sequence[Row]
  scale: int
  future: concurrent.futures.Future


@dataclasses.dataclass(frozen=True, eq=False)
class _Encoding:
  """A request for the latents of a picture's objects.

  Attributes:
    batch: a picture and its boxes, B = 1.
    count: N + 1, boxes with that of the whole image.
    future: of float32[N + 1, L].
  """

  batch: SceneBatch
  count: int
  future: concurrent.futures.Future


class Engine:
  """Computes for many requests at a time; a context that ends the thread.

  Attributes:
    model: the model.
    objects: names of the object classes that graphs may have.
  """

  def __init__(self, model: TrainedModel):
    """Compiles the programs, which is reported, and starts the thread."""
    self.model = model
    self._sampler = model.sampler
    names = model.vocabulary.object_names
    self.objects = tuple(name for name in names if name not in (IMAGE_OBJECT, UNUSED_NAME))
    self._changed = threading.Condition()
    self._waiting: collections.deque[_Sampling | _Encoding] = collections.deque()
    self._closing = False
    self._examples = [concurrent.futures.Future() for _ in self.objects]
    self._examples_left = collections.deque(range(len(self.objects)))
    self._seconds: dict[int, dict[int, float]] = {}  # of a batch, by scale and rows
    self._compiling: threading.Thread | None = None
    self._compile(_SCALES[0])
    self._thread = threading.Thread(target=self._work, name='engine', daemon=True)
    self._thread.start()

  def __enter__(self) -> 'Engine':
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    """Ends the thread after what it computes now; what waits is cancelled."""
    with self._changed:
      self._closing = True
      self._changed.notify()
    self._thread.join()
    if compiling := self._compiling:
      compiling.join()
    for future in (*(job.future for job in self._waiting), *self._examples):
      future.cancel()

  def check(self, graph: SceneGraph) -> SceneGraph:
    """The graph as the model understands it.

    Raises:
      UserError: it is larger than the programs can be, or names what the model does not know.
    """
    (graph,) = self.model.understood([graph])
    for count, most, noun in (
      (len(graph.objects), MAX_OBJECTS, 'objects'),
      (len(graph.relationships), MAX_RELATIONSHIPS, 'relationships'),
      (max(map(len, (graph.scene, *graph.attributes))), MAX_ATTRIBUTES, 'attributes of one thing'),
    ):
      if count > most:
        raise UserError(f'the graph has {count} {noun}; expected {most} or fewer')
    encode_graph(graph, self.model.vocabulary, 'graph')
    return graph

  def sample(
    self, graph: SceneGraph, *, samples: int, seed: int, pins: Pins | None = None
  ) -> concurrent.futures.Future:
    """The future of `GraphSamples`: those of `TrainedModel.sample`, up to rounding. Box and mask of
    `__image__` are predicted, whatever is given.

    Args:
      graph: from `check`.
      samples: S, from 1 to MAX_SAMPLES.
      seed: the same seed gives the same pixels.
      pins: what is given; masks have the model's size.

    Raises:
      UserError: pins have another shape, or the model can be given none of the kind.
      Busy: too many requests wait.
    """
    return self._submit(self._sampling(graph, samples, seed, pins or Pins()))

  def encode(
    self, picture: UInt8[np.ndarray, 'H W 3'], boxes: Float[np.ndarray, 'N 4']
  ) -> concurrent.futures.Future:
    """The future of float32[N + 1, L]: appearances of the whole picture, then of its objects.

    Args:
      picture: of the model's image size.
      boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1] of the objects; at most MAX_OBJECTS.

    Raises:
      UserError: this is not a token model.
      Busy: too many requests wait.
    """
    if self.model.settings.tokens is None:
      raise UserError('this model has no appearances of objects: it is not a token model')
    count = len(boxes) + 1
    slots = next(_SLOTS[0] * scale for scale in _SCALES if _SLOTS[0] * scale >= count)
    padded = np.zeros((1, slots, 4), np.float32)
    padded[0, 0] = 0, 0, 1, 1
    padded[0, 1:count] = boxes
    batch = SceneBatch(
      object_class=np.zeros((1, slots), np.int32),
      object_mask=np.arange(slots)[None] < count,
      triples=np.zeros((1, 1, 3), np.int32),
      triple_mask=np.zeros((1, 1), bool),
      boxes=padded,
      image=picture[None],
    )
    return self._submit(_Encoding(batch, count, concurrent.futures.Future()))

  def example(self, index: int) -> concurrent.futures.Future:
    """The future of uint8[h, w, 3]: a picture of the class `objects[index]`. They are sampled while
    no request waits; do not cancel the future, which all who ask share."""
    return self._examples[index]

  def _submit(self, job: _Sampling | _Encoding) -> concurrent.futures.Future:
    with self._changed:
      for given_up in [job for job in self._waiting if job.future.cancelled()]:
        self._waiting.remove(given_up)
      if self._closing or len(self._waiting) >= _MAX_WAITING:
        raise Busy
      self._waiting.append(job)
      self._changed.notify()
    return job.future

  def _sampling(self, graph: SceneGraph, samples: int, seed: int, pins: Pins) -> _Sampling:
    settings = self.model.settings
    if settings.tokens is None and pins.latents is not None:
      raise UserError('this model has no appearances of objects: it is not a token model')
    if settings.tokens is None and pins.nearness is not None:
      raise UserError('this model paints all objects at once: it is not a token model')
    mask_size = settings.model.mask_size
    if pins.masks is not None and not mask_size:
      raise UserError('this model has no masks: its layouts are boxes')
    needed = (
      len(graph.objects) + 1,
      len(graph.objects) + len(graph.relationships),
      max(map(len, (graph.scene, *graph.attributes))),
    )
    scale = next(
      scale
      for scale in _SCALES
      if all(count <= scale * slots for count, slots in zip(needed, _SLOTS))
    )
    objects, triples, attributes = (scale * slots for slots in _SLOTS)
    has_attributes = bool(self.model.vocabulary.attribute_names)
    batch, given = encode_graph(
      graph,
      self.model.vocabulary,
      'graph',
      pins,
      slots=(objects, triples, attributes if has_attributes else 0),
    )
    shapes: dict[str, tuple[int, ...]] = {'boxes': (4,)}
    if mask_size:
      shapes['masks'] = (mask_size, mask_size)
    if settings.tokens is not None:
      shapes['latents'] = (settings.tokens.latent_dim,)
    missing = {name: shape for name, shape in shapes.items() if name not in given}
    batch = batch.replace(
      **{name: np.zeros((objects, *shape), np.float32) for name, shape in missing.items()}
    )
    if settings.tokens is not None and batch.nearness is None:
      batch = batch.replace(nearness=np.zeros(objects, np.float32))
    given |= {name: np.zeros(objects, bool) for name in missing}
    for name in given.keys() & {'boxes', 'masks'}:
      given[name][0] = False  # what is predicted of `__image__` is not sent, and cannot come back
    rows = [Row(batch, given, seed, sample=sample) for sample in range(samples)]
    return _Sampling(graph, pins, rows, scale, concurrent.futures.Future())

  def _compile(self, scale: int):
    """Compiles the programs of graphs of a scale, and sees how long they take."""
    objects = scale * _SLOTS[0] - 1
    for size in dict.fromkeys(map(self._sampler.batch_size, _BATCH_ROWS)):
      if self._closing:
        return
      start = time.monotonic()
      rows = self._sampling(SceneGraph(self.objects[:1] * objects, ()), size, 0, Pins()).rows
      jax.block_until_ready(self._dispatch(rows, size))
      compiled, seconds = time.monotonic(), math.inf
      for _ in range(_TIMED):
        began = time.monotonic()
        jax.block_until_ready(self._dispatch(rows, size))
        seconds = min(seconds, time.monotonic() - began)
      reporting.info(
        f'compiled batches of {size} for graphs of up to {objects} objects in '
        f'{compiled - start:.1f} s; one takes {1000 * seconds:.0f} ms'
      )
      with self._changed:
        self._seconds[scale] = {**self._seconds.get(scale, {}), size: seconds}
        self._changed.notify()
    with self._changed:
      self._compiling = None
      self._changed.notify()

  def _work(self):
    while (jobs := self._next()) is not None:
      running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
      try:
        for job in running:
          if isinstance(job, _Encoding):
            job.future.set_result(self.model.encode_batch(job.batch)[0, : job.count])
        self._sample([job for job in running if isinstance(job, _Sampling)])
      except Exception as error:
        reporting.warning(f'a batch failed: {" ".join(str(error).split())[:300]}')
        for job in running:
          if not job.future.done():
            job.future.set_exception(error)

  def _next(self) -> Sequence[_Sampling | _Encoding] | None:
    """What to compute at once, when there is something; None to end."""
    with self._changed:
      while not self._closing and not self._examples_left and self._first() is None:
        self._changed.wait()
      if self._closing:
        return None
      first = self._first()
      if first is None:
        return [self._example_job(self._examples_left.popleft())]
      self._waiting.remove(first)
      jobs = [first]
      deadline = time.monotonic() + _GATHERING
      while isinstance(first, _Sampling):
        count = sum(len(job.rows) for job in jobs if isinstance(job, _Sampling))
        fits = next((job for job in self._waiting if _joins(job, first, count)), None)
        if fits is not None:
          self._waiting.remove(fits)
          jobs.append(fits)
        elif count == MAX_SAMPLES or not self._changed.wait(deadline - time.monotonic()):
          break
      return jobs

  def _first(self) -> _Sampling | _Encoding | None:
    """The request that has waited longest and can be computed. Those of larger graphs wait while
    their programs are compiled in another thread; the others do not."""
    for job in self._waiting:
      if not isinstance(job, _Sampling) or job.scale in self._seconds:
        return job
      if self._compiling is None or not self._compiling.is_alive():
        self._compiling = threading.Thread(target=self._compile, args=(job.scale,), daemon=True)
        self._compiling.start()
    return None

  def _example_job(self, index: int) -> _Sampling:
    """A request for the example picture of a class, in common company."""
    graph, statistics = SceneGraph((self.objects[index],), ()), self.model.statistics
    if statistics is not None and statistics.num_scenes:
      graph, _ = statistics.complete(graph, _COMPANIONS, seed=index)
    job = self._sampling(graph, _EXAMPLES, index, Pins())

    def crop(done: concurrent.futures.Future):
      if error := done.exception():
        self._examples[index].set_exception(error)
      else:
        samples = done.result()
        best = int(np.argmin([_hidden_share(boxes) for boxes in samples.boxes]))
        self._examples[index].set_result(_around(samples.pictures[best], samples.boxes[best, 0]))

    job.future.add_done_callback(crop)
    return job

  def _sample(self, jobs: Sequence[_Sampling]):
    """Computes the samples of requests of one scale."""
    if not jobs:
      return
    rows = [row for job in jobs for row in job.rows]
    left = collections.deque(jobs)
    found: list[SampledBatch] = []
    for count, batch in one_ahead(self._dispatched(rows, jobs[0].scale)):
      found += itertools.islice(unstacked(batch), count)
      while left and len(left[0].rows) <= len(found):
        job = left.popleft()
        own, found = found[: len(job.rows)], found[len(job.rows) :]
        job.future.set_result(samples_of_graph(0, job.graph, own, job.pins))

  def _dispatched(self, rows: Sequence[Row], scale: int) -> Iterator[tuple[int, SampledBatch]]:
    """Batches of the rows, and how many of the rows are in each."""
    start = 0
    for size in _plan(len(rows), tuple(self._seconds[scale].items())):
      part = rows[start : start + size]
      start += size
      yield len(part), self._dispatch(part, size)

  def _dispatch(self, rows: Sequence[Row], size: int) -> SampledBatch:
    stretch = self.model.settings.sampling.stretch
    return dispatch(self._sampler, rows, size, stretch=stretch)


def _joins(job: _Sampling | _Encoding, first: _Sampling, count: int) -> bool:
  """Whether a request fits into the batch of another one, which has `count` rows by now."""
  if not isinstance(job, _Sampling):
    return False
  return job.scale == first.scale and count + len(job.rows) <= MAX_SAMPLES


@functools.cache
def _plan(count: int, seconds: tuple[tuple[int, float], ...]) -> tuple[int, ...]:
  """Sizes of batches that hold `count` rows and take the least time together.

  Args:
    count: of rows.
    seconds: of a batch of each size.
  """
  plans: Any = [(0.0, ())]  # seconds and sizes for 0, 1, ... rows
  for rows in range(1, count + 1):
    plans.append(
      min(
        (plans[max(rows - size, 0)][0] + cost, (*plans[max(rows - size, 0)][1], size))
        for size, cost in seconds
      )
    )
  return tuple(sorted(plans[-1][1], reverse=True))


def _hidden_share(boxes: Float[np.ndarray, 'N 4']) -> float:
  """Of the first box, the area that the smaller ones cover, each counted for itself."""
  boxes = np.clip(np.nan_to_num(boxes), 0, 1)
  low, high = np.maximum(boxes[0, :2], boxes[:, :2]), np.minimum(boxes[0, 2:], boxes[:, 2:])
  areas = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
  common = np.prod(np.maximum(high - low, 0), -1)
  return float(common[areas < areas[0]].sum() / max(areas[0], 1e-6))


def _around(picture: UInt8[np.ndarray, 'H W 3'], box: Float[np.ndarray, '4']) -> Any:
  """uint8[h, w, 3]: a square of the picture around a box, as far as the picture reaches."""
  height, width = picture.shape[:2]
  scaled = np.clip(np.nan_to_num(box), 0, 1) * (width, height, width, height)
  low, high = np.minimum(scaled[:2], scaled[2:]), np.maximum(scaled[:2], scaled[2:])
  side = max(float((high - low).max()) * (1 + 2 * _MARGIN), _SMALLEST_CROP)
  sides = np.minimum(side, (width, height))
  start = np.clip((low + high - sides) / 2, 0, np.array((width, height)) - sides)
  (x0, y0), (x1, y1) = np.floor(start).astype(int), np.ceil(start + sides).astype(int)
  return picture[y0:y1, x0:x1]


def resized(picture: UInt8[np.ndarray, 'h w 3'], size: tuple[int, int]) -> np.ndarray:
  """uint8[H, W, 3]: a picture at another size, as `TrainedModel.encode` resizes."""
  height, width = size
  image = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
  return np.asarray(image)

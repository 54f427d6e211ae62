"""The engine of the studio with untrained models: batches change nothing."""

import threading
import time

import numpy as np
import pytest

from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.graphs import Pins
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.serving import engine as engine_module
from sg2im_jax.serving.engine import MAX_OBJECTS, MAX_RELATIONSHIPS, Busy, Engine
from tests.small_scenes import VOCABULARY, tiny_config, tiny_token_config
from tests.training_runs import write_untrained

pytestmark = pytest.mark.slow

GRAPH = SceneGraph(
  ('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'above', 1)), ((), (), ('red',)), ('red',)
)
BARE = SceneGraph(('grass', 'tree'), ())


def load(directory, config):
  config.data.max_attributes = 4
  model = TrainedModel.load(write_untrained(directory, config, VOCABULARY))
  model.statistics = GraphStatistics.of_graphs([GRAPH, BARE])
  return model


@pytest.fixture(scope='module')
def engine(tmp_path_factory):
  with Engine(load(tmp_path_factory.mktemp('run'), tiny_token_config())) as made:
    for index in range(len(made.objects)):
      made.example(index).result()
    yield made


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  with Engine(load(tmp_path_factory.mktemp('published'), tiny_config())) as made:
    yield made


@pytest.fixture
def held(engine, monkeypatch):
  """Keeps the engine from taking what waits, until the event is set."""
  go, following = threading.Event(), engine._sample

  def wait(jobs):
    go.wait(30)
    following(jobs)

  monkeypatch.setattr(engine, '_sample', wait)
  yield go
  go.set()


def assert_alike(found, expected):
  assert np.abs(found.pictures.astype(int) - expected.pictures).max() <= 1
  np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-5)


def pins_of(samples, index):
  """All that is known of a sample."""
  masks = samples.masks
  return Pins(
    samples.boxes[index],
    None if masks is None else masks[index],
    None if samples.latents is None else samples.latents[index],
    None if samples.image_latents is None else samples.image_latents[index],
  )


@pytest.mark.parametrize('which', ['engine', 'published'])
def test_samples_are_those_of_the_model(which, request):
  engine = request.getfixturevalue(which)
  graph = engine.check(GRAPH)
  expected = engine.model.sample(GRAPH, samples=3, seed=5)
  found = engine.sample(graph, samples=3, seed=5).result()
  assert found.graph == expected.graph and (found.latents is None) == (expected.latents is None)
  assert_alike(found, expected)


def test_what_is_given_is_used(engine):
  box = np.full((3, 4), np.nan, np.float32)
  box[1] = 0.1, 0.2, 0.8, 0.9
  graph = engine.check(GRAPH)
  expected = engine.model.sample(GRAPH, samples=2, seed=5, boxes=box)
  assert_alike(engine.sample(graph, samples=2, seed=5, pins=Pins(box)).result(), expected)


@pytest.mark.parametrize('which', ['engine', 'published'])
def test_what_is_received_gives_the_same_picture(which, request):
  engine = request.getfixturevalue(which)
  samples = engine.sample(engine.check(GRAPH), samples=2, seed=5).result()
  again = [
    engine.sample(samples.graph, samples=2, seed=5, pins=pins_of(samples, 1)).result()
    for _ in range(2)
  ]
  np.testing.assert_array_equal(again[0].pictures, again[1].pictures)
  assert np.abs(again[0].pictures[1].astype(int) - samples.pictures[1]).max() <= 1


def test_requests_share_batches_and_get_their_own_samples(engine, held, monkeypatch):
  graphs = [GRAPH, BARE, GRAPH, BARE]
  first = engine.sample(GRAPH, samples=1, seed=0)
  time.sleep(0.2)  # it is being computed
  futures = [
    engine.sample(graph, samples=count, seed=seed)
    for graph, count, seed in zip(graphs, (1, 2, 3, 9), range(4))
  ]
  batches = []
  dispatched = engine._dispatched
  monkeypatch.setattr(
    engine, '_dispatched', lambda rows, scale: batches.append(rows) or dispatched(rows, scale)
  )
  held.set()
  first.result()
  for graph, count, seed, future in zip(graphs, (1, 2, 3, 9), range(4), futures):
    assert_alike(future.result(), engine.model.sample(graph, samples=count, seed=seed))
  assert [len(rows) for rows in batches] == [1, 15]


def test_a_full_queue_is_told_and_what_was_given_up_is_left_out(engine, held):
  engine.sample(BARE, samples=1, seed=0)
  time.sleep(0.2)
  waiting = [engine.sample(BARE, samples=1, seed=0) for _ in range(engine_module._MAX_WAITING)]
  with pytest.raises(Busy):
    engine.sample(BARE, samples=1, seed=0)
  assert waiting[3].cancel()
  held.set()
  assert all(future.result() for future in waiting if not future.cancelled())


def test_large_graphs_are_compiled_when_they_come(engine):
  count = MAX_OBJECTS // 2
  graph = engine.check(SceneGraph(('sheep',) * count, ((0, 'above', 1),)))
  large, small = (engine.sample(one, samples=1, seed=0) for one in (graph, BARE))
  assert len(small.result().pictures) == 1 and not large.done()  # which waits for its program
  found = large.result()
  assert_alike(found, engine.model.sample(graph, samples=1, seed=0))


@pytest.mark.parametrize(
  'graph, message',
  [
    (SceneGraph(('sky',) * (MAX_OBJECTS + 1), ()), f'{MAX_OBJECTS + 1} objects'),
    (
      SceneGraph(('sky',), ((0, 'above', 0),) * (MAX_RELATIONSHIPS + 1)),
      f'{MAX_RELATIONSHIPS + 1} relationships',
    ),
    (SceneGraph(('ski',), ()), 'graph: object 0: unknown object name "ski"'),
  ],
)
def test_graphs_that_are_refused(engine, graph, message):
  with pytest.raises(UserError, match=message):
    engine.check(graph)


def test_a_failure_is_told_to_who_asked_and_the_engine_goes_on(engine, monkeypatch):
  with monkeypatch.context() as broken:
    broken.setattr(engine, '_dispatched', lambda rows, scale: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      engine.sample(BARE, samples=1, seed=0).result()
  assert len(engine.sample(BARE, samples=1, seed=0).result().pictures) == 1


def test_pictures_are_encoded_as_by_the_model(engine, published):
  picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  boxes = np.array([[0, 0, 0.5, 1], [0.2, 0.3, 0.9, 0.8]], np.float32)
  whole = np.concatenate([np.array([[0, 0, 1, 1]], np.float32), boxes])
  np.testing.assert_allclose(
    engine.encode(picture, boxes).result(), engine.model.encode(picture, whole), atol=1e-5
  )
  with pytest.raises(UserError, match='not a token model'):
    published.encode(picture, boxes)


def test_examples_are_crops(engine):
  for index in range(len(engine.objects)):
    height, width, channels = engine.example(index).result().shape
    assert 0 < height <= 16 and 0 < width <= 16 and channels == 3


def test_plans_take_the_least_time():
  plan = engine_module._plan
  alike = ((1, 1.0), (4, 4.0), (16, 16.0))
  assert plan(1, alike) == (1,) and sum(plan(5, alike)) == 5
  assert plan(5, ((1, 1.0), (4, 1.2), (16, 1.5))) == (16,)
  assert plan(16, ((1, 1.0), (4, 2.0), (16, 9.0))) == (4, 4, 4, 4)

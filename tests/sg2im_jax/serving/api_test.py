"""The HTTP API of the studio with an untrained model: answers, and refusals in one line."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.sampling.validation_scenes import ValidationScene
from tests.small_scenes import VOCABULARY, tiny_token_config
from tests.training_runs import start, write_untrained

pytest.importorskip('fastapi')
from fastapi.testclient import TestClient

from sg2im_jax.serving import security
from sg2im_jax.serving.api import make_app
from sg2im_jax.serving.engine import Busy, Engine

pytestmark = pytest.mark.slow

HOST = '127.0.0.1:8300'
SKY = {'objects': ['sky', 'grass'], 'relationships': [[0, 'above', 1]]}
SHEEP = {
  'objects': ['sky', 'grass', 'sheep'],
  'relationships': [[0, 'above', 1], [2, 'inside', 1], [2, 'above', 2]],
  'attributes': [[], [], ['red']],
  'scene': ['night'],
}
PIXEL = base64.b64encode(b'\0').decode()


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  config = tiny_token_config()
  config.data.max_attributes = 4
  return write_untrained(tmp_path_factory.mktemp('run'), config, VOCABULARY)


@pytest.fixture(scope='module')
def engine(workdir):
  model = TrainedModel.load(workdir)
  model.statistics = GraphStatistics.of_graphs(
    [
      SceneGraph(
        ('sky', 'grass', 'sheep'),
        ((0, 'above', 1), (2, 'inside', 1)),
        ((), (), ('red',)),
        ('night',),
      ),
      SceneGraph(('sky', 'grass', 'tree'), ((0, 'above', 1), (0, 'surrounding', 1))),
    ]
  )
  with Engine(model) as made:
    yield made


@pytest.fixture(scope='module')
def client(engine):
  app = make_app(engine, [HOST, 'localhost:8300'])
  with TestClient(app, base_url=f'http://{HOST}') as made:
    yield made


def png(height=16, width=16, kind='PNG', seed=0):
  picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
  stream = io.BytesIO()
  Image.fromarray(picture).save(stream, kind)
  return base64.b64encode(stream.getvalue()).decode()


def pixels(text):
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)


def refused(answer, status=400):
  """The message of a refusal, which is one line and has the headers."""
  assert answer.status_code == status, answer.text
  assert set(answer.json()) == {'error'}
  assert answer.headers['content-security-policy'].startswith("default-src 'none'")
  message = answer.json()['error']
  assert message and '\n' not in message and 'Traceback' not in message
  return message


def test_what_the_model_knows(client, engine):
  health = client.get('/api/health').json()
  assert health == {'status': 'ok', 'step': 0, 'fingerprint': engine.model.fingerprint}
  found = client.get('/api/model').json()
  assert found['objects'] == ['sheep', 'grass', 'sky', 'tree']
  assert found['predicates'][0] == 'left of' and len(found['predicates']) == 6
  assert (found['attributes'], found['scene_attributes']) == (['red', 'blue', 'night'], ['night'])
  assert (found['image_size'], found['mask_size']) == ([16, 16], 8)
  assert found['is_token_model'] and found['can_complete']
  assert found['attributes_of'] == {'sheep': ['red'], 'grass': [], 'sky': [], 'tree': []}
  assert found['excluding_attributes'] == [] and found['counterparts'] == {'night': {}}


def test_statistics_without_attributes_limit_none(engine, monkeypatch):
  old = GraphStatistics.from_dict({'num_scenes': 0, 'classes': {}, 'pairs': [], 'relations': []})
  for statistics in (None, old):
    monkeypatch.setattr(engine.model, 'statistics', statistics)
    with TestClient(make_app(engine, [HOST]), base_url=f'http://{HOST}') as client:
      found = client.get('/api/model').json()
    assert found['attributes_of'] == dict.fromkeys(engine.objects, found['attributes'])
    assert not found['can_complete'] and found['counterparts'] == {}


def test_the_page_comes_from_memory(client):
  assert client.get('/').headers['content-type'].startswith('text/html')
  assert client.get('/page/index.html').text == client.get('/').text
  for path in ('/page/engine.py', '/page/%2e%2e%2fengine.py', '/page/..%2f__init__.py', '/docs'):
    assert 'there is no' in refused(client.get(path), 404)
  assert client.get('/openapi.json').status_code == 200


def test_every_answer_has_the_headers(client):
  for path in ('/', '/api/health', '/nothing'):
    headers = client.get(path).headers
    assert {name.lower() for name in security.HEADERS} <= set(headers), path


def test_pictures_of_a_graph(client):
  found = client.post('/api/generate', json={'graph': SHEEP, 'seed': 3, 'samples': 2}).json()
  assert found['graph'] == SHEEP and found['seed'] == 3 and len(found['samples']) == 2
  sample = found['samples'][1]
  assert pixels(sample['picture']).shape == (16, 16, 3)
  assert np.shape(sample['boxes']) == (3, 4)
  assert [len(base64.b64decode(mask)) for mask in sample['masks']] == [256] * 3
  assert [len(base64.b64decode(latent)) for latent in sample['latents']] == [12] * 3
  assert [relation['kept'] for relation in sample['relations']][2] is None  # of one object
  for relation, (_, predicate, _) in zip(sample['relations'][:2], SHEEP['relationships']):
    assert relation['kept'] == (relation['found'] == predicate)


def test_what_is_received_can_be_given(client):
  request = {'graph': SHEEP, 'seed': 3, 'samples': 1}
  (sample,) = client.post('/api/generate', json=request).json()['samples']
  given = {name: sample[name] for name in ('boxes', 'masks', 'latents', 'image_latents')}
  (one,), (other,) = (
    client.post('/api/generate', json={**request, **given}).json()['samples'] for _ in range(2)
  )
  assert one == other and {name: one[name] for name in given} == given
  assert np.abs(pixels(one['picture']) - pixels(sample['picture'])).max() <= 1
  some = {'boxes': [None, [0.1, 0.2, 0.8, 0.9], None], 'image_latents': sample['image_latents']}
  (found,) = client.post('/api/generate', json={**request, **some}).json()['samples']
  np.testing.assert_allclose(found['boxes'][1], some['boxes'][1], atol=1e-6)
  assert found['image_latents'] == sample['image_latents']


def test_the_nearer_object_is_seen(client):
  place = [0.2, 0.2, 0.8, 0.8]
  request = {'graph': SKY, 'samples': 1, 'boxes': [place, place]}

  def picture(**more):
    (sample,) = client.post('/api/generate', json={**request, **more}).json()['samples']
    return pixels(sample['picture'])

  assert np.array_equal(picture(nearness=[0, 0]), picture())
  first, second = picture(nearness=[20, 0]), picture(nearness=[0, 20])
  difference = np.abs(first - second).mean(-1)
  assert difference[4:12, 4:12].mean() > 2 * difference[:2].mean()  # inside of the boxes


@pytest.mark.parametrize(
  'change, message',
  [
    ({'graph': {'objects': ['ski'], 'relationships': []}}, 'unknown object name "ski"'),
    ({'graph': {**SKY, 'relationships': [[0, 'above', 2]]}}, 'object index 2 is out of range'),
    ({'graph': {**SKY, 'attributes': [['red']]}}, 'expected 2 lists of names'),
    ({'graph': {'objects': ['sky'] * 64, 'relationships': []}}, 'at most 63'),
    ({'graph': {'objects': ['__image__'], 'relationships': []}}, 'every graph is given'),
    ({'seed': -1}, 'seed: Input should be greater'),
    ({'seed': '1'}, 'seed: Input should be a valid integer'),
    ({'seed': 10**400}, 'seed'),
    ({'samples': 17}, 'samples: Input should be less'),
    ({'more': 1}, 'more: Extra inputs'),
    ({'boxes': [None]}, 'boxes are 1, expected 2'),
    ({'boxes': [None, [0.5, 0, 0.5, 1]]}, 'box 1 is'),
    ({'boxes': [None, [0, 0, 1e300, 1]]}, 'boxes.1'),
    ({'nearness': [0]}, 'nearness are 1, expected 2'),
    ({'nearness': [0, 65]}, 'nearness.1'),
    ({'masks': [None, PIXEL]}, 'mask 1: 1 bytes, expected 256'),
    ({'masks': [None, '!']}, 'mask 1: not base64'),
    ({'latents': [PIXEL, None]}, 'latents 0: 1 bytes, expected 12'),
    ({'image_latents': base64.b64encode(np.full(3, np.nan, '<f4')).decode()}, 'image_latents'),
  ],
)
def test_requests_that_are_refused(client, change, message):
  content = json.dumps({'graph': SKY, **change})
  answer = client.post(
    '/api/generate', content=content, headers={'Content-Type': 'application/json'}
  )
  assert message in refused(answer)


@pytest.mark.parametrize(
  'body',
  [
    b'',
    b'{',
    b'[NaN]',
    b'{"graph": Infinity}',
    b'[' * 9999 + b']' * 9999,
    b'9' * 9999,
    b'{"text": "\\ud800"}',
    b'{"text": "\xed\xa0\x80"}',
    b'\xff\xfe',
  ],
)
def test_what_is_no_json(client, body):
  answer = client.post('/api/text', content=body, headers={'Content-Type': 'application/json'})
  assert 'not JSON' in refused(answer)


def test_other_sites_are_refused(client):
  for host in ('evil.example', 'localhost', '127.0.0.1:80', ''):
    assert 'host' in refused(client.get('/', headers={'Host': host}), 403)
  for origin in ('http://evil.example', 'null', 'https://127.0.0.1:8300', 'http://localhost:8300'):
    refused(client.post('/api/text', json={'text': 'sky'}, headers={'Origin': origin}), 403)
  own = {'Origin': f'http://{HOST}'}
  assert client.post('/api/text', json={'text': 'sky'}, headers=own).status_code == 200
  assert client.get('/', headers={'Host': 'LOCALHOST:8300'}).status_code == 200


def test_bodies_are_limited(client, monkeypatch):
  assert 'Content-Type' in refused(client.post('/api/text', content=b'{"text": "sky"}'))
  kind = {'Content-Type': 'application/json; charset=utf-8'}
  large = b' ' * (security.MAX_BODY + 1)
  assert 'too large' in refused(client.post('/api/text', content=large, headers=kind), 413)
  chunks = (large[: 2**20] for _ in range(9))
  assert 'too large' in refused(client.post('/api/text', content=chunks, headers=kind), 413)
  monkeypatch.setattr(security, '_MAX_BODIES', 10)
  answer = client.post('/api/text', content=b'{"text": "sky"}', headers=kind)
  assert 'busy' in refused(answer, 503) and answer.headers['retry-after'] == '1'
  monkeypatch.undo()
  assert client.post('/api/text', json={'text': 'sky'}).status_code == 200


def test_methods_and_paths(client):
  answer = client.put('/api/generate')
  assert 'does not know PUT' in refused(answer, 405) and answer.headers['allow'] == 'POST'
  assert 'does not know POST' in refused(client.post('/api/health', content=b'['), 405)
  refused(client.get('/api/generate/'), 404)
  refused(client.get('/api/objects/4.png'), 404)
  refused(client.get('/api/objects/x.png'))


def test_a_busy_engine_is_told(client, engine, monkeypatch):
  def full(*arguments, **options):
    raise Busy

  monkeypatch.setattr(engine, 'sample', full)
  answer = client.post('/api/generate', json={'graph': SKY})
  assert 'busy' in refused(answer, 503) and answer.headers['retry-after'] == '1'
  monkeypatch.setattr(engine, 'sample', lambda *arguments, **options: 1 / 0)
  assert 'internal' in refused(client.post('/api/generate', json={'graph': SKY}), 500)


def test_time_limits(monkeypatch):
  monkeypatch.setattr(security, '_BODY_SECONDS', 0.05)
  monkeypatch.setattr(security, '_ANSWER_SECONDS', 0.05)
  headers = [(b'host', HOST.encode()), (b'content-type', b'application/json')]

  async def app(scope, receive, send):
    await receive()
    await asyncio.sleep(5)

  async def ask(messages):
    sent = []

    async def receive():
      return messages.pop(0) if messages else await asyncio.sleep(5)

    async def send(message):
      sent.append(message)

    guard = security.Guard(app, hosts=[HOST], posts=['/'])
    await guard({'type': 'http', 'method': 'POST', 'headers': headers, 'path': '/'}, receive, send)
    return sent[0]['status'], json.loads(sent[1]['body'])['error']

  half = {'type': 'http.request', 'body': b'[', 'more_body': True}
  whole = {'type': 'http.request', 'body': b'[]', 'more_body': False}
  status, message = asyncio.run(ask([half]))
  assert status == 400 and 'did not come' in message
  status, message = asyncio.run(ask([whole]))
  assert status == 503 and 'busy' in message


def test_pictures_are_encoded(client):
  boxes = [[0, 0, 0.5, 1], [0.2, 0.3, 0.9, 0.8]]
  for kind in ('PNG', 'JPEG', 'WEBP'):
    found = client.post('/api/encode', json={'picture': png(20, 30, kind), 'boxes': boxes}).json()
    assert pixels(found['picture']).shape == (16, 16, 3) and len(found['latents']) == 2
    given = {name: found[name] for name in ('latents', 'image_latents')}
    answer = client.post('/api/generate', json={'graph': SKY, 'boxes': boxes, **given})
    assert answer.status_code == 200
  for picture in ('AAAA', png(kind='GIF'), png()[:40]):
    answer = client.post('/api/encode', json={'picture': picture, 'boxes': boxes})
    assert 'cannot be read' in refused(answer)
  huge = io.BytesIO()
  Image.new('1', (20000, 20000)).save(huge, 'PNG')
  bomb = base64.b64encode(huge.getvalue()).decode()
  answer = client.post('/api/encode', json={'picture': bomb, 'boxes': boxes})
  assert refused(answer)


def test_relations_of_classes(client):
  def ask(subject, object_):
    return client.get('/api/relations', params={'subject': subject, 'object': object_})

  found = ask('sky', 'grass').json()['predicates']
  assert [one['name'] for one in found[:2]] == ['above', 'surrounding'] and len(found) == 6
  assert [one['share'] for one in found] == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0])
  assert {one['share'] for one in ask('tree', 'tree').json()['predicates']} == {0}
  assert 'nearest' in refused(ask('ski', 'grass'))
  refused(ask('__image__', 'grass'))
  refused(client.get('/api/relations'))


def test_texts_and_completions(client):
  found = client.post('/api/text', json={'text': 'a red sheep on grass and a zorp'}).json()
  assert found['graph']['objects'] == ['sheep', 'grass'] and 'zorp' in found['not_understood'][0]
  assert [one['name'] for one in found['implied']['added']] == ['sky']
  assert found['implied']['graph']['objects'] == ['sheep', 'grass', 'sky']
  assert 'names nothing' in refused(client.post('/api/text', json={'text': 'zorp'}))
  assert 'names nothing' in refused(client.post('/api/text', json={'text': '\x1e\x13²'}))
  request = {'graph': SKY, 'objects': 2, 'seed': 1}
  found = client.post('/api/complete', json=request).json()
  assert len(found['graph']['objects']) == 4 and len(found['added']) == 2
  assert found['graph']['objects'][2] == found['added'][0]['name']
  full = {'objects': ['sky'] * 63, 'relationships': []}
  refused(client.post('/api/complete', json={'graph': full, 'objects': 1}))


def test_examples_and_example_pictures(client):
  assert client.get('/api/examples').json() == {'examples': []}  # of other names
  for index in range(4):
    answer = client.get(f'/api/objects/{index}.png')
    assert (
      answer.headers['content-type'] == 'image/png' and 'max-age' in answer.headers['cache-control']
    )
    assert Image.open(io.BytesIO(answer.content)).mode == 'RGB'


def test_real_scenes(engine):
  scene = PlacedScene(SceneGraph(('sky',), ()), np.array([[0, 0, 1, 0.5]], np.float32))
  real = ValidationScene('7', np.full((16, 16, 3), 90, np.uint8), scene)
  with TestClient(make_app(engine, [HOST], [real]), base_url=f'http://{HOST}') as client:
    (found,) = client.get('/api/scenes').json()['scenes']
  assert (found['image_id'], found['boxes']) == ('7', [[0, 0, 1, 0.5]])
  assert found['graph']['objects'] == ['sky'] and (pixels(found['picture']) == 90).all()


def test_animations(client):
  pictures = [png(seed=seed) for seed in range(3)]
  answer = client.post('/api/animation', json={'pictures': pictures, 'milliseconds': 200})
  assert answer.headers['content-type'] == 'image/webp'
  found = Image.open(io.BytesIO(answer.content))
  assert (found.n_frames, found.info['loop']) == (3, 0)
  large = io.BytesIO()
  Image.new('RGB', (2100, 2100)).save(large, 'PNG')
  large = base64.b64encode(large.getvalue()).decode()
  for wrong in ([png(), png(8)], [png(kind='JPEG')], ['AAAA'], [large]):
    refused(client.post('/api/animation', json={'pictures': wrong, 'milliseconds': 200}))


def test_the_command(workdir):
  process = start('studio', f'--workdir={workdir}', '--port=0', '--nobrowser')
  try:
    lines = iter(process.stdout.readline, '')
    address = next(line for line in lines if 'the studio is at' in line).split()[4]
    import httpx

    assert httpx.get(f'{address}api/health').json()['status'] == 'ok'
    port = address.rstrip('/').split(':')[-1]
    second = start('studio', f'--workdir={workdir}', f'--port={port}', '--nobrowser')
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2 and len(errors.splitlines()) == 1
    assert f'--port={port}: cannot listen there (address already in use' in errors
  finally:
    process.terminate()
    process.communicate(timeout=60)

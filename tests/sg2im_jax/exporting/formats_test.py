"""All forms of the model that the repository ships, beside the model: 50 graphs, and the page in a
browser without a network. `make test-onnx` runs it where jax2onnx is."""

import base64
import functools
import io
import json

import jaxtyping
import numpy as np
import pytest
from PIL import Image

from data_pipelines.drawing import sheets
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.exporting import exporter, programs, verification
from sg2im_jax.sampling.trained_model import TrainedModel
from tests.browser import Page, needs_browser
from tests.programs import optimized
from tests.training_runs import ROOT

pytest.importorskip('jax2onnx', reason='jax2onnx is not installed: see make test-onnx')
pytestmark = pytest.mark.slow

WORKDIR = ROOT / 'examples/storybook_model'
GRAPHS = 50
OF_THE_PAGE = 10
GENERATE = """
const done = arguments[arguments.length - 1];
import('studio/api.js').then((api) => api.generate(arguments[0])).then(done, (error) => (
  done({error: String(error)})));
"""
ENCODE = """
const done = arguments[arguments.length - 1];
import('studio/api.js').then((api) => api.encode(...arguments)).then(done, (error) => (
  done({error: String(error)})));
"""


@pytest.fixture(scope='module')
def model():
  jaxtyping.config.update('jaxtyping_disable', True)  # it does not know symbols in shapes
  with optimized():
    yield TrainedModel.load(WORKDIR)
  jaxtyping.config.update('jaxtyping_disable', False)


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
  """The folder of an export in each form, made when it is first asked for."""

  @functools.cache
  def make(format):
    folder = tmp_path_factory.mktemp(format) / 'exported'
    try:
      exporter.export(WORKDIR, format, folder)
    except UserError as error:
      if 'onnxruntime-web' not in str(error):
        raise
      pytest.skip(f'ONNX Runtime Web cannot be fetched: {error}')
    return folder

  return make


@pytest.mark.parametrize('format', exporter._FORMATS)
def test_pictures_are_those_of_the_model(model, exported, format):
  folder = exported(format)
  held = programs.programs(model, noise_is_given=format in ('onnx', 'page'))
  if format == 'page':
    held = held[1:]
  run = functools.partial(exporter._FORMATS[format].run, folder)
  found = verification.compare(model, held, run, GRAPHS)
  assert found.num_pictures == 2 * GRAPHS
  assert found.largest_difference <= 1
  assert found.equal_share > 0.99


@needs_browser
def test_the_page_draws_what_the_model_draws(model, exported):
  page = Page((exported('page') / 'index.html').as_uri())
  page.driver.execute_cdp_cmd('Network.enable', {})
  page.driver.execute_cdp_cmd(
    'Network.emulateNetworkConditions',
    {'offline': True, 'latency': 0, 'downloadThroughput': 0, 'uploadThroughput': 0},
  )
  for seed, graph in enumerate(verification.random_graphs(model, OF_THE_PAGE)):
    expected = model.sample(graph, samples=2, seed=seed)
    answer = page.driver.execute_async_script(
      GENERATE, {'graph': graph.to_dict(), 'seed': seed, 'samples': 2}
    )
    assert 'error' not in answer, answer
    for sample, picture in zip(answer['samples'], expected.pictures):
      drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(sample['picture']))).convert('RGB'))
      assert np.abs(drawn.astype(int) - picture).max() <= 1
    assert [one['kept'] for one in answer['samples'][0]['relations']] == _kept(expected)
  picture, boxes = expected.pictures[0], expected.boxes[0]
  encoded = page.driver.execute_async_script(
    ENCODE, base64.b64encode(sheets.png(Image.fromarray(picture))).decode(), boxes.tolist()
  )
  assert 'error' not in encoded, encoded
  latents = np.stack([np.frombuffer(base64.b64decode(one), '<f4') for one in encoded['latents']])
  wanted = model.encode(picture, np.concatenate([[[0, 0, 1, 1]], boxes]))[1:]
  assert np.abs(latents - wanted).max() < 1e-2 * np.abs(wanted).max()  # weights are rounded there
  page.driver.quit()


@needs_browser
def test_the_page_is_the_studio(exported):
  page = Page((exported('page') / 'index.html').as_uri())
  page.one('#empty button').click()
  page.wait("return document.querySelectorAll('#choices button').length === 4")
  before = page.pixels()
  assert before.std() > 10
  page.one('#anew').click()
  page.wait('return document.querySelector("#picture").src !== arguments[0]', '')
  page.idle()
  assert np.abs(page.pixels() - before).max() > 10
  address = page.run('return location.href')
  after = page.pixels()
  page.driver.get('about:blank')
  page.open(address)
  np.testing.assert_array_equal(page.pixels(), after)
  page.paste('{"objects": ["shep"], "relationships": []}')
  assert 'object name "shep"; the nearest known names are "sheep"' in page.text('#failure')
  np.testing.assert_array_equal(page.pixels(), after)
  page.paste('{"objects": ["sheep"], "relationships": []}')
  assert page.names() == ['sheep'] and page.text('#failure') == ''
  assert page.complaints() == []
  page.driver.quit()


def _kept(samples):
  """Whether each relation holds in the first sample, as the server's API says it."""
  from sg2im_jax.serving import api

  boxes, masks = samples.layout(0)
  return [one.kept for one in api._relations(samples.graph, boxes, masks)]


def test_the_description_has_what_a_client_needs(exported):
  described = json.loads((exported('onnx') / 'model.json').read_text())
  assert [*described['programs']] == ['sample', 'sample_given', 'encode']
  assert described['vocabulary']['object_name_to_idx']['sheep'] > 0

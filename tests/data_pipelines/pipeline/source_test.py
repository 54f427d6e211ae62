import concurrent.futures
import contextlib
import gc
import io
import pathlib
import pickle
import tempfile
import zipfile

import numpy as np
import pytest
from etils import epath
from etils.epath import gpath

from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError

PACKED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED


def zip_bytes(files: dict[str, bytes], compression=PACKED) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', compression) as archive:
    for path, content in files.items():
      archive.writestr(path, content)
  return buffer.getvalue()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> pathlib.Path:
  """Where nested archives are unpacked."""
  directory = tmp_path / 'temporary'
  directory.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(directory))
  return directory


def test_unpacked_and_archived_files_are_alike(tmp_path):
  (tmp_path / 'val2017').mkdir()
  (tmp_path / 'val2017' / 'a.jpg').write_bytes(b'unpacked')
  (tmp_path / 'val2017.zip').write_bytes(
    zip_bytes(
      {
        'val2017/': b'',
        'val2017/a.jpg': b'packed',
        'val2017/b.jpg': b'bb',
        'val2017/deeper/c.jpg': b'c',
      }
    )
  )
  source = Source(tmp_path)
  assert source.names('val2017') == ['a.jpg', 'b.jpg']
  assert source.open('val2017/a.jpg').read() == b'unpacked'
  assert source.open('val2017/b.jpg').read() == b'bb'
  assert (source.size('val2017/a.jpg'), source.size('val2017/b.jpg')) == (8, 2)
  assert source.find('images/val2017/b.jpg', 'val2017/b.jpg') == 'val2017/b.jpg'
  assert source.find('val2017', 'val2017/', 'val2017/d.jpg') is None
  assert source.missing(['val2017/a.jpg', 'val2017/d.jpg', 'val2017/b.jpg']) == ['val2017/d.jpg']
  for look in (source.open, source.size):
    with pytest.raises(
      FileNotFoundError, match=r'd\.jpg: no such file, neither unpacked nor in a zip archive'
    ):
      look('val2017/d.jpg')


def test_an_archive_in_the_annotations_folder(tmp_path):
  (tmp_path / 'annotations').mkdir()
  (tmp_path / 'annotations' / 'a.zip').write_bytes(
    zip_bytes({'annotations/a.json': b'{}', 'masks/1.png': b'1'})
  )
  source = Source(tmp_path)
  assert source.open('annotations/a.json').read() == b'{}'
  assert source.open('masks/1.png').read() == source.open('annotations/masks/1.png').read() == b'1'
  assert source.names('masks') == source.names('annotations/masks') == ['1.png']


@pytest.mark.parametrize('outer', [PACKED, STORED])
@pytest.mark.parametrize('inner', [PACKED, STORED])
def test_cocos_panoptic_masks_lie_in_an_archive_in_an_archive(tmp_path, temporary, outer, inner):
  rng = np.random.default_rng(0)
  masks = {f'panoptic_train2017/{index}.png': rng.bytes(5000) + bytes(5000) for index in range(20)}
  content = {
    'annotations/panoptic_train2017.json': b'{}',
    'annotations/panoptic_train2017.zip': zip_bytes({'panoptic_train2017/': b''} | masks, inner),
    '__MACOSX/annotations/._panoptic_train2017.zip': b'no archive',
  }
  (tmp_path / 'panoptic_annotations_trainval2017.zip').write_bytes(zip_bytes(content, outer))
  source = Source(tmp_path)
  assert (
    source.find('annotations/panoptic_train2017.json') and source.find('train2017/1.jpg') is None
  )
  assert not list(temporary.iterdir())  # nobody has asked for what is inside
  for path, mask in masks.items():
    assert source.open(path).read() == source.open(f'annotations/{path}').read() == mask
    assert source.size(path) == 10_000
  assert source.names('panoptic_train2017') == source.names('annotations/panoptic_train2017')
  assert len(source.names('panoptic_train2017')) == 20
  assert source.missing(['panoptic_train2017/20.png']) == ['panoptic_train2017/20.png']
  assert len(list(temporary.iterdir())) == (outer == PACKED)
  del source
  gc.collect()
  assert not list(temporary.iterdir())


def test_no_room_to_unpack(tmp_path, temporary):
  inner = zip_bytes({'masks/1.png': b'1'})
  (tmp_path / 'outer.zip').write_bytes(zip_bytes({'masks.zip': inner}))
  source = Source(tmp_path)
  with pytest.MonkeyPatch.context() as patch:

    def full(*_):
      raise OSError(28, 'No space left on device')

    patch.setattr('shutil.copyfileobj', full)
    with pytest.raises(
      UserError, match=r'masks\.zip cannot be unpacked in .* \(No space left on device\); .*TMPDIR'
    ):
      source.find('masks/1.png')
  assert source.open('masks/1.png').read() == b'1'


@pytest.mark.parametrize(
  'content', [zip_bytes({'a.txt': b'a' * 1000})[:-10], b'', b'<html>Not found</html>']
)
def test_an_archive_that_was_cut_off(tmp_path, content):
  (tmp_path / 'train2017.zip').write_bytes(content)
  with pytest.raises(
    UserError, match=r'train2017\.zip: no whole zip archive \(.+\); it may have been cut off'
  ):
    Source(tmp_path).find('a.txt')


def test_damage_inside_an_archive_is_noticed(tmp_path):
  content = bytearray(zip_bytes({'a.txt': b'a' * 1000, 'b.txt': b'b'}, STORED))
  content[500] ^= 1
  (tmp_path / 'a.zip').write_bytes(content)
  source = Source(tmp_path)
  with pytest.raises(zipfile.BadZipFile, match='Bad CRC-32'):
    source.open('a.txt').read()
  assert source.open('b.txt').read() == b'b'
  content[:4] = b'gone'
  (tmp_path / 'a.zip').write_bytes(content)
  with pytest.raises(zipfile.BadZipFile, match=r'a\.txt is not where'):
    source.open('a.txt')


@pytest.mark.parametrize('compression', [PACKED, STORED])
def test_many_threads_read_at_once(tmp_path, compression):
  rng = np.random.default_rng(0)
  files = {
    f'images/{index}.jpg': rng.bytes(int(size))
    for index, size in enumerate(rng.integers(1, 100_000, 100))
  }
  nested = {
    'outer/masks.zip': zip_bytes(
      {f'masks/{path}': content for path, content in files.items()}, compression
    )
  }
  (tmp_path / 'images.zip').write_bytes(zip_bytes(files, compression))
  (tmp_path / 'outer.zip').write_bytes(zip_bytes(nested, compression))
  source = Source(tmp_path)

  def is_right(path: str) -> bool:
    with source.open(path) as file, source.open(f'masks/{path}') as same:
      parts = [(file.read(999), same.read(999)) for _ in range(3)] + [(file.read(), same.read())]
    return all(b''.join(part) == files[path] for part in zip(*parts))

  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    assert all(pool.map(is_right, [*files] * 5))


def test_an_empty_or_missing_directory_has_nothing(tmp_path):
  (tmp_path / 'folder.zip').mkdir()
  assert Source(tmp_path).names('images') == []
  assert Source(tmp_path / 'nowhere').missing(['a']) == ['a']


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> str:
  """gs://bucket, which lies in a directory; opened as epath opens what is in a cloud."""
  directory = tmp_path / 'cloud'
  directory.mkdir()

  def local(function):
    return lambda original, path, *rest, **options: function(
      original, str(path).replace('gs://bucket', str(directory)), *rest, **options
    )

  @contextlib.contextmanager
  def opened(original, path, mode):
    with original(path, mode) as file:
      yield file

  def same(original, path, **options):
    return original(path, **options)

  def glob(original, path):
    return [found.replace(str(directory), 'gs://bucket') for found in original(path)]

  monkeypatch.setattr(gpath, '_is_tf_installed', lambda: False)
  names = ('exists', 'isdir', 'listdir', 'stat', 'walk')
  with epath.testing.mock_epath(
    open=local(opened), glob=local(glob), **{name: local(same) for name in names}
  ):
    yield 'gs://bucket'


def test_files_in_a_cloud(tmp_path, bucket, temporary):
  folder = tmp_path / 'cloud' / 'coco'
  (folder / 'val2017').mkdir(parents=True)
  (folder / 'val2017' / 'a.jpg').write_bytes(b'unpacked')
  inner = zip_bytes({'masks/m.png': b'mask' * 1000})
  (folder / 'val2017.zip').write_bytes(zip_bytes({'val2017/b.jpg': b'bb' * 5000}))
  (folder / 'masks.zip').write_bytes(zip_bytes({'annotations/masks.zip': inner}, STORED))
  source = pickle.loads(pickle.dumps(Source(f'{bucket}/coco')))
  assert str(source.directory / 'a') == 'gs://bucket/coco/a'
  assert source.names('val2017') == ['a.jpg', 'b.jpg'] and source.has_files('val2017')
  assert not source.has_files('train2017')
  for path, content in (
    ('val2017/a.jpg', b'unpacked'),
    ('val2017/b.jpg', b'bb' * 5000),
    ('masks/m.png', b'mask' * 1000),
  ):
    assert source.size(path) == len(content)
    with source.open(path) as file:
      assert file.read() == content
  assert source.missing(['val2017/a.jpg', 'val2017/c.jpg']) == ['val2017/c.jpg']
  with pytest.raises(FileNotFoundError, match=r'gs://bucket/coco/val2017/c\.jpg: no such file'):
    source.open('val2017/c.jpg')


def test_a_copy_in_another_process_reads_the_same_files(tmp_path):
  (tmp_path / 'val2017.zip').write_bytes(zip_bytes({'val2017/a.jpg': b'packed'}))
  source = Source(tmp_path)
  assert source.find('val2017/a.jpg')  # the archive is open
  with pickle.loads(pickle.dumps(source)).open('val2017/a.jpg') as file:
    assert file.read() == b'packed'

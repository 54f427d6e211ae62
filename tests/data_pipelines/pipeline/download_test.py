"""All servers here are on this machine."""

import hashlib
import http.server
import io
import logging
import os
import pathlib
import shutil
import threading
import time
import zipfile
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import command_line, data_sets
from data_pipelines.coco import official_files
from data_pipelines.pipeline import download
from data_pipelines.pipeline.download import DataSetFiles, OfficialFile
from data_pipelines.scene_graphs.errors import UserError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
HOMEPAGE = 'https://example.org/data'


class Server(http.server.ThreadingHTTPServer):
  """Serves `files` by name; answers and breaks off as the test asks."""

  def __init__(self):
    super().__init__(('127.0.0.1', 0), Handler)
    self.files: dict[str, bytes] = {}
    self.has_ranges = True
    self.tells_size = True
    self.content_type = 'application/octet-stream'
    self.cuts: list[int] = []  # bytes after which the next connections break off
    self.statuses: list[int] = []  # of the next answers
    self.requested: list[tuple[str, str | None]] = []  # path and Range

  def file(self, name: str, content: bytes, **values) -> OfficialFile:
    self.files[f'/{name}'] = content
    return OfficialFile(f'http://127.0.0.1:{self.server_port}/{name}', **values)

  def handle_error(self, request, client_address):
    pass  # a client that has what it wants closes the connection


class Handler(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    server, asked = self.server, self.headers['Range']
    server.requested.append((self.path, asked))
    if server.statuses:
      return self.send_error(server.statuses.pop(0))
    content = server.files.get(self.path)
    if content is None:
      return self.send_error(404)
    start = int(asked.removeprefix('bytes=').rstrip('-')) if asked and server.has_ranges else 0
    if start and start >= len(content):
      return self.send_error(416)
    self.send_response(206 if start else 200)
    if start:
      self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
    if server.tells_size:
      self.send_header('Content-Length', str(len(content) - start))
    self.send_header('Content-Type', server.content_type)
    self.end_headers()
    body = content[start:]
    if server.cuts:
      body = body[: server.cuts.pop(0)]
    self.wfile.write(body)

  def log_message(self, *_):
    pass


@pytest.fixture
def server(monkeypatch):
  for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
    monkeypatch.delenv(name, raising=False)
  with Server() as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
  waited = []
  monkeypatch.setattr(time, 'sleep', waited.append)
  return waited


def fetch(directory, *files: OfficialFile):
  download.fetch(DataSetFiles(HOMEPAGE, files), directory, listener=command_line.Console())


def known(content: bytes) -> dict:
  return {'size': len(content), 'sha256': hashlib.sha256(content).hexdigest()}


def archive(content: bytes = CONTENT) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as written:
    written.writestr(zipfile.ZipInfo('a.bin'), content)  # the same bytes at any time
  return buffer.getvalue()


def test_fetches_and_checks_once(server, tmp_path, capsys):
  files = [
    server.file('a.zip', CONTENT, **known(CONTENT)),
    server.file('b.zip', archive()),
    server.file('c.txt', b'c'),
  ]
  fetch(tmp_path / 'new' / 'directory', *files)
  assert {path.name: path.read_bytes() for path in (tmp_path / 'new/directory').iterdir()} == {
    'a.zip': CONTENT,
    'b.zip': archive(),
    'c.txt': b'c',
  }
  printed = capsys.readouterr()
  assert printed.out == ''
  assert 'a.zip, b.zip, c.txt: 6.0 MB to download into' in printed.err
  assert 'a.zip: 3.0 MB of 3.0 MB' in printed.err
  assert 's left' in printed.err
  server.requested.clear()
  fetch(tmp_path / 'new' / 'directory', *files)
  assert not server.requested
  assert 'has all 3 files already' in capsys.readouterr().err


def test_progress_is_logged_where_nobody_listens(server, tmp_path, capsys, caplog):
  with caplog.at_level(logging.INFO, logger='absl'):  # which a command in this process has raised
    download.fetch(DataSetFiles(HOMEPAGE, (server.file('a.txt', b'a'),)), tmp_path)
  assert 'a.txt: 1 bytes to download into' in caplog.text
  assert 'a.txt: 1 bytes of 1 bytes' in caplog.text
  assert capsys.readouterr() == ('', '')


def test_goes_on_after_a_cut_connection(server, tmp_path, waits, capsys):
  server.cuts = [1_000_000, 500_000]
  fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip').read_bytes() == CONTENT
  assert [asked for _, asked in server.requested] == [None, 'bytes=1000000-', 'bytes=1500000-']
  assert waits == [1, 1]  # bytes came each time, so patience begins anew
  assert (
    'a.zip: the connection broke off at 1.0 MB of 3.0 MB; trying again in 1 s'
    in capsys.readouterr().err
  )


def test_goes_on_in_a_later_run(server, tmp_path, capsys):
  (tmp_path / 'a.zip.part').write_bytes(CONTENT[:2_000_000])
  fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip').read_bytes() == CONTENT
  assert not (tmp_path / 'a.zip.part').exists()
  assert server.requested == [('/a.zip', 'bytes=2000000-')]
  assert 'a.zip: 1.0 MB to download' in capsys.readouterr().err


def test_a_whole_part_is_only_checked(server, tmp_path):
  (tmp_path / 'a.zip.part').write_bytes(CONTENT)
  fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip').exists() and not server.requested


def test_a_server_without_ranges(server, tmp_path, capsys):
  server.has_ranges = False
  server.cuts = [1_000_000]
  fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip').read_bytes() == CONTENT
  assert 'the server cannot continue a file; starting again' in capsys.readouterr().err


def test_a_server_that_tells_no_size(server, tmp_path):
  server.tells_size = False
  (tmp_path / 'a.txt.part').write_bytes(b'nobody can tell whether this is the beginning')
  fetch(tmp_path, server.file('a.txt', CONTENT), server.file('b.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.txt').read_bytes() == (tmp_path / 'b.zip').read_bytes() == CONTENT


def test_gives_up_when_nothing_comes_and_keeps_what_has(server, tmp_path, waits):
  server.cuts = [1_000_000] + [0] * 5
  with pytest.raises(
    UserError, match=r'the connection broke off at 1\.0 MB of 3\.0 MB, 5 times in a row; check the'
  ):
    fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip.part').read_bytes() == CONTENT[:1_000_000]
  assert waits == [1, 2, 4, 8]
  assert not (tmp_path / 'a.zip').exists()


def test_a_busy_server(server, tmp_path, waits):
  server.statuses = [503, 429, 500, 502]
  fetch(tmp_path, server.file('a.txt', b'a'))
  assert (tmp_path / 'a.txt').read_bytes() == b'a'
  assert waits == [1, 2, 4, 8]


@pytest.mark.parametrize('content', [{}, known(CONTENT)])
def test_a_file_that_is_gone(server, tmp_path, waits, content):
  file = server.file('a.zip', CONTENT, **content)
  server.files.clear()
  with pytest.raises(
    UserError,
    match=f'a.zip: HTTP 404 Not Found; the file may have moved: look for it on {HOMEPAGE}',
  ):
    fetch(tmp_path, file)
  assert not waits


def test_no_network(tmp_path, waits):
  with Server() as server:
    file = server.file('a.zip', CONTENT)
  with pytest.raises(
    UserError, match=r'a\.zip: cannot be reached \(.*refused.*\), 5 times in a row; check'
  ):
    fetch(tmp_path, file)
  assert waits == [1, 2, 4, 8]


def test_a_wrong_checksum(server, tmp_path):
  file = server.file('a.zip', CONTENT, **known(CONTENT))
  server.files['/a.zip'] = CONTENT[:-1] + b'?'
  with pytest.raises(
    UserError, match=rf'has SHA-256 [0-9a-f]+, expected {file.sha256}; it was deleted: run again'
  ):
    fetch(tmp_path, file)
  assert not list(tmp_path.iterdir())


def test_damage_in_an_archive_without_a_checksum(server, tmp_path):
  content = bytearray(archive())
  content[1000] ^= 1
  with pytest.raises(UserError, match=r'a\.bin in it is damaged; it was deleted'):
    fetch(tmp_path, server.file('a.zip', bytes(content)))
  with pytest.raises(
    UserError, match=r'is no whole zip archive \(File is not a zip file\); it was deleted'
  ):
    fetch(tmp_path, server.file('a.zip', CONTENT))
  assert not list(tmp_path.iterdir())


def test_another_size_than_the_official_one(server, tmp_path):
  (tmp_path / 'a.zip.part').write_bytes(CONTENT[:100])
  with pytest.raises(
    UserError, match=r'a\.zip: is 3000000 bytes long, expected 4000000; the file has changed'
  ):
    fetch(tmp_path, server.file('a.zip', CONTENT, size=4_000_000))
  assert (tmp_path / 'a.zip.part').read_bytes() == CONTENT[:100]


def test_a_web_page_in_place_of_the_file(server, tmp_path):
  server.content_type = 'text/html; charset=utf-8'
  with pytest.raises(UserError, match=r'a\.txt: a web page came in place of the file'):
    fetch(tmp_path, server.file('a.txt', b'<html>'))
  assert not list(tmp_path.iterdir())


def test_files_that_lie_there_already(server, tmp_path):
  file = server.file('a.zip', CONTENT, **known(CONTENT))
  (tmp_path / 'a.zip').write_bytes(CONTENT[:100])
  with pytest.raises(
    UserError, match=r'has 100 bytes, the official file 3000000; .* rename it to a\.zip\.part'
  ):
    fetch(tmp_path, file)
  (tmp_path / 'a.zip').rename(tmp_path / 'a.zip.part')
  fetch(tmp_path, file)
  assert (tmp_path / 'a.zip').read_bytes() == CONTENT
  (tmp_path / 'b.zip.part').write_bytes(CONTENT + b'more')
  with pytest.raises(
    UserError, match=r'b\.zip\.part: has 3000004 bytes, more than the 3000000 of the whole file'
  ):
    fetch(tmp_path, server.file('b.zip', CONTENT, **known(CONTENT)))


def test_no_room_is_said_before_anything_is_fetched(server, tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=1_500_000))
  file = server.file('a.zip', CONTENT, **known(CONTENT))
  with pytest.raises(
    UserError, match=r'has room for 1\.5 MB, but 3\.0 MB are to be downloaded; make room'
  ):
    fetch(tmp_path, file)
  assert not server.requested
  (tmp_path / 'a.zip.part').write_bytes(CONTENT[:1_500_000])  # the rest has room
  fetch(tmp_path, file)
  assert (tmp_path / 'a.zip').read_bytes() == CONTENT


@pytest.mark.skipif(
  not os.path.exists('/dev/full'), reason='needs /dev/full, a device without room'
)
def test_the_disk_fills_up(server, tmp_path, monkeypatch):
  open_file = type(tmp_path).open

  def full(path, mode='r', *arguments):
    return (
      open('/dev/full', mode) if 'b' in mode and mode != 'rb' else open_file(path, mode, *arguments)
    )

  (tmp_path / 'a.zip.part').write_bytes(CONTENT[:100])
  monkeypatch.setattr(type(tmp_path), 'open', full)
  with pytest.raises(
    UserError, match=r'a\.zip\.part: cannot be written \(No space left on device\); make room'
  ):
    fetch(tmp_path, server.file('a.zip', CONTENT, **known(CONTENT)))
  assert (tmp_path / 'a.zip.part').read_bytes() == CONTENT[:100]


def test_a_directory_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'file/new: cannot be made \(Not a directory\)'):
    fetch(tmp_path / 'file' / 'new')


def test_the_official_files():
  official = {one.name: one.files for one in data_sets.DATA_SETS if one.files is not None}
  assert set(official) == {'coco_stuff', 'coco_panoptic', 'visual_genome'}
  for data_set in official.values():
    assert data_set.homepage.startswith('https://')
    assert len({file.name for file in data_set.files}) == len(data_set.files)
    for file in data_set.files:
      assert urlsplit(file.url).scheme in ('http', 'https')
      assert (file.sha256 is None) == (file.size is None)
      # What comes over http is not protected on its way, so it is checked, or is an archive that is
      # never run.
      assert (
        file.sha256
        or file.url.startswith('https://')
        or file.name == 'stuff_annotations_trainval2017.zip'
      )
      assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))


def test_sums_of_coco_are_those_of_tensorflow_datasets():
  path = pathlib.Path(tfds.__file__).parent / 'url_checksums' / 'coco.txt'
  if not path.exists():
    pytest.skip(f'this version of tensorflow-datasets has no {path}')
  recorded = dict(line.split('\t', 1) for line in path.read_text().splitlines())
  files = {*official_files.STUFF_FILES.files, *official_files.PANOPTIC_FILES.files}
  compared = [file for file in files if file.sha256]
  assert len(compared) == 4
  for file in compared:
    assert recorded[file.url].split('\t')[:2] == [str(file.size), file.sha256]


@pytest.mark.parametrize(
  'count, text',
  [
    (0, '0 bytes'),
    (999, '999 bytes'),
    (1500, '1.5 kB'),
    (815585330, '816 MB'),
    (19336861798, '19.3 GB'),
    (2e12, '2000 GB'),
  ],
)
def test_sizes_are_readable(count, text):
  assert download._readable(count) == text


def test_progress_tells_the_time_left(monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  clock, terminal = [0.0], Terminal()
  monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
  monkeypatch.setattr('sys.stderr', terminal)
  progress = download._Progress(
    'a.zip', start=1_000_000_000, size=13_000_000_000, listener=command_line.Console()
  )
  clock[0] = 0.1
  progress.add(100_000_000)
  assert terminal.getvalue() == ''  # not so soon
  clock[0] = 10
  progress.add(900_000_000)
  assert terminal.getvalue().strip() == 'a.zip: 2.0 GB of 13.0 GB, 100 MB/s, 1m50s left'

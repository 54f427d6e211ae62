"""Official files of COCO and Visual Genome, fetched as they are; `source.Source` reads them without
unpacking.

A file is fetched into NAME.part, which a later run continues, and is renamed when it has been
checked: by its SHA-256 where one has been published for this address, otherwise by the size that
the server tells and, for a zip archive, by the checksums in it.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import itertools
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from typing import Protocol

from absl import logging

from data_pipelines.command_line import duration
from data_pipelines.scene_graphs.errors import UserError

ATTEMPTS = 5  # in a row that bring nothing
TIMEOUT = 60  # seconds without a byte
_BLOCK = 1 << 20  # bytes
_TRANSIENT = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone in a moment


@dataclasses.dataclass(frozen=True)
class OfficialFile:
  """A file to fetch.

  Attributes:
    url: where it lies; its last part is the name.
    size: bytes; None where only the server says.
    sha256: None where none has been published.
  """

  url: str
  size: int | None = None
  sha256: str | None = None

  @property
  def name(self) -> str:
    return self.url.rpartition('/')[2]


@dataclasses.dataclass(frozen=True)
class DataSetFiles:
  homepage: str  # where to look when an address has changed
  files: tuple[OfficialFile, ...]


class Listener(Protocol):
  """Is told how a download gets on."""

  def say(self, text: str):
    """A message of one line."""

  def update(self, text: str, *, is_final: bool):
    """The state of the transfer of one file, which replaces that before; often called."""


class _Log(Listener):
  def say(self, text: str):
    logging.info('%s', text)

  def update(self, text: str, *, is_final: bool):
    if is_final:
      logging.info('%s', text)


class _Interrupted(Exception):
  """A transfer that may work when it is tried again; the message is the reason."""


def fetch(
  data_set: DataSetFiles, directory: str | os.PathLike, *, listener: Listener | None = None
):
  """Fetches those files that the directory lacks.

  Args:
    data_set: the files.
    directory: where they are written; made if there is none.
    listener: is told about the progress; by default it is logged.

  Raises:
    UserError: no network, no such file, no room, or not the official file; what has been fetched is
      kept in NAME.part, unless it is wrong.
  """
  directory, listener = pathlib.Path(directory), listener or _Log()
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f'{directory}: cannot be made ({error.strerror}); choose a directory that can be written'
    ) from None
  missing = [
    file for file in data_set.files if not _is_there(file, directory / file.name, listener)
  ]
  if not missing:
    listener.say(f'{directory}: has all {len(data_set.files)} files already, nothing to download')
    return
  # A size that nobody knows counts as 0; the few files where this happens are small.
  sizes = {
    file: file.size or _size_on_server(file, data_set.homepage, listener) for file in missing
  }
  _check_room(missing, sizes, directory, listener)
  for file in missing:
    part = _part(directory / file.name)
    _transfer(file, sizes[file], part, data_set.homepage, listener)
    _check(file, part, data_set.homepage, listener)
    part.replace(directory / file.name)


def _is_there(file: OfficialFile, path: pathlib.Path, listener: Listener) -> bool:
  if not path.exists():
    return False
  found = path.stat().st_size
  if file.size not in (None, found):
    raise UserError(
      f'{path}: has {found} bytes, the official file {file.size}; move it away, or if it is the '
      f'beginning of that file, rename it to {_part(path).name} to have it continued'
    )
  listener.say(f'{path}: already there')
  return True


def _part(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + '.part')


def _size_of(path: pathlib.Path) -> int:
  return path.stat().st_size if path.exists() else 0


def _check_room(
  files: Sequence[OfficialFile],
  sizes: dict[OfficialFile, int | None],
  directory: pathlib.Path,
  listener: Listener,
):
  needed = sum(
    max((sizes[file] or 0) - _size_of(_part(directory / file.name)), 0) for file in files
  )
  free = shutil.disk_usage(directory).free
  listener.say(
    f'{", ".join(file.name for file in files)}: {_readable(needed)} to download into {directory}, '
    f'where {_readable(free)} are free'
  )
  if needed > free:
    raise UserError(
      f'{directory}: has room for {_readable(free)}, but {_readable(needed)} are to be downloaded; '
      'make '
      'room, or choose a directory on another disk'
    )


def _size_on_server(file: OfficialFile, homepage: str, listener: Listener) -> int | None:
  """Bytes; None where the server does not tell."""
  for number in itertools.count(1):
    try:
      with _open(urllib.request.Request(file.url), homepage) as response:
        length = response.headers['Content-Length']
      return int(length) if length else None
    except _Interrupted as error:
      _wait(file, error, number, listener)


def _transfer(
  file: OfficialFile, size: int | None, part: pathlib.Path, homepage: str, listener: Listener
):
  """Fetches what `part` lacks."""
  if size is not None and _size_of(part) > size:
    raise UserError(
      f'{part}: has {_size_of(part)} bytes, more than the {size} of the whole file, so it is no '
      'beginning of it; delete it'
    )
  number = 0
  while size is None or _size_of(part) != size:
    before = _size_of(part)
    try:
      return _receive(file, size, part, homepage, listener)
    except _Interrupted as error:
      number = number + 1 if _size_of(part) <= before else 1
      _wait(file, error, number, listener)


def _wait(file: OfficialFile, error: _Interrupted, number: int, listener: Listener):
  """Before the next attempt; UserError when there have been enough."""
  if number >= ATTEMPTS:
    raise UserError(
      f'{file.url}: {error}, {number} times in a row; check the network and run the same command '
      'again, '
      'which goes on from what has been fetched'
    )
  seconds = 2 ** (number - 1)
  listener.say(f'{file.name}: {error}; trying again in {seconds} s')
  time.sleep(seconds)


def _open(request: urllib.request.Request, homepage: str) -> http.client.HTTPResponse:
  request.add_header('User-Agent', 'sg2im_jax')
  try:
    response = urllib.request.urlopen(request, timeout=TIMEOUT)
  except urllib.error.HTTPError as error:
    if error.code in _TRANSIENT:
      raise _Interrupted(f'the server is not ready (HTTP {error.code} {error.reason})') from None
    raise UserError(
      f'{request.full_url}: HTTP {error.code} {error.reason}; the file may have moved: look for it '
      'on '
      f'{homepage}, put it into the directory of the download under the same name, and run '
      'again'
    ) from None
  except urllib.error.URLError as error:
    raise _Interrupted(f'cannot be reached ({error.reason})') from None
  except (http.client.HTTPException, OSError) as error:
    raise _Interrupted(f'no answer ({error or type(error).__name__})') from None
  if response.headers.get_content_type() == 'text/html':
    response.close()
    raise UserError(
      f'{request.full_url}: a web page came in place of the file, perhaps from a proxy on the way; '
      'open '
      f'the address in a browser, or see {homepage} whether the file has moved'
    )
  return response


def _receive(
  file: OfficialFile, size: int | None, part: pathlib.Path, homepage: str, listener: Listener
):
  """One connection's worth of the file, appended to `part`."""
  start = (
    0 if size is None else _size_of(part)
  )  # of a file of unknown size nobody could tell the end
  request = urllib.request.Request(file.url)
  if start:
    request.add_header('Range', f'bytes={start}-')
  with _open(request, homepage) as response:
    if start and response.status != http.HTTPStatus.PARTIAL_CONTENT:
      listener.say(f'{file.name}: the server cannot continue a file; starting again')
      start = 0
    length = response.headers['Content-Length']
    if size is not None and length is not None and start + int(length) != size:
      raise UserError(
        f'{file.url}: is {start + int(length)} bytes long, expected {size}; the file has changed: '
        'see '
        f'{homepage}'
      )
    if length is not None:
      size = start + int(length)
    with _writing(part), part.open('ab' if start else 'wb') as output:
      progress = _Progress(file.name, start, size, listener)
      while block := _read(response):
        output.write(block)
        output.flush()
        progress.add(len(block))
      progress.end()
  if size is not None and _size_of(part) != size:
    raise _Interrupted(
      f'the connection broke off at {_readable(_size_of(part))} of {_readable(size)}'
    )


def _read(response: http.client.HTTPResponse) -> bytes:
  try:
    return response.read(_BLOCK)
  except (http.client.HTTPException, OSError) as error:
    raise _Interrupted(f'the connection broke off ({error or type(error).__name__})') from None


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise UserError(
      f'{path}: cannot be written ({error.strerror}); make room, or choose another directory, '
      'and run again: what has been fetched is kept'
    ) from None


def _check(file: OfficialFile, part: pathlib.Path, homepage: str, listener: Listener):
  """UserError unless the fetched file is whole and the official one; deletes it if it is not."""
  listener.say(f'{file.name}: checking')
  fault = None
  if file.sha256 is not None:
    with part.open('rb') as content:
      found = hashlib.file_digest(content, 'sha256').hexdigest()
    if found != file.sha256:
      fault = f'has SHA-256 {found}, expected {file.sha256}'
  elif file.name.endswith('.zip'):
    try:
      with zipfile.ZipFile(part) as archive:
        damaged = archive.testzip()
      fault = damaged and f'{damaged} in it is damaged'
    except zipfile.BadZipFile as error:
      fault = f'is no whole zip archive ({error})'
  if fault:
    part.unlink()
    raise UserError(
      f'{file.url}: {fault}; it was deleted: run again to fetch it anew, and if that does not '
      'help, see '
      f'{homepage} whether the file has changed'
    )


class _Progress:
  """Tells the listener how much of a file has come, how fast, and the time left."""

  def __init__(self, name: str, start: int, size: int | None, listener: Listener):
    self._name, self._start, self._size, self._done = name, start, size, start
    self._listener, self._began = listener, time.monotonic()

  def add(self, count: int):
    self._done += count
    self._tell(is_final=False)

  def end(self):
    self._tell(is_final=True)

  def _tell(self, *, is_final: bool):
    rate = (self._done - self._start) / max(time.monotonic() - self._began, 1e-9)
    text = f'{self._name}: {_readable(self._done)}'
    if self._size is not None:
      text += f' of {_readable(self._size)}'
    text += f', {_readable(rate)}/s'
    if self._size is not None and rate:
      text += f', {duration((self._size - self._done) / rate)} left'
    self._listener.update(text, is_final=is_final)


def _readable(count: float) -> str:
  """Bytes in the unit that suits them."""
  power = next((power for power in range(3) if count < 1000 ** (power + 1)), 3)
  number = count / 1000**power
  return (
    f'{number:.0f} bytes'
    if power == 0
    else f'{number:.{0 if number >= 100 else 1}f} {" kMG"[power]}B'
  )

"""Files of a data set as it is distributed: lying in a directory, or still in the zip archives
there.
"""

import dataclasses
import io
import os
import pathlib
import shutil
import struct
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from absl import logging

from data_pipelines.scene_graphs.errors import UserError

_LOCAL_HEADER = struct.Struct(
  '<4s22xHH'
)  # what precedes a member: signature, lengths of its name and of extra fields
_SIGNATURE = b'PK\x03\x04'


class Source:
  """The files under a directory and in the zip archives that lie in it; safe to read from several
  threads.

  A file that lies unpacked comes before one of the same path in an archive. Archives are looked for
  in the directory itself and in its folder `annotations`. What an archive in a folder holds is
  found with that folder before its path and without it, as it may have been unpacked in either
  place. An archive FOLDER.zip inside an archive, which is how COCO distributes its panoptic masks,
  is searched for the files of FOLDER.
  """

  def __init__(self, directory: str | os.PathLike):
    self.directory = pathlib.Path(directory)
    self._archives: list[_Archive] | None = None
    self._nested: dict[tuple[_Archive, str], _Archive] = {}
    self._lock = threading.RLock()

  def find(self, *paths: str) -> str | None:
    """The first of the relative paths that there is, None if there is none of them."""
    return next(
      (path for path in paths if (self.directory / path).is_file() or self._locate(path)), None
    )

  def size(self, path: str) -> int:
    """Bytes of a file when it is unpacked."""
    unpacked = self.directory / path
    if unpacked.is_file():
      return unpacked.stat().st_size
    _, member = self._member(path)
    return member.file_size

  def open(self, path: str) -> io.BufferedIOBase:
    """The file, to be read; from an archive, its sum is checked when its end is reached.

    Raises FileNotFoundError if there is no such file, zipfile.BadZipFile, zlib.error or OSError,
    here or in reading, if it cannot be read.
    """
    unpacked = self.directory / path
    if unpacked.is_file():
      return unpacked.open('rb')
    archive, member = self._member(path)
    return archive.open(member)

  def names(self, folder: str) -> list[str]:
    """The files of a folder, unpacked and archived, without their folder; sorted."""
    prefix = f'{folder}/'
    found = {path.name for path in (self.directory / folder).glob('*') if path.is_file()}
    for archive in self._archives_of(prefix):
      found |= {path.removeprefix(prefix) for path in archive.paths() if path.startswith(prefix)}
    return sorted(name for name in found if name and '/' not in name)

  def missing(self, paths: Iterable[str]) -> list[str]:
    """Those of the relative paths that there are not."""
    return [path for path in paths if self.find(path) is None]

  def _member(self, path: str) -> tuple['_Archive', zipfile.ZipInfo]:
    located = self._locate(path)
    if located is None:
      raise FileNotFoundError(
        f'{self.directory / path}: no such file, neither unpacked nor in a zip archive'
      )
    return located

  def _locate(self, path: str) -> tuple['_Archive', zipfile.ZipInfo] | None:
    for archive in self._archives_of(path):
      member = archive.member(path)
      if member is not None:
        return archive, member
    return None

  def _archives_of(self, path: str) -> Iterator['_Archive']:
    """The archives that may hold the path; those within others come last, as opening them may take
    seconds.
    """
    archives = self._opened()
    yield from archives
    for archive in archives:
      for member in archive.nested:
        folder, _, name = member.filename.removesuffix('.zip').rpartition('/')
        if path.startswith((f'{name}/', f'{folder}/{name}/')):
          yield self._open_nested(archive, member)

  def _opened(self) -> list['_Archive']:
    with self._lock:
      if self._archives is None:
        paths = sorted([*self.directory.glob('*.zip'), *self.directory.glob('annotations/*.zip')])
        self._archives = [
          _Archive(
            _Region(path, 0, path.stat().st_size),
            path.parent.relative_to(self.directory).as_posix(),
            str(path),
          )
          for path in paths
          if path.is_file()
        ]
      return self._archives

  def _open_nested(self, archive: '_Archive', member: zipfile.ZipInfo) -> '_Archive':
    with self._lock:
      key = (archive, member.filename)
      if key not in self._nested:
        name = f'{archive.name}: {member.filename}'
        if member.compress_type == zipfile.ZIP_STORED:
          region = archive.region_of(member)
        else:
          region = self._unpack(archive, member, name)
        self._nested[key] = _Archive(region, member.filename.rpartition('/')[0], name)
      return self._nested[key]

  def _unpack(self, archive: '_Archive', member: zipfile.ZipInfo, name: str) -> '_Region':
    """The member in a temporary file that goes with this object: one cannot jump to and fro in
    compressed bytes.
    """
    logging.info('%s: unpacking %.1f MB, for the time of this run.', name, member.file_size / 1e6)
    directory = tempfile.mkdtemp()
    weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
    path = pathlib.Path(directory) / 'member.zip'
    try:
      with archive.open(member) as packed, path.open('wb') as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
      raise _broken(archive.name, error) from error
    except OSError as error:
      raise UserError(
        f'{name} cannot be unpacked in {directory} ({error.strerror}); it needs '
        f'{member.file_size / 1e6:.0f} MB there: set TMPDIR to a directory with room, or unzip it '
        f'in {self.directory} yourself'
      ) from error
    return _Region(path, 0, member.file_size)


class _Archive:
  """What one zip archive holds. Every reader opens the file anew, so that threads do not wait for
  one another.
  """

  def __init__(self, region: '_Region', folder: str, name: str):
    self.name = name
    self._region = region
    self._prefix = '' if folder in ('', '.') else f'{folder}/'
    try:
      with region.open() as file, zipfile.ZipFile(file) as archive:
        self._members = {
          member.filename: member for member in archive.infolist() if not member.is_dir()
        }
    except (zipfile.BadZipFile, OSError) as error:
      raise _broken(name, error) from error
    self.nested = [member for path, member in self._members.items() if path.endswith('.zip')]

  def member(self, path: str) -> zipfile.ZipInfo | None:
    return self._members.get(path) or self._members.get(path.removeprefix(self._prefix))

  def paths(self) -> Iterator[str]:
    for path in self._members:
      yield path
      yield self._prefix + path

  def open(self, member: zipfile.ZipInfo) -> io.BufferedIOBase:
    file = self._region.open()
    try:
      file.seek(self._data_start(file, member))
      return zipfile.ZipExtFile(file, 'r', member, close_fileobj=True)
    except BaseException:
      file.close()
      raise

  def region_of(self, member: zipfile.ZipInfo) -> '_Region':
    """Where the bytes of a member lie that is stored as it is."""
    with self._region.open() as file:
      return _Region(
        self._region.path, self._region.start + self._data_start(file, member), member.file_size
      )

  def _data_start(self, file: io.BufferedIOBase, member: zipfile.ZipInfo) -> int:
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_SIGNATURE):
      raise zipfile.BadZipFile(
        f'{self.name}: {member.filename} is not where the table of contents says'
      )
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    return member.header_offset + _LOCAL_HEADER.size + name_length + extra_length


@dataclasses.dataclass(frozen=True)
class _Region:
  """`size` bytes of a file from `start` on."""

  path: pathlib.Path
  start: int
  size: int

  def open(self) -> io.BufferedReader:
    file = self.path.open('rb')
    return file if self.start == 0 else io.BufferedReader(_Slice(file, self.start, self.size))


class _Slice(io.RawIOBase):
  """Part of a file as a file of its own."""

  def __init__(self, file: io.BufferedReader, start: int, size: int):
    self._file, self._start, self._size = file, start, size
    self._position = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    self._position = (
      offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
    )
    return self._position

  def readinto(self, buffer: Any) -> int:
    self._file.seek(self._start + self._position)
    count = self._file.readinto(memoryview(buffer)[: max(self._size - self._position, 0)])
    self._position += count
    return count

  def close(self):
    self._file.close()
    super().close()


def _broken(name: str, error: Exception) -> UserError:
  return UserError(
    f'{name}: no whole zip archive ({error}); it may have been cut off: download it again, or move '
    'it '
    'away'
  )

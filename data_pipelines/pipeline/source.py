"""Files of a data set as it is distributed: unpacked in a directory, or in zip archives there."""

import contextlib
import dataclasses
import io
import os
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
from etils import epath

from data_pipelines.scene_graphs.errors import UserError

# Of the header before a member: signature, lengths of its name and of extra fields.
_LOCAL_HEADER = struct.Struct('<4s22xHH')
_SIGNATURE = b'PK\x03\x04'


class Source:
  """The files under a directory and in the zip archives in it; thread-safe, and picklable.

  The directory may be in a cloud, such as gs://bucket/coco.

  An unpacked file precedes one of the same path in an archive. Archives are searched for in the
  directory itself and in its folder `annotations`. A member of an archive in a folder is found with
  and without that folder before its path, as the archive may have been unpacked in either place. An
  archive FOLDER.zip inside an archive, as in COCO's panoptic annotations, is searched for the files
  of FOLDER.
  """

  def __init__(self, directory: str | os.PathLike):
    self.directory = epath.Path(directory)
    self._archives: list[_Archive] | None = None
    self._nested: dict[tuple[_Archive, str], _Archive] = {}
    self._lock = threading.RLock()

  def __reduce__(self) -> tuple[type, tuple[str]]:
    """Each process opens the archives itself."""
    return Source, (os.fspath(self.directory),)

  def find(self, *paths: str) -> str | None:
    """The first of the relative paths that exists; None if none does."""
    return next(
      (path for path in paths if (self.directory / path).is_file() or self._locate(path)), None
    )

  def size(self, path: str) -> int:
    """Bytes of a file when it is unpacked."""
    unpacked = self.directory / path
    if unpacked.is_file():
      return unpacked.stat().length
    _, member = self._member(path)
    return member.file_size

  def open(self, path: str) -> io.BufferedIOBase:
    """The file, opened for reading; in an archive, its checksum is verified at its end.

    Raises:
      FileNotFoundError: there is no such file.
      zipfile.BadZipFile, zlib.error, OSError: it cannot be read; also raised while reading.
    """
    unpacked = self.directory / path
    if unpacked.is_file():
      return _open(unpacked)
    archive, member = self._member(path)
    return archive.open(member)

  def names(self, folder: str) -> list[str]:
    """The files of a folder, unpacked and archived, without their folder; sorted."""
    prefix = f'{folder}/'
    _, _, files = next((self.directory / folder).walk(), (None, [], []))
    found = set(files)
    for archive in self._archives_of(prefix):
      found |= {path.removeprefix(prefix) for path in archive.paths() if path.startswith(prefix)}
    return sorted(name for name in found if name and '/' not in name)

  def has_files(self, folder: str) -> bool:
    """Whether there are files in a folder or in folders of it, unpacked or archived."""
    prefix = f'{folder}/'
    if any(files for _, _, files in (self.directory / folder).walk()):
      return True
    return any(
      path.startswith(prefix) for archive in self._archives_of(prefix) for path in archive.paths()
    )

  def missing(self, paths: Iterable[str]) -> list[str]:
    """Those of the relative paths that do not exist."""
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
    """The archives that may hold the path; nested ones last, as opening them may take seconds."""
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
            _Region(path, 0, path.stat().length),
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
    """The member, which is not seekable, in a temporary file that is deleted with this object."""
    logging.info('%s: unpacking %.1f MB, for the time of this run.', name, member.file_size / 1e6)
    directory = tempfile.mkdtemp()
    weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
    path = epath.Path(directory) / 'member.zip'
    try:
      with archive.open(member) as packed, open(path, 'wb') as unpacked:
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
  """The members of one zip archive; every reader opens the file again, so threads do not wait."""

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
    """Where the bytes of an uncompressed member are."""
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

  path: epath.Path
  start: int
  size: int

  def open(self) -> io.BufferedReader:
    file = _open(self.path)
    return file if self.start == 0 else io.BufferedReader(_Slice(file, self.start, self.size))


def _open(path: epath.Path) -> io.BufferedReader:
  file = path.open('rb')
  return file if isinstance(file, io.BufferedReader) else io.BufferedReader(_CloudFile(file))


class _CloudFile(io.RawIOBase):
  """A file as `epath` opens those in a cloud: a context, in which there is what reads."""

  def __init__(self, context: contextlib.AbstractContextManager[Any]):
    self._stack = contextlib.ExitStack()
    self._file = self._stack.enter_context(context)

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    self._file.seek(offset, whence)
    return self._file.tell()

  def readinto(self, buffer: Any) -> int:
    content = self._file.read(len(buffer))
    buffer[: len(content)] = content
    return len(content)

  def close(self):
    self._stack.close()
    super().close()


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

"""Files of a data set as it is distributed: lying in a directory, or still in the zip archives there."""

import os
import pathlib
import threading
import zipfile
from collections.abc import Iterable
from typing import BinaryIO

from data_pipelines.scene_graph import UserError


class Source:
  """The files under a directory and in the zip archives that lie in it; safe to read from several threads.

  A file that lies unpacked comes before one of the same path in an archive. Archives are looked for in the directory
  itself and in its folder `annotations`.
  """

  def __init__(self, directory: str | os.PathLike):
    self.directory = pathlib.Path(directory)
    self._archives: dict[str, zipfile.ZipFile] | None = None  # by the path of each member
    self._lock = threading.Lock()

  def find(self, *paths: str) -> str | None:
    """The first of the relative paths that there is, None if there is none of them."""
    return next((path for path in paths if (self.directory / path).is_file() or path in self._members()), None)

  def size(self, path: str) -> int:
    """Bytes of a file when it is unpacked."""
    unpacked = self.directory / path
    if unpacked.is_file():
      return unpacked.stat().st_size
    return self._archive(path).getinfo(path).file_size

  def open(self, path: str) -> BinaryIO:
    """Raises FileNotFoundError if there is no such file, zipfile.BadZipFile or OSError if it cannot be read."""
    unpacked = self.directory / path
    return unpacked.open('rb') if unpacked.is_file() else self._archive(path).open(path)

  def names(self, folder: str) -> list[str]:
    """The files of a folder, unpacked and archived, without their folder; sorted."""
    prefix = f'{folder}/'
    found = {path.name for path in (self.directory / folder).glob('*') if path.is_file()}
    found |= {member.removeprefix(prefix) for member in self._members()
              if member.startswith(prefix) and '/' not in member.removeprefix(prefix)}
    return sorted(found - {''})

  def missing(self, paths: Iterable[str]) -> list[str]:
    """Those of the relative paths that there are not."""
    return [path for path in paths if self.find(path) is None]

  def _archive(self, path: str) -> zipfile.ZipFile:
    archive = self._members().get(path)
    if archive is None:
      raise FileNotFoundError(f'{self.directory / path}: no such file, neither unpacked nor in a zip archive')
    return archive

  def _members(self) -> dict[str, zipfile.ZipFile]:
    with self._lock:
      if self._archives is None:
        self._archives = {}
        for path in sorted([*self.directory.glob('*.zip'), *self.directory.glob('annotations/*.zip')]):
          try:
            archive = zipfile.ZipFile(path)
          except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f'{path}: no whole zip archive ({error}); it may have been cut off: download it again, or '
                            'move it away') from error
          self._archives.update(dict.fromkeys(archive.namelist(), archive))
      return self._archives

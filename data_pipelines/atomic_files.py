"""Files that are written atomically: complete or not at all, even if the program is killed."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

from data_pipelines.scene_graphs.errors import Fault, SettingsError

WRITING = '.writing'  # ends the name of a file that is not complete


def write(path: pathlib.Path, content: bytes):
  """Writes to another name in the same directory and renames that; a full disk leaves nothing."""
  temporary = path.with_name(path.name + WRITING)
  try:
    temporary.write_bytes(content)
    os.replace(temporary, path)
  except OSError:
    with contextlib.suppress(OSError):  # never made, or out of reach by now
      temporary.unlink()
    raise


def check_writable(directory: pathlib.Path, setting: str = 'output_dir'):
  """Tries to write to an output directory, before long work is done for it; leaves nothing there.

  Raises:
    SettingsError: of `setting`, if it cannot be written.
  """
  missing = missing_directories(directory)
  try:
    with writing_to(directory, setting):
      directory.mkdir(parents=True, exist_ok=True)
      with tempfile.NamedTemporaryFile(dir=directory, suffix=WRITING):
        pass
  finally:
    remove_unused(missing)


def missing_directories(directory: pathlib.Path) -> list[pathlib.Path]:
  """A directory and its parents, those that do not exist, the innermost first."""
  return [parent for parent in (directory, *directory.parents) if not parent.exists()]


def remove_unused(directories: Iterable[pathlib.Path]):
  """Removes directories, the innermost first, as far as nothing has been written there."""
  for directory in directories:
    with contextlib.suppress(OSError):  # in use, or not there
      directory.rmdir()


@contextlib.contextmanager
def writing_to(directory: pathlib.Path, setting: str = 'output_dir') -> Iterator[None]:
  """Turns an OSError of writing to an output directory into the SettingsError of `setting`."""
  try:
    yield
  except OSError as error:
    problem = f'is {directory}, which cannot be written ({error.strerror or error})'
    raise SettingsError(
      Fault(setting, f'{problem}; free space or choose another directory')
    ) from error

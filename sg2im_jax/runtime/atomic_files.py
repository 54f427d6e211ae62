"""Files that are written atomically: complete or not at all, even if the program is killed."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from data_pipelines.scene_graphs.errors import Fault, SettingsError

WRITING = '.writing'  # ends the name of a file that is not complete


def write(path: pathlib.Path, content: bytes):
  """Writes to another name in the same directory and renames that."""
  temporary = path.with_name(path.name + WRITING)
  temporary.write_bytes(content)
  os.replace(temporary, path)


@contextlib.contextmanager
def writing_to(directory: pathlib.Path) -> Iterator[None]:
  """Turns an OSError of writing to an output directory into the SettingsError of output_dir."""
  try:
    yield
  except OSError as error:
    problem = f'is {directory}, which cannot be written ({error.strerror or error})'
    raise SettingsError(
      Fault('output_dir', f'{problem}; free space or choose another directory')
    ) from error

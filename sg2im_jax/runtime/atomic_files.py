"""Files that are written atomically: complete or not at all, even if the program is killed."""

import os
import pathlib

WRITING = '.writing'  # ends the name of a file that is not complete


def write(path: pathlib.Path, content: bytes):
  """Writes to another name in the same directory and renames that."""
  temporary = path.with_name(path.name + WRITING)
  temporary.write_bytes(content)
  os.replace(temporary, path)

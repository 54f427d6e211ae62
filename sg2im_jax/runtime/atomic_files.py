"""Files that are there whole or not at all, whenever their writing may be interrupted."""

import os
import pathlib

WRITING = '.writing'  # ends the name of a file that is not whole yet


def write(path: pathlib.Path, content: bytes):
  """Writes a file under another name beside it, and then gives it its own."""
  temporary = path.with_name(path.name + WRITING)
  temporary.write_bytes(content)
  os.replace(temporary, path)

"""Directories as they were, to be compared with what they are."""

import contextlib
import pathlib
from collections.abc import Iterator


def snapshot(directory: pathlib.Path) -> dict[str, bytes | None]:
  """The content of every file under a directory, by path; None for the directories."""
  return {
    str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
    for path in directory.rglob('*')
  }


@contextlib.contextmanager
def unchanged(directory: pathlib.Path) -> Iterator[None]:
  """A context after which the directory has to be byte for byte as before, or absent as before."""
  existed, before = directory.exists(), snapshot(directory)
  yield
  after = snapshot(directory)
  assert directory.exists() == existed
  assert after.keys() == before.keys()
  assert [name for name in before if after[name] != before[name]] == []

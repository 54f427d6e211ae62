"""What evaluations compute once and keep on disk: features of real images, trained classifiers.

A file of arrays, named by a hash of all that they are computed from. It lies beside the compiled
programs and may be deleted at any time.
"""

import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from sg2im_jax.runtime import compilation


def path_of(kind: str, *computed_from: Any) -> pathlib.Path:
  """The file of arrays that are computed from arrays and values of JSON.

  Args:
    kind: of arrays, the folder that they lie in.
    computed_from: everything that they depend on.
  """
  digest = hashlib.sha256()
  for part in computed_from:
    if isinstance(part, np.ndarray):
      digest.update(f'{part.dtype} {part.shape}'.encode())
      digest.update(np.ascontiguousarray(part).data)
    else:
      digest.update(json.dumps(part).encode())
  return compilation.cache_directory() / kind / f'{digest.hexdigest()[:32]}.npz'


def read(path: pathlib.Path) -> dict[str, np.ndarray] | None:
  """The arrays of a file by name; None if it is not there, or not whole."""
  try:
    with np.load(path) as arrays:
      return dict(arrays)
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]):
  """Writes arrays; that it is not possible is reported and changes nothing else."""
  content = io.BytesIO()
  np.savez(content, allow_pickle=False, **arrays)
  compilation.write_to_cache(path, content.getvalue(), 'the next evaluation computes it again')

"""Runs a command where nobody can import jax or the package of the model.

TensorFlow imports jax if it can, so the commands of data must do their work without it.
"""

import pathlib
import runpy
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
  """`python -m MODULE ARGUMENTS` in a process of its own."""
  return subprocess.run(
    [sys.executable, '-m', 'tests.data_pipelines.without_jax', module, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


if __name__ == '__main__':
  sys.modules['jax'] = sys.modules['sg2im_jax'] = None  # type: ignore
  del sys.argv[0]
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)

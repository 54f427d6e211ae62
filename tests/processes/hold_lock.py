"""Holds the lock of a work directory until a line comes in, and says when it has it."""

import sys

from sg2im_jax.storage import work_directory

if __name__ == '__main__':
  (workdir,) = sys.argv[1:]
  with work_directory.locked(workdir):
    print('holds it', flush=True)
    sys.stdin.readline()

"""Compiles a program, or finds it; says whether it was traced, and what it computes."""

import jax
import numpy as np

from sg2im_jax.runtime import compilation, program_cache


def scaled(x):
  print('traced')
  return 3 * x


def main():
  compilation.configure()
  x = np.arange(3, dtype=np.float32)
  program = program_cache.CachedProgram(scaled, x, closes_over='', devices=jax.devices()[:1])
  print(program.compiled()(x).tolist())


if __name__ == '__main__':
  main()

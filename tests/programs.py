"""How tests compile: without optimisations, but for what is run long enough, or is to be run as
users run it.
"""

import contextlib

import jax


@contextlib.contextmanager
def optimized():
  """What is compiled inside is compiled as for users; conftest.py has switched that off."""
  jax.config.update('jax_disable_most_optimizations', False)
  try:
    yield
  finally:
    jax.config.update('jax_disable_most_optimizations', True)

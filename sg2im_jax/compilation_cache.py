"""Compiled programs that later runs find again."""

import os
import pathlib

import jax


def enable():
  """Keeps compiled programs in ~/.cache/sg2im_jax, unless JAX_COMPILATION_CACHE_DIR names another place."""
  if jax.config.jax_compilation_cache_dir is None:
    cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(cache) / 'sg2im_jax'))

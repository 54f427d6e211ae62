"""How programs are compiled: kept for later runs, and for a CPU with the faster of two libraries."""

import os
import pathlib

import jax

# XLA computes convolutions on CPUs by YNNPACK, whose gradients by the kernel take up to seven times
# as long as those of the library before it. An empty list of what YNNPACK may do brings that one
# back.
_CPU_LIBRARY = '--xla_cpu_experimental_ynn_fusion_type='


def configure():
  """To be called before anything is computed; what XLA_FLAGS or JAX_COMPILATION_CACHE_DIR say goes
  first.
  """
  choose_cpu_library()
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update('jax_compilation_cache_dir', str(cache_directory()))


def cache_directory() -> pathlib.Path:
  """Where this project keeps what it can make or download again."""
  return (
    pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'sg2im_jax'
  )


def choose_cpu_library():
  """Has XLA compute convolutions on CPUs by Eigen, unless XLA_FLAGS says something about it
  already.
  """
  chosen = os.environ.get('XLA_FLAGS', '')
  if _CPU_LIBRARY not in chosen:
    os.environ['XLA_FLAGS'] = f'{chosen} {_CPU_LIBRARY}'.strip()

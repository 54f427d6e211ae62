"""How the programs of the tests are compiled, in the tests' processes and in those they start.

Compiling takes longer than everything that the tests run. So it goes without optimisation, without
the emitters that lower each fusion through MLIR, and into a cache that all processes share.

JAX and XLA read these variables when they are imported: `set_up` comes before that.
"""

import os
import sys
import tempfile

_XLA_FLAGS = (
  '--xla_cpu_use_fusion_emitters=false',
  '--xla_cpu_parallel_codegen_split_count=1',
  '--xla_cpu_experimental_ynn_fusion_type=',  # as the commands choose, see runtime/compilation.py
)


def set_up():
  """Sets the variables that are not set; a process that pytest-xdist starts inherits them."""
  assert 'jax' not in sys.modules, 'JAX has been imported, and has read the variables'
  os.environ.setdefault('XLA_FLAGS', ' '.join(_XLA_FLAGS))
  os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='sg2im_jax_compiled_')
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')


def as_users() -> dict[str, str]:
  """Variables for a process that compiles as the programs of users do."""
  variables = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  for name in ('XLA_FLAGS', 'JAX_DISABLE_MOST_OPTIMIZATIONS'):
    del variables[name]
  return variables


def with_devices(count: int) -> dict[str, str]:
  """Variables for a process that has this number of CPU devices."""
  flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={count}'
  return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}

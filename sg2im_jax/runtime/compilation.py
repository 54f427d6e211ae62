"""How XLA compiles: with a persistent cache, and with the faster convolutions on CPUs."""

import os
import pathlib
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax

from data_pipelines import atomic_files
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import reporting

Result = TypeVar('Result')

# On CPUs XLA computes convolutions with YNNPACK, whose gradients with respect to the kernel take up
# to seven times as long as Eigen's. An empty list of YNNPACK's fusions makes XLA use Eigen.
_CPU_LIBRARY = '--xla_cpu_experimental_ynn_fusion_type='
# Seconds of compiling from which a program is kept: there are dozens that take less than JAX's 1 s.
_LEAST_KEPT = 0.1

configured = False  # whether `configure` has been called


def configure():
  """Sets both; call it before anything is computed.

  From then on large programs are kept in a second way, see `program_cache`. XLA_FLAGS,
  JAX_COMPILATION_CACHE_DIR and JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS take precedence.
  """
  global configured
  configured = True
  choose_cpu_library()
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', _LEAST_KEPT)
  if jax.config.values['jax_compilation_cache_dir'] is None:
    jax.config.update('jax_compilation_cache_dir', str(cache_directory()))


def cache_directory() -> pathlib.Path:
  """The directory of what this project can compile, compute or download again."""
  try:
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
  except RuntimeError:  # a user without a home, as in a container
    cache = pathlib.Path(tempfile.gettempdir())
  return cache / 'sg2im_jax'


def write_to_cache(path: pathlib.Path, content: bytes, consequence: str) -> bool:
  """Writes a file that can be made again; that it is not possible is reported, and is no error.

  Args:
    path: of the file, whose folder is made.
    content: of the file.
    consequence: of its absence, in words.

  Returns:
    Whether it is there.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, content)
  except OSError as error:
    reporting.warning(f'{path}: cannot be written ({error.strerror}); {consequence}')
    return False
  return True


def check_platform():
  """Raises UserError if JAX_PLATFORMS names a platform that is not there."""
  asked = os.environ.get('JAX_PLATFORMS')
  if not asked:
    return
  try:
    jax.devices()
  except (AssertionError, RuntimeError) as error:  # JAX fails its own check, or says why
    reason = f' ({" ".join(str(error).split())[:200]})' if str(error) else ''
    raise UserError(
      f'JAX_PLATFORMS={asked}, but JAX finds no such platform{reason}; unset it, or install JAX '
      "for it, such as pip install -e '.[gpu]'"
    ) from error


def choose_cpu_library():
  """Makes XLA compute convolutions on CPUs with Eigen, unless XLA_FLAGS sets the option already."""
  chosen = os.environ.get('XLA_FLAGS', '')
  if _CPU_LIBRARY not in chosen:
    os.environ['XLA_FLAGS'] = f'{chosen} {_CPU_LIBRARY}'.strip()


def in_background(work: Callable[[], Result]) -> Future[Result]:
  """Starts work in a thread of its own, mostly to compile or to load a program.

  XLA needs no Python, neither when it compiles, for seconds to minutes, nor when it loads a program
  from the cache, for a second or two.
  """
  executor = ThreadPoolExecutor(max_workers=1)
  result = executor.submit(work)
  executor.shutdown(wait=False)  # its thread ends with the work
  return result

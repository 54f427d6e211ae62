"""Compiled programs on disk, which need neither tracing nor compiling again.

JAX's own cache knows a program by its text, and making that text, by tracing and lowering, takes
seconds of Python. Here a program is known by all that its text is made from: the source of this
project, the versions of the libraries, JAX's configuration, the devices, the shapes of its
arguments and what its function closes over. A file of that name, `*.link`, has the name of the
program's own file, which depends on the text: after a change that leaves the text as it is, such as
that of a comment, the program is traced once more but not compiled.

Who replaces functions of this project while it runs would get the programs of those that they
replaced. So this is for processes that call `compilation.configure`, as the commands do.

The files lie in JAX's cache directory, or else in that of this project, and may be deleted at any
time. `jax_enable_compilation_cache=False` switches them off.
"""

import contextlib
import functools
import hashlib
import math
import os
import pathlib
import pickle
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib import metadata
from typing import Any, TypeVar

import jax
from jax.experimental import serialize_executable

import data_pipelines
import sg2im_jax
from sg2im_jax.runtime import compilation, reporting

Result = TypeVar('Result')

_MOST_BYTES = 2 << 30  # of all files; the ones that were not used for longest go first
_LEAST_KEPT_BY_JAX = 'jax_persistent_cache_min_compile_time_secs'
_DIGEST_BYTES = 32  # of SHA-256, before the content of a file


class _JaxCacheStopped:
  """While it is entered, by any thread, JAX's own cache keeps nothing: the option is the process's.

  Entered, it gives the seconds of compiling from which a program is kept otherwise. XLA:CPU writes
  an executable that it has read without the code of some functions. So JAX's cache must not have
  what is to be written here.
  """

  def __init__(self):
    self._lock, self._entered, self._least_kept = threading.Lock(), 0, 0.0

  def __enter__(self) -> float:
    with self._lock:
      self._entered += 1
      if self._entered == 1:
        self._least_kept = jax.config.values[_LEAST_KEPT_BY_JAX]
        jax.config.update(_LEAST_KEPT_BY_JAX, math.inf)
      return self._least_kept

  def __exit__(self, *_):
    with self._lock:
      self._entered -= 1
      if not self._entered:
        jax.config.update(_LEAST_KEPT_BY_JAX, self._least_kept)


_jax_cache_stopped = _JaxCacheStopped()


class CachedProgram:
  """A function for arguments of one shape, traced and compiled only if it is not on disk."""

  def __init__(
    self,
    function: Callable[..., Any],
    *arguments: Any,
    closes_over: str,
    devices: Sequence[Any],
    jit: Mapping[str, Any] | None = None,
    name: str | None = None,
    compiler_options: Mapping[str, Any] | None = None,
    **static: Any,
  ):
    """Neither traces nor loads anything.

    Args:
      function: what is compiled; it has a name.
      arguments: arrays, or ShapeDtypeStructs.
      closes_over: says everything that the function depends on besides its arguments and the
        source: settings, or the text of a module.
      devices: that it runs on, in the order of their mesh.
      jit: further arguments of jax.jit.
      name: of the program, for the user who waits for it; None if it is quickly compiled.
      compiler_options: of XLA, by name.
      static: the function's static arguments.
    """
    self._arguments, self._static = arguments, static
    self._devices, self._name = devices, name
    self._compiler_options = dict(compiler_options or {})
    self._is_kept = (
      compilation.configured
      and bool(_option('jax_enable_compilation_cache'))
      and jax.process_count() == 1
    )
    self._jitted: Any = jax.jit(_renamed(function) if self._is_kept else function, **(jit or {}))
    if self._is_kept:
      self._compiled_with = '\n'.join(
        [
          *_surroundings(),
          *(f'{device.id} {device.device_kind}' for device in devices),
          f'{devices[0].platform} {devices[0].client.platform_version}',
          str(sorted(self._compiler_options.items())),
        ]
      )
      traced_from = [
        f'{function.__module__} {function.__qualname__}',
        closes_over,
        str(sorted(static.items())),
        _described(arguments),
        *_traced_from(),
      ]
      self._link = _path('link', self._compiled_with, *traced_from)

  @functools.cached_property
  def _traced(self) -> Any:
    return self._jitted.trace(*self._arguments, **self._static)

  def out_shapes(self) -> Any:
    """ShapeDtypeStructs of the result, without shardings."""
    path = self._link.with_suffix('.shapes') if self._is_kept else None
    kept = path and _read(path)
    if kept:
      return pickle.loads(kept)
    shapes = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._traced.out_info
    )
    if path:
      _write(path, pickle.dumps(shapes))
    return shapes

  def in_background(self) -> Future[jax.stages.Compiled]:
    """Starts to load or to compile; what is not on disk is traced before this returns."""
    linked = _read(self._link) if self._is_kept else None
    if linked:
      path = self._link.with_name(linked.decode())
      kept = _read(path)
      if kept:
        return compilation.in_background(lambda: self._loaded(path, kept) or self._compiled())
    _ = self._lowered  # in this thread, whose configuration it depends on
    return compilation.in_background(self._compiled)

  def compiled(self) -> jax.stages.Compiled:
    """The program, loaded or compiled."""
    return self.in_background().result()

  @functools.cached_property
  def _lowered(self) -> jax.stages.Lowered:
    return self._traced.lower()

  def _loaded(self, path: pathlib.Path, kept: bytes) -> jax.stages.Compiled | None:
    """The program of a file; None if XLA cannot load it."""
    try:
      executable, in_tree, out_tree = pickle.loads(kept)
      return serialize_executable.deserialize_and_load(
        executable, in_tree, out_tree, self._devices[0].client, self._devices
      )
    except Exception as error:  # whatever XLA finds wrong with a file that is whole
      reporting.warning(f'{path}: cannot be loaded ({error}); the program is compiled again')
      path.unlink(missing_ok=True)
      return None

  def _compiled(self) -> jax.stages.Compiled:
    """Compiles the lowered program and keeps it, unless it is on disk with the same text."""
    lowered = self._lowered
    if not self._is_kept:
      return self._reported(lambda: lowered.compile(compiler_options=self._compiler_options))
    trees = f'{lowered.in_tree} {lowered.out_tree}'
    path = _path('program', self._compiled_with, trees, lowered.as_text())
    kept = _read(path)
    program = self._loaded(path, kept) if kept else None
    if program is not None:
      _write(self._link, path.name.encode())
      return program
    start = time.perf_counter()
    with _jax_cache_stopped as least_kept:
      program = self._reported(lambda: lowered.compile(compiler_options=self._compiler_options))
    if time.perf_counter() - start >= least_kept:
      self._keep(program, path)
    return program

  def _reported(self, compile_program: Callable[[], Result]) -> Result:
    if self._name is None:
      return compile_program()
    reporting.info(f'compiling {self._name}...')
    start = time.perf_counter()
    result = compile_program()
    reporting.info(f'compiled in {time.perf_counter() - start:.0f} s')
    return result

  def _keep(self, program: jax.stages.Compiled, path: pathlib.Path):
    try:
      content = pickle.dumps(serialize_executable.serialize(program))
    except Exception as error:  # whatever XLA cannot write: the program itself is in order
      reporting.warning(f'a program cannot be kept ({error}); the next start compiles it again')
      return
    if _write(path, content):
      _write(self._link, path.name.encode())


class CachedFunction:
  """A jitted function whose programs, one for each shape of its arguments, are kept on disk."""

  def __init__(self, function: Callable[..., Any], **described: Any):
    """Takes the function, and what `CachedProgram` has to know beside its arguments."""
    self._program = functools.partial(CachedProgram, function, **described)
    self._programs: dict[Any, jax.stages.Compiled] = {}

  def __call__(self, *arguments: Any, **static: Any) -> Any:
    """Like the function itself, whose static arguments are those with names."""
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    key = structure, shapes, tuple(sorted(static.items()))
    program = self._programs.get(key)
    if program is None:
      program = self._programs[key] = self._program(*arguments, **static).compiled()
    return program(*arguments)


def _renamed(function: Callable[..., Any]) -> Callable[..., Any]:
  """The function by a name that JAX's cache has no programs of; see `_JaxCacheStopped`."""

  @functools.wraps(function)
  def renamed(*arguments, **static):
    return function(*arguments, **static)

  renamed.__name__ = f'{function.__name__}_kept'
  return renamed


def _directory() -> pathlib.Path:
  chosen = _option('jax_compilation_cache_dir')
  # JAX writes to stores of a cloud, too; loading from there would take longer than tracing.
  is_local = chosen and '://' not in chosen
  return (pathlib.Path(chosen) if is_local else compilation.cache_directory()) / 'programs'


def _described(arguments: Any) -> str:
  leaves, structure = jax.tree.flatten(arguments)
  attributes = ('shape', 'dtype', 'weak_type', 'sharding')
  described = (str([getattr(leaf, name, None) for name in attributes]) for leaf in leaves)
  return '\n'.join([str(structure), *described])


def _path(suffix: str, *depends_on: str) -> pathlib.Path:
  digest = hashlib.sha256('\n'.join(depends_on).encode()).hexdigest()
  return _directory() / f'{digest[:32]}.{suffix}'


def _surroundings() -> list[str]:
  """What the code of every program depends on besides its text and its devices."""
  flags = (os.environ.get(name, '') for name in ('XLA_FLAGS', 'LIBTPU_INIT_ARGS'))
  return [*flags, *_versions('jax', 'jaxlib'), _processor(), str(_configuration())]


def _traced_from() -> list[str]:
  """What the text of every program depends on besides its function and its arguments."""
  return [*_versions('flax', 'optax'), _source()]


def _configuration() -> dict[str, Any]:
  return {name: _option(name) for name in sorted(jax.config.values) if 'cache' not in name}


def _option(name: str) -> Any:
  """An option of JAX, which a context may have changed."""
  return getattr(jax.config, name, jax.config.values[name])


@functools.cache
def _versions(*names: str) -> list[str]:
  return [f'{name} {metadata.version(name)}' for name in names]


@functools.cache
def _source() -> str:
  """A hash of this project's source."""
  digest = hashlib.sha256()
  for package in (sg2im_jax, data_pipelines):
    root = pathlib.Path(package.__path__[0])
    for path in sorted(root.rglob('*.py')):
      digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
  return digest.hexdigest()


@functools.cache
def _processor() -> str:
  """The instructions that code for this CPU may use."""
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
    return '\n'.join(line for line in lines if line.startswith(('model name', 'flags', 'Features')))
  return f'{platform.machine()} {platform.processor()}'


def _read(path: pathlib.Path) -> bytes | None:
  """The content of a file; None if it is not there, or not whole."""
  try:
    content = path.read_bytes()
    os.utime(path)  # used now
  except OSError:
    return None
  digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
  if hashlib.sha256(content).digest() != digest:
    reporting.warning(f'{path}: is not whole; the program is compiled again')
    path.unlink(missing_ok=True)
    return None
  return content


def _write(path: pathlib.Path, content: bytes) -> bool:
  """Writes a file; that it is not possible is reported and changes nothing else."""
  checked = hashlib.sha256(content).digest() + content
  written = compilation.write_to_cache(path, checked, 'the next start compiles the program again')
  if written:
    _remove_oldest(path.parent)
  return written


def _remove_oldest(directory: pathlib.Path):
  with contextlib.suppress(OSError):  # another process removes them
    files = [(path.stat().st_mtime, path.stat().st_size, path) for path in directory.iterdir()]
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
      if total <= _MOST_BYTES:
        break
      path.unlink()
      total -= size

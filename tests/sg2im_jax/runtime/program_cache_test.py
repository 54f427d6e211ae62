"""Programs are found on disk, and only where they are those of the function."""

import os
import pathlib
import random
import subprocess
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sg2im_jax.runtime import compilation, program_cache
from sg2im_jax.runtime.program_cache import CachedFunction, CachedProgram
from tests.training_runs import ROOT


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Iterator[pathlib.Path]:
  """Where programs are kept, however quickly they are compiled, see `tests/environment.py`."""
  monkeypatch.setattr(compilation, 'configured', True)
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  yield tmp_path / 'programs'
  jax.config.update('jax_compilation_cache_dir', before)


class Counted:
  """A function that counts how often it is traced, and that JAX's own cache has never seen."""

  def __init__(self, name: str = 'total'):
    self.traced, self._name, self._factor = 0, name, random.random()

  def function(self):
    def scaled(x, *, twice=False):
      self.traced += 1
      return {self._name: x.sum() * self._factor * (2 if twice else 1)}

    return scaled

  def program(self, x=None, *, closes_over='one', **static) -> CachedProgram:
    x = np.arange(3.0, dtype=np.float32) if x is None else x
    return CachedProgram(
      self.function(),
      x,
      closes_over=closes_over,
      devices=jax.devices()[:1],
      jit={'static_argnames': 'twice'},
      **static,
    )

  def expected(self, x) -> float:
    return float(np.sum(x, dtype=np.float64) * self._factor)


def suffixes(directory: pathlib.Path) -> list[str]:
  return sorted(path.suffix for path in directory.iterdir())


def test_a_program_is_traced_once_and_gives_the_same_numbers(directory):
  counted, x = Counted(), np.array([1, 2, 4], np.float32)
  first = counted.program().compiled()(x)
  assert counted.traced == 1
  again = counted.program().compiled()(x)
  assert counted.traced == 1
  assert first == again
  np.testing.assert_allclose(again['total'], counted.expected(x), rtol=1e-6)
  assert suffixes(directory) == ['.link', '.program']


def test_another_process_finds_the_program(tmp_path):
  printed = [
    subprocess.run(
      [sys.executable, '-m', 'tests.processes.kept_program'],
      cwd=ROOT,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_COMPILATION_CACHE_DIR': str(tmp_path)},
      check=True,
      capture_output=True,
      text=True,
    ).stdout.split('\n')
    for _ in range(2)
  ]
  assert printed == [['traced', '[0.0, 3.0, 6.0]', ''], ['[0.0, 3.0, 6.0]', '']]


def test_shapes_of_the_result_are_known_without_tracing():
  counted = Counted()
  shapes = counted.program().out_shapes()
  assert counted.program().out_shapes() == shapes
  assert counted.traced == 1
  assert shapes == {'total': jax.ShapeDtypeStruct((), jnp.float32)}


def test_another_reason_for_the_same_text_is_traced_but_not_compiled(directory):
  counted = Counted()
  counted.program().compiled()
  (program,) = directory.glob('*.program')
  written = program.stat().st_ino
  counted.program(closes_over='another').compiled()
  assert counted.traced == 2
  assert suffixes(directory) == ['.link', '.link', '.program']
  assert program.stat().st_ino == written
  counted.program(closes_over='another').compiled()
  assert counted.traced == 2


@pytest.mark.parametrize(
  'change',
  [
    {'x': np.zeros(4, np.float32)},
    {'x': np.zeros(3, np.int32)},
    {'twice': True},
    {'compiler_options': {'xla_backend_optimization_level': 1}},
  ],
  ids=lambda change: next(iter(change)),
)
def test_what_changes_the_program_is_another_program(directory, change):
  counted = Counted()
  counted.program().compiled()
  program = counted.program(**change).compiled()
  assert counted.traced == 2
  assert len(list(directory.glob('*.program'))) == 2
  x = change.get('x', np.ones(3, np.float32)) + 1
  factor = 2 if 'twice' in change else 1
  np.testing.assert_allclose(program(x)['total'], factor * counted.expected(x), rtol=1e-6)


def test_options_of_a_context_are_another_program():
  counted = Counted()
  counted.program().compiled()
  with jax.default_matmul_precision('highest'):
    counted.program().compiled()
  assert counted.traced == 2


def test_the_same_text_with_other_names_keeps_its_names():
  one = Counted('one')
  other = Counted('other')
  other._factor = one._factor
  one.program().compiled()
  x = np.ones(3, np.float32)
  assert list(other.program(closes_over='other').compiled()(x)) == ['other']


def test_a_donated_argument_is_donated_by_a_loaded_program():
  factor = random.random()

  def program():
    def scaled(x):
      return x * factor

    return CachedProgram(
      scaled, x, closes_over='', devices=jax.devices()[:1], jit={'donate_argnums': 0}
    ).compiled()

  x = jnp.arange(1024.0)
  program()
  expected = np.asarray(x) * np.float32(factor)
  np.testing.assert_array_equal(program()(x), expected)
  assert x.is_deleted()


@pytest.mark.parametrize('suffix', ['link', 'program', 'shapes'])
def test_a_damaged_file_is_named_and_made_again(directory, suffix, reported):
  counted, x = Counted(), np.ones(3, np.float32)
  counted.program().out_shapes()
  counted.program().compiled()
  (path,) = directory.glob(f'*.{suffix}')
  path.write_bytes(path.read_bytes()[:-1])
  program = counted.program()
  assert program.out_shapes()['total'].shape == ()
  np.testing.assert_allclose(program.compiled()(x)['total'], counted.expected(x), rtol=1e-6)
  assert f'{path}: is not whole' in reported()
  counted.program().compiled()
  assert not reported()


def test_a_whole_file_that_xla_cannot_load_is_named_and_made_again(directory, reported):
  counted, x = Counted(), np.ones(3, np.float32)
  counted.program().compiled()
  (path,) = directory.glob('*.program')
  program_cache._write(path, b'no program')
  result = counted.program().compiled()(x)['total']
  np.testing.assert_allclose(result, counted.expected(x), rtol=1e-6)
  assert f'{path}: cannot be loaded' in reported()


def test_a_directory_that_cannot_be_written_is_reported_once(directory, reported):
  directory.write_text('a file where the directory would be')
  counted, x = Counted(), np.ones(3, np.float32)
  result = counted.program().compiled()(x)['total']
  np.testing.assert_allclose(result, counted.expected(x), rtol=1e-6)
  (line,) = reported().splitlines()
  assert line.startswith(f'{directory}') and 'cannot be written' in line


def test_nothing_is_kept_for_processes_that_did_not_ask(directory, monkeypatch):
  monkeypatch.setattr(compilation, 'configured', False)
  counted = Counted()
  counted.program().compiled()
  counted.program().compiled()
  assert counted.traced == 2
  assert not directory.exists()


def test_the_programs_that_were_not_used_for_longest_go_first(directory, monkeypatch):
  counted = {name: Counted(name) for name in ('used', 'unused', 'new')}

  def compile_one(name: str):
    counted[name].program(closes_over=name).compiled()

  def counts() -> list[int]:
    return [one.traced for one in counted.values()]

  compile_one('used')
  compile_one('unused')
  size = sum(path.stat().st_size for path in directory.iterdir())
  compile_one('used')
  monkeypatch.setattr(program_cache, '_MOST_BYTES', size * 5 // 4)  # two and a half programs
  compile_one('new')
  for name in ('used', 'new'):
    compile_one(name)
  assert counts() == [1, 1, 1]
  compile_one('unused')
  assert counts() == [1, 2, 1]


def test_a_function_has_a_program_for_each_shape():
  counted = Counted()

  def function() -> CachedFunction:
    return CachedFunction(
      counted.function(),
      closes_over='',
      devices=jax.devices()[:1],
      jit={'static_argnames': 'twice'},
    )

  for cached in (function(), function()):
    for x in (np.ones(3, np.float32), np.ones(5, np.float32), np.full(3, 2, np.float32)):
      np.testing.assert_allclose(cached(x)['total'], counted.expected(x), rtol=1e-6)
    doubled = cached(np.ones(3, np.float32), twice=True)['total']
    np.testing.assert_allclose(doubled, 2 * counted.expected(np.ones(3)), rtol=1e-6)
  assert counted.traced == 3


def test_what_a_project_is_made_of_reaches_the_name_of_a_program(monkeypatch):
  counted = Counted()
  counted.program().compiled()
  monkeypatch.setattr(program_cache, '_source', lambda: 'another source')
  counted.program().compiled()
  assert counted.traced == 2

import threading

import pytest

from sg2im_jax.runtime import compilation


def test_a_program_is_compiled_beside_other_work():
  may_end = threading.Event()

  def compile_program() -> str:
    assert may_end.wait(60)
    return 'the program'

  compiled = compilation.in_background(compile_program)
  assert not compiled.done()
  may_end.set()
  assert compiled.result(60) == 'the program'


def test_a_failure_is_raised_where_the_program_is_wanted():
  def compile_program():
    raise ValueError('out of memory')

  compiled = compilation.in_background(compile_program)
  with pytest.raises(ValueError, match='out of memory'):
    compiled.result(60)

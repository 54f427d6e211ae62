"""Checks the shape annotations of a package while the tests run.

Before the package is imported (`tests/conftest.py`):

    jaxtyping.install_import_hook(['sg2im_jax.models', 'sg2im_jax.scene_batch'], CHECKER)

Every annotated function then checks its arguments and its result whenever it is called or traced.
Equal letters must be equal sizes within one call.
"""

import contextlib
import dataclasses
import functools
import inspect
import typing

import beartype
import beartype.door
import flax.linen as nn
import jaxtyping

CHECKER = 'tests.shape_checks.checked'


def checked(function):
  """beartype, which also checks the arrays inside of dataclasses that are passed or returned.

  The arrays of arguments must fit all other arguments; those of a result must fit each other.
  Constructors of dataclasses are not checked: jax builds pytrees of placeholders, shapes and
  stacked arrays with them.
  """
  if function.__name__ == '__init__':
    return function
  typed = beartype.beartype(function)
  signature = inspect.signature(function)

  @functools.wraps(function)
  def wrapper(*args, **kwargs):
    for name, value in signature.bind(*args, **kwargs).arguments.items():
      # jaxtyping passes a result as another argument: by keyword only, annotated with Any.
      parameter = signature.parameters[name]
      is_result = parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation is typing.Any
      with jaxtyping.jaxtyped('context') if is_result else contextlib.nullcontext():
        _check_fields(name, value)
    return typed(*args, **kwargs)

  return wrapper


def _check_fields(name, value):
  for field, annotation in _annotations(type(value)).items():
    array = getattr(value, field)
    if not beartype.door.is_bearable(array, annotation):
      found = f'{array.dtype}{array.shape}' if hasattr(array, 'shape') else repr(array)
      raise TypeError(f'{name}.{field} is {found}, expected {annotation}')


@functools.cache
def _annotations(cls):
  """The annotations of a dataclass's fields; none of flax modules, whose fields are settings."""
  if not dataclasses.is_dataclass(cls) or issubclass(cls, nn.Module):
    return {}
  annotations = typing.get_type_hints(cls)
  return {field.name: annotations[field.name] for field in dataclasses.fields(cls)}

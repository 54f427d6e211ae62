"""Settings that are typed, frozen, and checked all at once."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import pydantic

from data_pipelines.scene_graphs.errors import Fault, SettingsError

PositiveInt = Annotated[int, pydantic.Field(ge=1)]
NonNegativeInt = Annotated[int, pydantic.Field(ge=0)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Seed = Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)]


def not_below(name: str) -> pydantic.AfterValidator:
  """Annotation of a number that must not be less than the field `name` before it."""

  def check(value: int, info: pydantic.ValidationInfo) -> int:
    least = info.data.get(name)  # None where that field has a fault of its own
    if least is not None and value < least:
      raise ValueError(f'is {value}, expected {least} or more, which is {name}')
    return value

  return pydantic.AfterValidator(check)


# Of pydantic's kinds of errors, those whose own message does not say it in the words used here.
_LIMITS = {
  'greater_than_equal': ('ge', '{} or more'),
  'greater_than': ('gt', 'more than {}'),
  'less_than_equal': ('le', '{} or less'),
  'less_than': ('lt', 'less than {}'),
  'literal_error': ('expected', 'one of {}'),
}
_TYPES = {
  'int_type': 'a whole number',
  'int_from_float': 'a whole number',
  'float_type': 'a number',
  'bool_type': 'True or False',
  'string_type': 'text',
  'tuple_type': 'a tuple',
}


class Section(pydantic.BaseModel):
  """Settings that belong together.

  `configs/` spells settings as ml_collections.ConfigDict, which is the form of the command line.
  Everything else gets subclasses of this one, whose attributes have the names of the config's keys:
  no attribute can be set, and no key is unknown, missing or of another type.
  """

  model_config = pydantic.ConfigDict(frozen=True, extra='forbid', strict=True)

  @classmethod
  def from_values(
    cls, values: Mapping[str, Any], name: str = '', context: Mapping[str, Any] | None = None
  ) -> Self:
    """The section with these values by key.

    Args:
      values: all keys, nested as the sections are; sequences are tuples.
      name: dotted name of the section, with which the names of its settings begin; '' for none.
      context: what validators of the class need to know besides.

    Raises:
      SettingsError: names every key that is unknown or missing or has a value that does not fit.
    """
    try:
      return cls.model_validate(dict(values), context=context)
    except pydantic.ValidationError as error:
      raise SettingsError(faults_of(error, values, name)) from None

  def replace(self, **values: Any) -> Self:
    """The same settings with other values, which are checked; defaults stay defaults."""
    given = {name: getattr(self, name) for name in self.model_fields_set}
    return self.from_values({**given, **values})


def faults_of(
  error: pydantic.ValidationError, values: Mapping[str, Any], name: str = ''
) -> list[Fault]:
  """The faults that pydantic found in `values`, the settings of the section `name`."""
  faults = {}
  for entry in error.errors(include_url=False):
    location = [str(part) for part in entry['loc'] if not isinstance(part, int)]
    setting = '.'.join(([name] if name else []) + location)
    faults.setdefault(setting, Fault(setting, _problem(entry, values, location)))
  return list(faults.values())


def _problem(entry: Any, values: Mapping[str, Any], location: Sequence[str]) -> str:
  kind, context = entry['type'], entry.get('ctx', {})
  if kind == 'too_long':
    expected = f'{context["max_length"]} values'
  elif kind == 'missing' and isinstance(entry['loc'][-1], int):  # an item of a tuple
    expected = 'more values'
  elif kind == 'missing':
    return 'is missing'
  elif kind == 'extra_forbidden':
    known = list(_siblings(values, location))
    nearest = difflib.get_close_matches(location[-1], known, 1, 0)
    return 'is unknown' + (f'; the nearest is {nearest[0]}' if nearest else '')
  elif kind in _LIMITS:
    key, words = _LIMITS[kind]
    limit = context[key]
    limit = f'{limit:g}' if isinstance(limit, float) else str(limit)
    limit = limit.replace("'", '').replace(' or ', ', ')  # of the values of a literal
    expected = words.format(limit)
  elif kind in _TYPES:
    expected = _TYPES[kind]
  elif kind == 'value_error':
    return str(context['error'])
  else:
    expected = entry['msg'][0].lower() + entry['msg'][1:]
  return f'is {_shown(entry["input"])}, expected {expected}'


def _siblings(values: Any, location: Sequence[str]) -> Sequence[str]:
  for key in location[:-1]:
    values = values[key]
  return [key for key in values if key != location[-1]]


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) < 80 else f'{text[:60]}...'

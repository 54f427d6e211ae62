"""Documents with one value changed to something else, for property-based tests of readers."""

import copy
import functools
import os
from typing import Any

import hypothesis
from hypothesis import strategies as st

REMOVED = object()
VALUES = st.one_of(
  st.sampled_from([REMOVED, None, True, '', 'text', [], {}, [None], [[]], {'size': None}, -1, 0]),
  st.sampled_from([1e9, -1e300, 10**12, float('nan'), float('inf'), '__image__', 'NONE', '../x']),
  st.integers(-3, 300),
  st.floats(-100, 100),
  st.lists(st.integers(-5, 70), max_size=8),
  st.text(max_size=5),
)
# For a longer search: HYPOTHESIS_EXAMPLES=10000 python -m pytest tests/...
SEARCH = hypothesis.settings(
  max_examples=int(os.environ.get('HYPOTHESIS_EXAMPLES', '60')),
  suppress_health_check=list(hypothesis.HealthCheck),
)


def places(document: Any, path: tuple = ()) -> list[tuple]:
  """The keys that lead to every value of a document but itself."""
  items = (
    document.items()
    if isinstance(document, dict)
    else enumerate(document)
    if isinstance(document, list)
    else ()
  )
  found = []
  for key, value in items:
    found += [(*path, key), *places(value, (*path, key))]
  return found


def changed(document: Any, path: tuple, value: Any) -> Any:
  """The document with another value at a place."""
  document = copy.deepcopy(document)
  *parents, last = path
  holder = functools.reduce(lambda one, key: one[key], parents, document)
  if value is REMOVED:
    del holder[last]
  else:
    holder[last] = value
  return document


def draw_changed(data: st.DataObject, document: Any) -> tuple[Any, tuple]:
  """The document with one value changed, and the place of that."""
  path = data.draw(st.sampled_from(places(document)))
  return changed(document, path, data.draw(VALUES)), path

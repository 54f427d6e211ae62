"""Bytes that a compiled program sends between devices, from its HLO text.

`jax.stages.Compiled.as_text()` gives the text.
"""

import collections
import math
import re

_KINDS = (
  'all-reduce',
  'all-gather',
  'all-to-all',
  'ragged-all-to-all',
  'reduce-scatter',
  'collective-permute',
  'collective-broadcast',
)
# An asynchronous collective is two instructions; only the type of `-done` is that of the result.
_COLLECTIVE = re.compile(
  rf'^\s*(?:ROOT )?%?\S+ = (?P<result>.*?) (?P<kind>{"|".join(_KINDS)})(?:-done)?\(', re.M
)
_ARRAY = re.compile(r'\b(?P<dtype>[a-z]+(?P<bits>\d*)\w*)\[(?P<shape>[\d,]*)\]')


def collective_bytes(hlo_text: str) -> dict[str, int]:
  """Bytes of the results of all collectives of one device, by kind, such as {'all-reduce': 1234}.

  An instruction in a loop counts once: for a scan over steps these are the bytes of one step.
  """
  total = collections.Counter()
  for instruction in _COLLECTIVE.finditer(hlo_text):
    total[instruction['kind']] += sum(
      _bytes(array) for array in _ARRAY.finditer(instruction['result'])
    )
  return dict(total)


def _bytes(array: re.Match) -> int:
  bits = 8 if array['dtype'] == 'pred' else int(array['bits'] or 0)  # a token has none
  return math.prod(int(size) for size in array['shape'].split(',') if size) * bits // 8

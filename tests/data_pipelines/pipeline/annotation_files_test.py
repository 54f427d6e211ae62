"""Checked fields of entries."""

import pytest

from data_pipelines.pipeline.annotation_files import EntryFault, identifier


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (7, 7),
    (7.0, 7),
    ('7', 7),
    (' 7 ', 7),
    ('7\x1f', 7),
    ('0007', 7),
    ('7a', '7a'),
    ('9' * 20,) * 2,
  ],
)
def test_ids_may_be_written_as_text(value, expected):
  assert identifier({'id': value}, 'id') == expected


@pytest.mark.parametrize('value', [None, True, 7.5, '', '\x1f', float('nan'), float('inf'), [7]])
def test_what_is_no_id_is_a_fault(value):
  with pytest.raises(EntryFault, match='"id" is .*, expected an id'):
    identifier({'id': value}, 'id')

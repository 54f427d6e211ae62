import pytest

from data_pipelines import atomic_files


def test_a_file_is_written_under_its_name_alone(tmp_path):
  path = tmp_path / 'numbers'
  atomic_files.write(path, b'one')
  atomic_files.write(path, b'two')
  assert path.read_bytes() == b'two'
  assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
  path = tmp_path / 'a directory'
  path.mkdir()
  with pytest.raises(OSError, match='directory'):
    atomic_files.write(path, b'one')
  assert list(tmp_path.iterdir()) == [path]

import pytest

from benchmarks import start
from data_pipelines.scene_graphs.errors import UserError


@pytest.mark.slow
def test_why_a_training_did_not_start():
  options = start.StartOptions.from_values({'config': 'nowhere.py'})
  with pytest.raises(UserError, match='before its first step: error: --config=nowhere.py: no such'):
    start.measure(options)

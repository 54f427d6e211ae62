"""The notebook runs from the first cell to the last, on an untrained model."""

import pathlib

import nbclient
import nbformat
import pytest

from data_pipelines.configs import debug
from data_pipelines.storybook.builder import VOCABULARY
from tests.training_runs import ENVIRONMENT, ROOT, write_untrained

pytestmark = pytest.mark.slow

NOTEBOOK = ROOT / 'examples' / 'quickstart.ipynb'
MOST_BYTES = 200_000


@pytest.fixture
def workdir(tmp_path):
  """A work directory with an untrained model of the storybook."""
  config = debug.get_config()
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  config.model.gconv_num_layers, config.model.refinement_dims = 1, (8,)
  config.model.mask_size = config.data.mask_size = 2
  return write_untrained(tmp_path, config, VOCABULARY)


def test_runs(workdir: pathlib.Path, monkeypatch):
  for name, value in {**ENVIRONMENT, 'SG2IM_JAX_WORKDIR': str(workdir)}.items():
    monkeypatch.setenv(name, value)
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbclient.NotebookClient(
    notebook, timeout=300, resources={'metadata': {'path': str(NOTEBOOK.parent)}}
  ).execute()
  outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
  text = ''.join(output.get('text', '') for output in outputs)
  pictures = [output for output in outputs if 'image/png' in output.get('data', {})]
  assert 'storybook, step 0 of 20' in text
  assert 'pictures (4, 32, 32, 3) uint8' in text
  assert 'unknown object name "sheeps"; the nearest known names are "sheep"' in text
  assert len(pictures) == 4  # graph, moved sheep, its pictures, graphs that grow
  assert not any(output['output_type'] == 'error' for output in outputs)
  assert not any(output.get('name') == 'stderr' for output in outputs)


def test_is_small_and_has_no_traces_of_a_machine():
  assert NOTEBOOK.stat().st_size < MOST_BYTES
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbformat.validate(notebook)
  assert all(cell.get('execution_count') is None for cell in notebook.cells)
  assert not any(cell.get('outputs') for cell in notebook.cells)

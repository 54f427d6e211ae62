import atexit
import gc
import logging
import os
import shutil
from collections.abc import Callable

from tests import environment

environment.set_up()

import hypothesis  # noqa: E402 - all after `set_up`, as it is for JAX
import jaxtyping  # noqa: E402 - imports JAX, as the rest does
import pytest  # noqa: E402

from tests.shape_checks import CHECKER  # noqa: E402

# Before anything of the package is imported.
jaxtyping.install_import_hook(
  [
    'data_pipelines.drawing',
    'data_pipelines.scene_graphs',
    'sg2im_jax.drawing',
    'sg2im_jax.evaluation.backbones',
    'sg2im_jax.evaluation.efficientnet',
    'sg2im_jax.evaluation.inception',
    'sg2im_jax.evaluation.pictures',
    'sg2im_jax.losses',
    'sg2im_jax.metrics',
    'sg2im_jax.models',
    'sg2im_jax.scene_batch',
  ],
  CHECKER,
)

if 'PYTEST_XDIST_WORKER' not in os.environ:
  atexit.register(shutil.rmtree, os.environ['JAX_COMPILATION_CACHE_DIR'], ignore_errors=True)

# No deadline: what is timed here is a busy machine. The same examples at every run.
hypothesis.settings.register_profile('tests', deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile('tests')

# Tracing makes very many objects: by default the collector would go over all of them, and over all
# that has been imported, a thousand times.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope='session')
def directory(tmp_path_factory):
  """Where the tests of a process share prepared data sets: in `directory / 'data'`."""
  return tmp_path_factory.mktemp('training')


@pytest.fixture
def reported(caplog) -> Callable[[], str]:
  """Returns what the package has reported since the last call, a line a record of its logger."""
  caplog.set_level(logging.INFO, 'sg2im_jax')

  def lines_since() -> str:
    lines = [record.getMessage() for record in caplog.records if record.name == 'sg2im_jax']
    caplog.clear()
    return ''.join(f'{line}\n' for line in lines)

  return lines_since

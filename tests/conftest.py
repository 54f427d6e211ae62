import dataclasses
import pathlib

import jax
import jaxtyping
import pytest

from tests.shape_checks import CHECKER

jaxtyping.install_import_hook(['sg2im_jax.models', 'sg2im_jax.scene_batch'], CHECKER)

from sg2im_jax.runtime import compilation  # noqa: E402 - after the hook that checks its annotations
from tests.training_runs import NUM_STEPS, SCHEDULE, start_training  # noqa: E402

# as the commands do, whose results are compared with those of this process
compilation.choose_cpu_library()
jax.config.update(
  'jax_disable_most_optimizations', True
)  # compiling takes longer than everything that tests run


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items):
  """With --dist=loadgroup a process runs what needs the training run, or the rest of a file: things
  are made once.
  """
  for item in items:
    group = 'finished_run' if 'finished_run' in item.fixturenames else item.nodeid.split('::')[0]
    item.add_marker(pytest.mark.xdist_group(group))


@dataclasses.dataclass
class FinishedRun:
  workdir: pathlib.Path
  printed: str


@pytest.fixture(scope='session')
def directory(tmp_path_factory):
  """Where the training runs of the tests share prepared data and compiled programs."""
  return tmp_path_factory.mktemp('training')


@pytest.fixture(scope='session')
def finished_run(directory):
  """An uninterrupted training run of NUM_STEPS, by the command that users give; only to be read."""
  workdir = directory / 'finished'
  process = start_training(workdir, directory, num_steps=NUM_STEPS, **SCHEDULE)
  printed, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  return FinishedRun(workdir, printed)

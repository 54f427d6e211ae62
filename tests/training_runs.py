"""A training run that is small enough for tests, in this process or in one of its own."""

import json
import os
import pathlib
import subprocess
import sys

from configs import debug

ROOT = pathlib.Path(__file__).parents[1]
NUM_STEPS = 24
SCHEDULE = {'checkpoint_every': 3, 'eval_every': 8, 'image_grid_every': 12, 'freeze_batch_norm_after': 12}

# The compiler's optimisations would take longer than everything that the tests run.
ENVIRONMENT = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1', 'JAX_PLATFORMS': 'cpu'}


def small_config(directory: pathlib.Path):
  """configs/debug.py with its data in `directory`, and with less to compile."""
  config = debug.get_config()
  config.update_from_flattened_dict(small_settings(directory))
  return config.lock()


def small_settings(directory: pathlib.Path) -> dict:
  return {'data.data_dir': str(directory / 'data'), 'model.gconv_num_layers': 1, 'model.refinement_dims': (16, 8),
          'image_discriminator.arch': 'C4-8-2', 'object_discriminator.arch': 'C4-8-2'}


def start(module: str, *arguments: str, directory: pathlib.Path, **environment: str) -> subprocess.Popen:
  """Starts `python -m sg2im_jax.<module>`; compiled programs are shared by all that have this `directory`."""
  return subprocess.Popen(
      [sys.executable, '-m', f'sg2im_jax.{module}', *arguments], cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env={**os.environ, **ENVIRONMENT, 'JAX_COMPILATION_CACHE_DIR': str(directory / 'compiled'), **environment})


def start_training(workdir: pathlib.Path, directory: pathlib.Path, environment: dict[str, str] | None = None,
                   **settings) -> subprocess.Popen:
  overrides = [f'--config.{name}={value}' for name, value in {**small_settings(directory), **settings}.items()]
  return start('train', '--config=configs/debug.py', f'--workdir={workdir}', *overrides, directory=directory,
               **environment or {})


def records(workdir: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]

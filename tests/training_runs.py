"""A training run that is small enough for tests, in this process or in one of its own."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from data_pipelines.configs import debug

ROOT = pathlib.Path(__file__).parents[1]
NUM_STEPS = 24
SCHEDULE = {
  'checkpoint_every': 3,
  'eval_every': 8,
  'image_grid_every': 12,
  'freeze_batch_norm_after': 12,
}

# The compiler's optimisations would take longer than everything that the tests run.
ENVIRONMENT = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1', 'JAX_PLATFORMS': 'cpu'}


def small_config(directory: pathlib.Path):
  """configs/debug.py with its data in `directory`, and with less to compile."""
  config = debug.get_config()
  config.update_from_flattened_dict(small_settings(directory))
  return config.lock()


def small_settings(directory: pathlib.Path) -> dict:
  # With the usual epsilon Adam's first steps are as long for a gradient of round-off as for any
  # other, and runs that add up in another order differ by some thousandths after these few steps.
  return {
    'optimizer.eps': 0.3,
    'data.data_dir': str(directory / 'data'),
    'model.gconv_num_layers': 1,
    'model.refinement_dims': (16, 8),
    'image_discriminator.arch': 'C4-8-2',
    'object_discriminator.arch': 'C4-8-2',
  }


def start(
  module: str, *arguments: str, directory: pathlib.Path, **environment: str
) -> subprocess.Popen:
  """Starts `python -m sg2im_jax.<module>`; compiled programs are shared by all that have this
  `directory`.
  """
  return subprocess.Popen(
    [sys.executable, '-m', f'sg2im_jax.{module}', *arguments],
    cwd=ROOT,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={
      **os.environ,
      **ENVIRONMENT,
      'JAX_COMPILATION_CACHE_DIR': str(directory / 'compiled'),
      **environment,
    },
  )


def start_training(
  workdir: pathlib.Path,
  directory: pathlib.Path,
  *arguments: str,
  environment: dict[str, str] | None = None,
  **settings,
) -> subprocess.Popen:
  overrides = [
    f'--config.{name}={value}' for name, value in {**small_settings(directory), **settings}.items()
  ]
  return start(
    'train',
    '--config=configs/debug.py',
    f'--workdir={workdir}',
    *overrides,
    *arguments,
    directory=directory,
    **environment or {},
  )


def start_two_processes(
  workdir: pathlib.Path, directory: pathlib.Path, **settings
) -> list[subprocess.Popen]:
  """One training by two processes of one device each."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  return [
    start_training(
      workdir,
      directory,
      f'--coordinator_address={address}',
      '--num_processes=2',
      f'--process_id={index}',
      **settings,
    )
    for index in range(2)
  ]


def wait_for_step(process: subprocess.Popen, step: int):
  """Reads what a training prints, to the line about the step."""
  lines = []
  for line in process.stdout:
    lines.append(line)
    if line.startswith('step ') and int(line.split()[1].split('/')[0].rstrip(':')) >= step:
      return
  raise AssertionError(f'ended before step {step}: {lines} {process.stderr.read()}')


def records(workdir: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]

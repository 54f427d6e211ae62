"""Work directories that are small enough for tests: trained in processes, or untrained."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
from ml_collections import ConfigDict

from data_pipelines.configs import coco64_tokens, debug
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints, work_directory
from sg2im_jax.training.build import build_training

ROOT = pathlib.Path(__file__).parents[1]
NUM_STEPS = 24
SCHEDULE = {
  'checkpoint_every': 3,
  'eval_every': 8,
  'image_grid_every': 12,
  'freeze_batch_norm_after': 12,
}

# Of a process that a test starts; see `environment` for the rest, which it inherits.
ENVIRONMENT = {'JAX_PLATFORMS': 'cpu'}


def small_config(directory: pathlib.Path):
  """configs/debug.py with its data in `directory`, and with less to compile."""
  config = debug.get_config()
  config.update_from_flattened_dict(small_settings(directory))
  return config.lock()


def small_token_config(directory: pathlib.Path) -> ConfigDict:
  """A token model on the data of configs/debug.py, with little to compile."""
  config = coco64_tokens.with_tokens(debug.get_config())
  config.update_from_flattened_dict(
    {
      'data.data_dir': str(directory / 'data'),
      'data.mask_size': 8,
      'model.mask_size': 8,
      'model.gconv_num_layers': 1,
      'model.refinement_dims': (16, 8),
      'tokens.latent_dim': 4,
      'tokens.encoder_dims': (8, 8),
      'tokens.crop_size': 8,
      'tokens.sprite_dims': (16, 8),
      'tokens.texture_dim': 2,
      'tokens.vector_dim': 16,
      'tokens.discriminator_dims': (8, 8),
      'tokens.prior.features': 16,
      'tokens.prior.num_blocks': 1,
      'tokens.prior.sampling_steps': 4,
    }
  )
  return config.lock()


def write_untrained(
  workdir: pathlib.Path, config: ConfigDict, vocabulary: Vocabulary
) -> pathlib.Path:
  """Makes a work directory with the checkpoint of a freshly initialised model; returns it."""
  settings = Settings.from_config(config)
  work_directory.save(workdir, settings, vocabulary)
  state = jax.jit(build_training(settings, vocabulary).init)()
  with checkpoints.CheckpointWriter(workdir, keep=1, quality=lambda metrics: 0.0) as writer:
    writer.save(0, state.to_items())
  return workdir


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


def start(module: str, *arguments: str, **environment: str) -> subprocess.Popen:
  """Starts `python -m sg2im_jax.<module>`."""
  return subprocess.Popen(
    [sys.executable, '-m', f'sg2im_jax.{module}', *arguments],
    cwd=ROOT,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, **ENVIRONMENT, **environment},
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
    **environment or {},
  )


def start_two_processes(
  workdir: pathlib.Path, directory: pathlib.Path, **settings
) -> list[subprocess.Popen]:
  """One training by two processes of one device each."""
  address = free_address()
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


def free_address() -> str:
  """Where the processes of a job can meet: a free port of this machine."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


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

"""Comparison of contestants at the same settings, in turns: a row of a table for each."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict
from pydantic import Field

from benchmarks import flops, scenes
from benchmarks.contestants import JaxSampling, JaxTraining, TorchContestant
from benchmarks.measure import (
  Contestant,
  ContestantFailed,
  ContestantProcess,
  Outcome,
  Started,
  take_turns,
)
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt, Section
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings

TABLE = Table(
  (
    ('contestant', 16),
    ('dtype', 8),
    ('batch', 5),
    ('px', 4),
    ('ms/step', 9),
    ('images/s', 9),
    ('TFLOP/s', 8),
    ('of peak', 7),
    ('compile s', 9),
    ('cached s', 8),
    ('peak GiB', 8),
  )
)
COLUMNS = f"""
The columns of the table:

  ms/step    median over the rounds, after warm-up
  TFLOP/s    of the network as the paper describes it, the same count for every contestant
             (benchmarks/flops.py)
  of peak    share of the device's dense peak in that dtype (TF32 for float32 on GPUs); - if unknown
  compile s  tracing and compiling with an empty cache; of sampling and PyTorch: the first call
  cached s   the same in a second process, with the compilation cache of the first
  peak GiB   of the device's memory; on a CPU of the process

One device is used. Scenes are random, of {scenes.FEWEST_OBJECTS} to config.data.max_objects - 1
objects (benchmarks/scenes.py).
"""
OURS, EAGER, COMPILED = 'sg2im_jax', 'PyTorch eager', 'PyTorch compiled'


class TurnOptions(Section):
  """Flags of every command that measures in turns."""

  rounds: PositiveInt = Field(5, description='Turns of each contestant; medians are reported.')
  turn_seconds: float = Field(
    5.0, ge=0, description='Approximate length of a turn, which is one step or more.'
  )


class ComparisonOptions(TurnOptions):
  """Flags of train_step.py and sampling.py beside --config."""

  peer: bool = Field(
    False, description='Compare with PyTorch: eager, and on GPUs also with torch.compile.'
  )
  batch_sizes: tuple[int, ...] | None = Field(
    None, description='Images in a step, such as 32,64. By default that of the config.'
  )
  dtypes: tuple[str, ...] | None = Field(
    None, description='float32, bfloat16 or both. By default that of the config.'
  )
  image_sizes: tuple[int, ...] | None = Field(
    None, description='Sides of the images in pixels, such as 64,128. By default as in the config.'
  )


@dataclasses.dataclass(frozen=True)
class Activity:
  """What is compared.

  Attributes:
    name: in words.
    ours: (settings, cache_dir=, num_devices=) -> contestant.
    peer_action: method of the PyTorch model.
    flops: (settings, batch) -> operations of a step.
  """

  name: str
  ours: Callable[..., Contestant]
  peer_action: str
  flops: Callable[[Settings, SceneBatch], float]


TRAINING = Activity('training', JaxTraining, 'train_step', flops.training_flops)
SAMPLING = Activity('sampling', JaxSampling, 'sample', flops.sampling_flops)


def check_positive(flag: str, values: Sequence[int] | None):
  """Raises a UserError if one of the values of a flag is less than 1."""
  if values and min(values) < 1:
    text = ','.join(map(str, values))
    raise UserError(f'--{flag}={text}: expected whole numbers above 0, such as --{flag}=32,64')


def resized(settings: Settings, **values: Any) -> Settings:
  """The settings with other values by dotted name, such as `**{'data.image_size': (64, 64)}`.

  Raises:
    SettingsError: the values do not fit, or not each other.
  """
  config = ConfigDict(settings.model_dump())
  config.update_from_flattened_dict(values)
  return Settings.from_config(config)


def leave_devices():
  """Keeps this process, which only counts operations, off the devices that contestants need."""
  jax.config.update('jax_platforms', 'cpu')


def compare(activity: Activity, settings: Settings, options: ComparisonOptions):
  """Prints a table with a row for each contestant at each of the sizes, and their ratios."""
  leave_devices()
  for index, variant in enumerate(list(_variants(settings, options))):
    ours, cached_seconds, outcomes = _race(activity, variant, options)
    if index == 0:
      print(f'{activity.name} on {ours.device_kind}\n\n{TABLE.header()}', flush=True)
    for name, outcome in outcomes.items():
      row = cells(
        activity,
        variant,
        name,
        outcome,
        device_kind=ours.device_kind,
        cached_seconds=cached_seconds if name == OURS else None,
      )
      print(TABLE.row(row), flush=True)
    for line in ratios(outcomes):
      print(f'  {line}', flush=True)


def peers(activity: Activity, settings: Settings, platform: str) -> dict[str, Contestant]:
  """PyTorch's contestants on the platform that JAX runs on."""
  if platform not in ('cpu', 'gpu'):
    raise UserError(
      f'--peer compares with PyTorch on CPUs and GPUs, and JAX runs on a {platform} here; leave it '
      'out'
    )
  if platform == 'cpu':
    return {EAGER: TorchContestant(settings, activity.peer_action, 'cpu', compiled=False)}
  return {
    name: TorchContestant(settings, activity.peer_action, 'cuda', compiled=name == COMPILED)
    for name in (EAGER, COMPILED)
  }


def cells(
  activity: Activity,
  settings: Settings,
  name: str,
  outcome: Outcome | ContestantFailed,
  *,
  device_kind: str,
  cached_seconds: float | None = None,
) -> list[str]:
  """A row of TABLE; that of a contestant that failed ends with the reason."""
  height, width = settings.data.image_size
  row = [
    name,
    settings.dtype,
    str(settings.batch_size),
    str(height) if height == width else f'{height}x{width}',
  ]
  if isinstance(outcome, ContestantFailed):
    return [*row, str(outcome)]
  speed = activity.flops(settings, scenes.random_batch(settings, seed=0)) / outcome.step_seconds
  peak = flops.peak(device_kind, settings.dtype)
  return [
    *row,
    f'{outcome.step_seconds * 1e3:.2f}',
    f'{settings.batch_size / outcome.step_seconds:.1f}',
    f'{speed / 1e12:.3f}',
    f'{speed / peak:.1%}' if peak else '-',
    _seconds(outcome.compile_seconds),
    _seconds(cached_seconds),
    f'{outcome.peak_memory / 2**30:.2f}',
  ]


def ratios(outcomes: Mapping[str, Outcome | ContestantFailed]) -> Iterator[str]:
  """Sentences that compare the speed and memory of OURS with those of each other contestant."""
  ours = outcomes[OURS]
  for name, other in outcomes.items():
    if name != OURS and isinstance(ours, Outcome) and isinstance(other, Outcome):
      yield (
        f'{OURS} is {other.step_seconds / ours.step_seconds:.2f} times as fast as {name}, with '
        f'{ours.peak_memory / other.peak_memory:.2f} times its peak memory'
      )


def _variants(settings: Settings, options: ComparisonOptions) -> Iterator[Settings]:
  """The settings at every dtype, image size and batch size that the options name."""
  check_positive('batch_sizes', options.batch_sizes)
  check_positive('image_sizes', options.image_sizes)
  for dtype in options.dtypes or ():
    if dtype not in ('float32', 'bfloat16'):
      raise UserError(f'--dtypes={dtype}: expected float32, bfloat16 or both')

  sizes = [(side, side) for side in options.image_sizes or ()] or [settings.data.image_size]
  for dtype in options.dtypes or [settings.dtype]:
    for image_size in sizes:
      for batch_size in options.batch_sizes or [settings.batch_size]:
        values = {'dtype': dtype, 'batch_size': batch_size, 'data.image_size': image_size}
        yield resized(settings, **values)


def _race(
  activity: Activity, settings: Settings, options: ComparisonOptions
) -> tuple[Started, float | None, dict[str, Outcome | ContestantFailed]]:
  """Measures all contestants at these settings.

  Returns:
    What a first process of ours reports, the compile time of a second one, the outcomes by name.
  """
  with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
    ours = activity.ours(settings, cache_dir=cache, num_devices=1)
    try:
      with ContestantProcess(ours) as first:
        started = first.started()
      processes = {OURS: stack.enter_context(ContestantProcess(ours))}
      cached_seconds = processes[OURS].started().compile_seconds
    except ContestantFailed as failure:
      raise UserError(
        f'{activity.name} at batch {settings.batch_size} cannot start: {failure}; expected a '
        'setting that this machine can run, try a smaller --batch_sizes'
      ) from failure
    if options.peer:
      for name, contestant in peers(activity, settings, started.platform).items():
        processes[name] = stack.enter_context(ContestantProcess(contestant))
        with contextlib.suppress(ContestantFailed):  # take_turns reports it
          processes[name].started()
    outcomes = take_turns(processes, rounds=options.rounds, turn_seconds=options.turn_seconds)
  outcome = outcomes[OURS]
  if isinstance(outcome, Outcome):
    outcomes[OURS] = dataclasses.replace(outcome, compile_seconds=started.compile_seconds)
  return started, cached_seconds, outcomes


def _seconds(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'

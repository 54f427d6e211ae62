"""What train_step.py, sampling.py and gpu.py share: settings, contestants of one setting in turns,
a row for each.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping

from absl import flags
from ml_collections import ConfigDict

from benchmarks import flops, scenes
from benchmarks.contestants import JaxSampling, JaxTraining, TorchContestant
from benchmarks.measure import Contestant, ContestantFailed, Entrant, Outcome, Started, take_turns
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.scene_batch import SceneBatch

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
  TFLOP/s    of the plain network's arithmetic, the same count for every contestant (benchmarks/flops.py)
  of peak    of the device's dense peak in that dtype (TF32 for float32 on GPUs); - where it is not known
  compile s  tracing and compiling with an empty cache; of sampling and of PyTorch: the whole first call
  cached s   the same in a second process, which finds the programs of the first
  peak GiB   of the device's memory; on a CPU of the whole process

All of it on one device. Scenes are random, of {scenes.FEWEST_OBJECTS} to config.data.max_objects - 1 objects
(benchmarks/scenes.py).
"""
OURS, EAGER, COMPILED = 'sg2im_jax', 'PyTorch eager', 'PyTorch compiled'


@dataclasses.dataclass(frozen=True)
class Activity:
  """What is compared.

  Attributes:
    name: in words.
    ours: (config, cache_dir=, num_devices=) -> contestant.
    peer_action: the method of the PyTorch model.
    flops: (config, batch) -> the plain network's operations.
  """

  name: str
  ours: Callable[..., Contestant]
  peer_action: str
  flops: Callable[[ConfigDict, SceneBatch], float]


TRAINING = Activity('training', JaxTraining, 'train_step', flops.training_flops)
SAMPLING = Activity('sampling', JaxSampling, 'sample', flops.sampling_flops)


def define_flags():
  """Defines the flags of train_step.py and sampling.py, besides --config."""
  flags.DEFINE_bool(
    'peer', False, 'Measure PyTorch in turns with it: eager, and on GPUs torch.compile besides.'
  )
  flags.DEFINE_list('batch_sizes', None, 'Images a step; by default that of the config.')
  flags.DEFINE_list('dtypes', None, 'float32, bfloat16; by default that of the config.')
  flags.DEFINE_list(
    'image_sizes', None, 'Sides of the pictures in pixels; by default that of the config.'
  )
  define_turn_flags()


def define_turn_flags():
  """Defines --rounds and --turn_seconds."""
  flags.DEFINE_integer('rounds', 5, 'Turns of each contestant, whose median is reported.', 1)
  flags.DEFINE_float('turn_seconds', 5, 'About how long a turn takes; one step at least.', 0)


def integers(flag: str) -> list[int]:
  """The value of a list flag; [] where it is not given."""
  texts = flags.FLAGS[flag].value or []
  if not all(text.isdecimal() and int(text) for text in texts):
    raise UserError(
      f'--{flag}={",".join(texts)}: expected whole numbers above 0, such as --{flag}=32,64'
    )
  return [int(text) for text in texts]


def resized(config: ConfigDict, **values) -> ConfigDict:
  """A copy of a config with other values by dotted name, such as `**{'data.image_size': (64, 64)}`."""
  config = config.copy_and_resolve_references()
  config.update_from_flattened_dict(values)
  return config


def _settings(config: ConfigDict) -> Iterator[ConfigDict]:
  """The config at every dtype, image size and batch size that the flags name."""
  for dtype in flags.FLAGS.dtypes or [config.dtype]:
    if dtype not in ('float32', 'bfloat16'):
      raise UserError(f'--dtypes={dtype}: expected float32, bfloat16 or both')
    for image_size in [(side, side) for side in integers('image_sizes')] or [
      config.data.image_size
    ]:
      for batch_size in integers('batch_sizes') or [config.batch_size]:
        yield resized(
          config, **{'dtype': dtype, 'batch_size': batch_size, 'data.image_size': image_size}
        )


def compare(activity: Activity, config: ConfigDict):
  """Prints a table with a row for each contestant at each setting of the flags, and how they
  compare.
  """
  for index, setting in enumerate(_settings(config)):
    ours, cached_seconds, outcomes = _race(activity, setting)
    if index == 0:
      print(f'{activity.name} on {ours.device_kind}\n\n{TABLE.header()}', flush=True)
    for name, outcome in outcomes.items():
      print(
        TABLE.row(
          cells(
            activity,
            setting,
            name,
            outcome,
            ours.device_kind,
            cached_seconds if name == OURS else None,
          )
        ),
        flush=True,
      )
    for line in ratios(outcomes):
      print(f'  {line}', flush=True)


def _race(
  activity: Activity, config: ConfigDict
) -> tuple[Started, float | None, dict[str, Outcome | ContestantFailed]]:
  """How a first process of ours started, how long a second one took to compile, and how all did."""
  with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
    ours = activity.ours(config, cache_dir=cache, num_devices=1)
    try:
      with Entrant(ours) as first:
        started = first.started()
      entrants = {OURS: stack.enter_context(Entrant(ours))}
      cached_seconds = entrants[OURS].started().compile_seconds
    except ContestantFailed as failure:
      raise UserError(
        f'{activity.name} at batch {config.batch_size} cannot start: {failure}; expected a setting '
        'that '
        'this machine can run, try a smaller --batch_sizes'
      ) from failure
    if flags.FLAGS.peer:
      for name, contestant in peers(activity, config, started.platform).items():
        entrants[name] = stack.enter_context(Entrant(contestant))
        with contextlib.suppress(ContestantFailed):  # which its row will say
          entrants[name].started()
    outcomes = take_turns(
      entrants, rounds=flags.FLAGS.rounds, turn_seconds=flags.FLAGS.turn_seconds
    )
  if isinstance(outcomes[OURS], Outcome):
    outcomes[OURS] = dataclasses.replace(outcomes[OURS], compile_seconds=started.compile_seconds)
  return started, cached_seconds, outcomes


def peers(activity: Activity, config: ConfigDict, platform: str) -> dict[str, Contestant]:
  """The opponents on the kind of device that ours runs on."""
  if platform not in ('cpu', 'gpu'):
    raise UserError(
      f'--peer compares with PyTorch on CPUs and GPUs, and JAX runs on a {platform} here; leave it '
      'out'
    )
  if platform == 'cpu':
    return {EAGER: TorchContestant(config, activity.peer_action, 'cpu', compiled=False)}
  return {
    name: TorchContestant(config, activity.peer_action, 'cuda', compiled=name == COMPILED)
    for name in (EAGER, COMPILED)
  }


def cells(
  activity: Activity,
  config: ConfigDict,
  name: str,
  outcome: Outcome | ContestantFailed,
  device_kind: str,
  cached_seconds: float | None = None,
) -> list[str]:
  """A row of TABLE; that of a contestant that failed ends with the reason."""
  height, width = config.data.image_size
  row = [
    name,
    config.dtype,
    str(config.batch_size),
    str(height) if height == width else f'{height}x{width}',
  ]
  if isinstance(outcome, ContestantFailed):
    return [*row, str(outcome)]
  speed = activity.flops(config, scenes.random_batch(config, seed=0)) / outcome.step_seconds
  peak = flops.peak(device_kind, config.dtype)
  return [
    *row,
    f'{outcome.step_seconds * 1e3:.2f}',
    f'{config.batch_size / outcome.step_seconds:.1f}',
    f'{speed / 1e12:.3f}',
    f'{speed / peak:.1%}' if peak else '-',
    _seconds(outcome.compile_seconds),
    _seconds(cached_seconds),
    f'{outcome.peak_memory / 2**30:.2f}',
  ]


def _seconds(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'


def ratios(outcomes: Mapping[str, Outcome | ContestantFailed]) -> Iterator[str]:
  """How many times as fast as each opponent ours is, in words."""
  ours = outcomes[OURS]
  for name, other in outcomes.items():
    if name != OURS and isinstance(ours, Outcome) and isinstance(other, Outcome):
      yield (
        f'{OURS} is {other.step_seconds / ours.step_seconds:.2f} times as fast as {name}, with '
        f'{ours.peak_memory / other.peak_memory:.2f} times its peak memory'
      )

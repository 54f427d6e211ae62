"""Scaling of training over the devices of one machine, and the bytes that they exchange.

  python -m benchmarks.scaling --config=configs/coco64.py
  python -m benchmarks.scaling --config=configs/debug.py --devices=1,2,4,8

Each device gets config.batch_size images, and the step is timed on 1, 2, 4, ... up to all devices.
A CPU is one device; there JAX is made to split it into so many host devices, each time in a process
of its own. These share the same cores: their images/s do not show how training scales, the bytes
show what is communicated.

  images/s    over all devices, from the median of the rounds
  efficiency  images/s of a device, relative to the first row; - for host devices
  all-reduce  bytes that a step reduces over the devices, from the compiled program: gradients,
              BatchNorm statistics, sums of losses
  other       bytes of all other collectives, by kind
"""

from collections.abc import Iterator

from ml_collections import ConfigDict
from pydantic import Field

from benchmarks import comparison
from benchmarks.collectives import collective_bytes
from benchmarks.contestants import JaxTraining, find_devices
from benchmarks.measure import ContestantFailed, ContestantProcess, Outcome, take_turns
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings

TABLE = Table(
  (
    ('devices', 7),
    ('batch', 6),
    ('ms/step', 9),
    ('images/s', 9),
    ('efficiency', 10),
    ('all-reduce MB', 13),
    ('other MB', 24),
  )
)
_FORCED = (1, 2, 4, 8)


class ScalingOptions(comparison.TurnOptions):
  """The flags of the command beside --config."""

  devices: tuple[int, ...] | None = Field(
    None,
    description='Numbers of devices, such as 1,8, a row each. By default 1, 2, 4, ... to all, or '
    'to 8 on a CPU.',
  )


def measure(options: ScalingOptions, config: ConfigDict):
  settings = Settings.from_config(config)
  comparison.check_positive('devices', options.devices)
  available = find_devices()
  forced = available.platform == 'cpu'
  counts = options.devices or (_FORCED if forced else tuple(_doublings(available.count)))
  if not forced and max(counts) > available.count:
    raise UserError(f'--devices={max(counts)}: this machine has {available.count}; ask for fewer')
  remark = ': forced host devices share its cores and show communication, not speed'
  print(f'training on {available.device_kind}{remark if forced else ""}')
  print(f'\n{TABLE.header()}', flush=True)
  alone = None
  for count in counts:
    batch_size = count * settings.batch_size
    try:
      outcome, sent = _measure(settings, options, count, forced)
    except ContestantFailed as failure:
      print(TABLE.row([str(count), str(batch_size), str(failure)]), flush=True)
      continue
    speed = batch_size / outcome.step_seconds
    alone = alone or speed / count
    others = ' '.join(
      f'{kind} {_megabytes(size)}' for kind, size in sent.items() if kind != 'all-reduce'
    )
    print(
      TABLE.row(
        [
          str(count),
          str(batch_size),
          f'{outcome.step_seconds * 1e3:.2f}',
          f'{speed:.1f}',
          '-' if forced else f'{speed / count / alone:.0%}',
          _megabytes(sent.get('all-reduce', 0)),
          others or '0',
        ]
      ),
      flush=True,
    )


def _doublings(limit: int) -> Iterator[int]:
  """The powers of two below the limit, and the limit."""
  count = 1
  while count < limit:
    yield count
    count *= 2
  yield limit


def _measure(
  settings: Settings, options: ScalingOptions, count: int, forced: bool
) -> tuple[Outcome, dict[str, int]]:
  """What is measured of so many devices, and the bytes of a step's collectives by their kind."""
  contestant = JaxTraining(
    comparison.resized(settings, batch_size=count * settings.batch_size),
    num_devices=count,
    forced_host_devices=count if forced else None,
  )
  with ContestantProcess(contestant) as process:
    process.started()
    outcome = take_turns(
      {count: process}, rounds=options.rounds, turn_seconds=options.turn_seconds
    )[count]
    if isinstance(outcome, ContestantFailed):
      raise outcome
    return outcome, collective_bytes(process.call('program'))


def _megabytes(size: int) -> str:
  return f'{size / 1e6:.3f}'


def main():
  command_line.run_with_config(ScalingOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

"""How training scales over the devices of one machine, and what they send each other.

  python -m benchmarks.scaling --config=configs/coco64.py
  python -m benchmarks.scaling --config=configs/debug.py --devices=1,2,4,8

Each device gets config.batch_size images, and the step is timed on 1, 2, 4, ... devices: all that
there are. A CPU is one device; there, as many host devices as asked for are forced on it, each time
in a process of its own. They share the same cores, so that images/s then say nothing about scaling,
and the bytes say everything about communication.

  images/s      over all devices, from the median of the rounds
  efficiency    images/s of each device, compared with those of the first row; - for forced devices
  all-reduce    bytes that a step reduces over the devices, from the compiled program: gradients, BatchNorm statistics,
                sums of losses
  other         bytes of all other collectives, and which they are
"""

from collections.abc import Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict

from benchmarks import comparison
from benchmarks.collectives import collective_bytes
from benchmarks.contestants import JaxTraining, find_devices
from benchmarks.measure import ContestantFailed, Entrant, Outcome, take_turns
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import command_line, config_flag

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


def main(_: Sequence[str]):
  available = find_devices()
  forced = available.platform == 'cpu'
  counts = comparison.integers('devices') or (
    _FORCED if forced else list(_doublings(available.count))
  )
  if not forced and max(counts) > available.count:
    raise UserError(f'--devices={max(counts)}: this machine has {available.count}; ask for fewer')
  print(
    f'training on {available.device_kind}'
    + (
      ': forced host devices, which share its cores: they show communication, not speed'
      if forced
      else ''
    )
  )
  print(f'\n{TABLE.header()}', flush=True)
  alone = None
  for count in counts:
    try:
      outcome, sent = _measure(flags.FLAGS.config, count, forced)
    except ContestantFailed as failure:
      print(
        TABLE.row([str(count), str(count * flags.FLAGS.config.batch_size), str(failure)]),
        flush=True,
      )
      continue
    batch_size = count * flags.FLAGS.config.batch_size
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
  """1, 2, 4, ... and the limit itself."""
  count = 1
  while count < limit:
    yield count
    count *= 2
  yield limit


def _measure(config: ConfigDict, count: int, forced: bool) -> tuple[Outcome, dict[str, int]]:
  """How fast so many devices are, and the bytes that a step sends between them, by kind of
  collective.
  """
  config = comparison.resized(config, batch_size=count * config.batch_size)
  contestant = JaxTraining(config, num_devices=count, forced_host_devices=count if forced else None)
  with Entrant(contestant) as entrant:
    entrant.started()
    outcome = take_turns(
      {comparison.OURS: entrant}, rounds=flags.FLAGS.rounds, turn_seconds=flags.FLAGS.turn_seconds
    )[comparison.OURS]
    if isinstance(outcome, ContestantFailed):
      raise outcome
    return outcome, collective_bytes(entrant.call('program'))


def _megabytes(size: int) -> str:
  return f'{size / 1e6:.3f}'


if __name__ == '__main__':
  config_flag.define()
  flags.DEFINE_list(
    'devices',
    None,
    'How many to use, row by row; by default 1, 2, 4, ... to all, or to 8 on a CPU.',
  )
  comparison.define_turn_flags()
  flags.adopt_module_key_flags(comparison)
  command_line.run(main)

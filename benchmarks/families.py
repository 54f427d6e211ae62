"""What a token model costs beside the published model on the same data: a step, a picture, memory.

  python -m benchmarks.families
  python -m benchmarks.families --published=coco64 --tokens=coco64_tokens --dtypes=bfloat16

Trains and samples both in turns, each in a process of its own. The published model is measured
twice, if there is a difference: as its config says, and with the refinement network of the token
model ("equal painter"). GFLOP are counted as benchmarks/flops.py says, differently for both.
"""

import contextlib

from pydantic import Field

from benchmarks import scenes
from benchmarks.comparison import (
  SAMPLING,
  TRAINING,
  Activity,
  TurnOptions,
  leave_devices,
  resized,
)
from benchmarks.contestants import find_devices
from benchmarks.measure import ContestantFailed, ContestantProcess, Outcome, take_turns
from benchmarks.tables import Table
from sg2im_jax.runtime import command_line, config_flag
from sg2im_jax.settings import Settings

TABLE = Table(
  (
    ('model', 26),
    ('activity', 8),
    ('dtype', 8),
    ('batch', 5),
    ('GFLOP', 8),
    ('ms/step', 9),
    ('images/s', 9),
    ('ratio', 6),
    ('peak GiB', 8),
  )
)
_TOKENS, _EQUAL = 'token model', 'published, equal painter'


class FamilyOptions(TurnOptions):
  """The flags of the command."""

  published: str = Field('storybook_published', description='Name of the config of one.')
  tokens: str = Field('storybook', description='Name of the config of the other.')
  dtypes: tuple[str, ...] = Field(('float32',), description='float32, bfloat16 or both.')
  batch_size: int | None = Field(
    None, ge=1, description='Images in a step; by default that of the token model.'
  )


def measure(options: FamilyOptions):
  device = find_devices()
  leave_devices()
  print(f'{device.device_kind}\n\n{TABLE.header()}', flush=True)
  for dtype in options.dtypes:
    tokens = _settings(options.tokens)
    tokens = resized(tokens, dtype=dtype, batch_size=options.batch_size or tokens.batch_size)
    published = resized(_settings(options.published), dtype=dtype, batch_size=tokens.batch_size)
    equal = resized(published, **{'model.refinement_dims': tokens.model.refinement_dims})
    models = {'published': published, _EQUAL: equal, _TOKENS: tokens}
    if equal == published:
      del models[_EQUAL]
    for activity in (TRAINING, SAMPLING):
      _measure(activity, models, options)


def _settings(name: str) -> Settings:
  return Settings.from_config(config_flag.load(name))


def _measure(activity: Activity, models: dict[str, Settings], options: FamilyOptions):
  """Prints a row for each model; ratios are of the token model's time to that of the row."""
  with contextlib.ExitStack() as stack:
    processes = {
      name: stack.enter_context(ContestantProcess(activity.ours(settings, num_devices=1)))
      for name, settings in models.items()
    }
    outcomes = take_turns(processes, rounds=options.rounds, turn_seconds=options.turn_seconds)
  of_tokens = outcomes[_TOKENS]
  for name, settings in models.items():
    outcome = outcomes[name]
    row = [name, activity.name, settings.dtype, str(settings.batch_size)]
    if isinstance(outcome, ContestantFailed):
      print(TABLE.row([*row, str(outcome)]), flush=True)
      continue
    operations = activity.flops(settings, scenes.random_batch(settings, seed=0))
    ratio = of_tokens.step_seconds / outcome.step_seconds if isinstance(of_tokens, Outcome) else 0
    row += [
      f'{operations / 1e9:.3g}',
      f'{outcome.step_seconds * 1e3:.2f}',
      f'{settings.batch_size / outcome.step_seconds:.1f}',
      f'{ratio:.2f}' if ratio else '-',
      f'{outcome.peak_memory / 2**30:.2f}',
    ]
    print(TABLE.row(row), flush=True)


def main():
  command_line.run(FamilyOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

"""Whether training in bfloat16 ends where training in float32 ends.

  python -m benchmarks.precision --config=configs/storybook.py --config.num_steps=400
  --workdir=runs/precision

Trains the config with each dtype and each seed, prints the validation losses at the end, their
means and standard deviations over the seeds, and how far apart the means are in units of the larger
deviation. A run that is complete in the work directory is not trained again.
"""

import json
import pathlib
import statistics
from collections.abc import Sequence

from absl import flags

from sg2im_jax.runtime import command_line, compilation, config_flag
from sg2im_jax.train import train

_SHOWN = ('l1_pixel', 'bbox', 'mask', 'box_iou')


def final_scores(workdir: pathlib.Path) -> dict[str, float]:
  """The last validation record of a run, by the names of its log."""
  records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return [record for record in records if record['split'] == 'val'][-1]


def table(scores: dict[str, list[dict[str, float]]]) -> str:
  """scores: by dtype, of each seed."""
  names = [name for name in _SHOWN if name in scores['float32'][0]]
  lines = [f'{"dtype":10} {"seed":>6}' + ''.join(f'{name:>12}' for name in names)]
  for dtype, runs in scores.items():
    for seed, run in enumerate(runs):
      lines.append(f'{dtype:10} {seed:6}' + ''.join(f'{run[name]:12.4f}' for name in names))
  moments = {
    dtype: {
      name: (
        statistics.mean(run[name] for run in runs),
        statistics.stdev(run[name] for run in runs),
      )
      for name in names
    }
    for dtype, runs in scores.items()
  }
  for label, index in (('mean', 0), ('std', 1)):
    for dtype in scores:
      lines.append(
        f'{dtype:10} {label:>6}' + ''.join(f'{moments[dtype][name][index]:12.4f}' for name in names)
      )
  apart = [
    abs(moments['float32'][name][0] - moments['bfloat16'][name][0])
    / max(moments['float32'][name][1], moments['bfloat16'][name][1])
    for name in names
  ]
  return '\n'.join(
    [*lines, f'{"apart":10} {"/ std":>6}' + ''.join(f'{value:12.2f}' for value in apart)]
  )


def main(_: Sequence[str]):
  compilation.configure()
  scores = {dtype: [] for dtype in ('float32', 'bfloat16')}
  for seed in range(flags.FLAGS.seeds):
    for dtype, runs in scores.items():
      config = flags.FLAGS.config.copy_and_resolve_references()
      config.seed, config.dtype = seed, dtype
      workdir = pathlib.Path(flags.FLAGS.workdir) / f'{dtype}-{seed}'
      train(config, str(workdir))
      runs.append(final_scores(workdir))
  print(table(scores))


if __name__ == '__main__':
  config_flag.define()
  flags.DEFINE_integer('seeds', 3, 'How many, from 0.', lower_bound=2)
  flags.DEFINE_string('workdir', 'runs/precision', 'Where the runs go, one folder each.')
  command_line.run(main)

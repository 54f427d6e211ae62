"""Compares validation losses after training in bfloat16 with those after training in float32.

  python -m benchmarks.precision --config=configs/storybook_published.py --config.num_steps=400 \\
      --workdir=runs/precision

Trains the config with each dtype and each seed, prints the validation losses at the end, their
means and standard deviations over the seeds, and the difference of the means in units of the larger
deviation. A run that is complete in the work directory is not trained again.
"""

import json
import pathlib
import statistics

from ml_collections import ConfigDict
from pydantic import Field

from data_pipelines.settings.section import Section
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings

_SHOWN = ('l1_pixel', 'bbox', 'mask', 'box_iou')


class PrecisionOptions(Section):
  """The flags of the command beside --config."""

  seeds: int = Field(3, ge=2, description='Number of seeds, from 0.')
  workdir: str = Field('runs/precision', description='Directory of the runs, a folder each.')


def final_scores(workdir: pathlib.Path) -> dict[str, float]:
  """The last validation record of a run, by the names of its log."""
  records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return [record for record in records if record['split'] == 'val'][-1]


def table(scores: dict[str, list[dict[str, float]]]) -> str:
  """The table to print.

  Args:
    scores: by dtype, of each seed.
  """
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
      values = ''.join(f'{moments[dtype][name][index]:12.4f}' for name in names)
      lines.append(f'{dtype:10} {label:>6}{values}')

  differences = [
    abs(moments['float32'][name][0] - moments['bfloat16'][name][0])
    / max(moments['float32'][name][1], moments['bfloat16'][name][1])
    for name in names
  ]
  values = ''.join(f'{difference:12.2f}' for difference in differences)
  return '\n'.join([*lines, f'{"apart":10} {"/ std":>6}{values}'])


def measure(options: PrecisionOptions, config: ConfigDict):
  from sg2im_jax.training import loop  # imports TensorFlow, which --help does not need

  settings = Settings.from_config(config)
  scores = {dtype: [] for dtype in ('float32', 'bfloat16')}
  for seed in range(options.seeds):
    for dtype, runs in scores.items():
      workdir = pathlib.Path(options.workdir) / f'{dtype}-{seed}'
      loop.train(settings.replace(seed=seed, dtype=dtype), workdir)
      runs.append(final_scores(workdir))
  print(table(scores))


def main():
  command_line.run_with_config(PrecisionOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

"""Growth of the model's cost with objects, triples, pixels and images.

  python -m benchmarks.growth --config=configs/coco64.py --config.batch_size=4

Four sweeps, each of one size, while the others stay at 8 objects, 16 triples,
config.data.image_size and config.batch_size, except that more objects have more triples:

  objects  8, 16, 40, 80, with two triples each (a relation and its __in_image__ triple), as in
           COCO-Stuff
  triples  16, 32, 80, 160 among the 8 objects
  pixels   squares with sides of 1/2, 1, 2 and 3 times the height in config.data.image_size
  images   1/4, 1/2, 1 and 2 times config.batch_size, at least 1

Every slot holds an object or a triple. `forward` samples a batch of pictures, `step` is a training
step; both in ms, medians over the rounds. The exponent is the slope of the upper half of a curve in
the log-log plane: 1 is linear growth, 0 is none. Below the table are the exponents and the cost of
the largest size relative to the smallest: 10 times the objects, 10 times the triples. --output gets
the curves. Needs matplotlib.
"""

import contextlib
import pathlib
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict
from pydantic import Field

from benchmarks import comparison
from benchmarks.contestants import JaxSampling, JaxTraining
from benchmarks.measure import ContestantFailed, ContestantProcess, Outcome, take_turns
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings

TABLE = Table((('sweep', 8), ('size', 6), ('forward ms', 10), ('step ms', 10)))
CONTESTANTS = {'forward': JaxSampling, 'step': JaxTraining}
OBJECTS, TRIPLES = 8, 16  # in the sweeps of other sizes; without __image__

Curve = list[tuple[float, float]]  # (size, seconds)


class GrowthOptions(comparison.TurnOptions):
  """The flags of the command beside --config."""

  output: str = Field('benchmarks/growth.png', description='The PNG of the curves.')


def sweeps(settings: Settings) -> dict[str, dict[int, Settings]]:
  """{what grows: {its size: the settings at that size}}."""

  def scenes_of(objects: int, triples: int) -> dict[str, int]:
    return {'data.max_objects': objects + 1, 'data.max_triples': triples}

  base = comparison.resized(settings, **scenes_of(OBJECTS, TRIPLES))
  side, batch_size = base.data.image_size[0], base.batch_size
  coarsest = 2 ** len(base.model.refinement_dims)
  sides = [size for size in (side // 2, side, 2 * side, 3 * side) if size % coarsest == 0]
  return {
    'objects': {
      count: comparison.resized(base, **scenes_of(count, 2 * count)) for count in (8, 16, 40, 80)
    },
    'triples': {
      count: comparison.resized(base, **scenes_of(OBJECTS, count)) for count in (16, 32, 80, 160)
    },
    'pixels': {
      size * size: comparison.resized(base, **{'data.image_size': (size, size)}) for size in sides
    },
    'images': {
      size: comparison.resized(base, batch_size=size)
      for size in sorted({max(1, batch_size * quarters // 4) for quarters in (1, 2, 4, 8)})
    },
  }


def exponent(curve: Curve) -> float:
  """Slope of the upper half of a curve, of at least two points, in the log-log plane."""
  upper = np.log(curve[min(len(curve) // 2, len(curve) - 2) :])
  return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0])


def draw(curves: Mapping[str, Mapping[str, Curve]], path: pathlib.Path):
  """Writes a PNG with a log-log panel for each sweep.

  Args:
    curves: {sweep: {'forward' | 'step': curve}}, of up to four sweeps.
    path: of the PNG.
  """
  from matplotlib.figure import Figure
  from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

  figure = Figure(figsize=(10, 8), layout='constrained')
  for axes, (sweep, by_name) in zip(figure.subplots(2, 2).flat, curves.items()):
    sizes = ()
    for name, curve in by_name.items():
      if len(curve) >= 2:
        sizes, seconds = zip(*curve)
        milliseconds = [1e3 * value for value in seconds]
        axes.loglog(sizes, milliseconds, 'o-', label=f'{name}, exponent {exponent(curve):.2f}')
    if sizes:
      axes.set_xticks(sizes, labels=[f'{size:,}' for size in sizes])
      axes.legend()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=sweep, ylabel='ms')
    axes.grid(alpha=0.3)
  figure.savefig(path, dpi=100)


def measure(options: GrowthOptions, config: ConfigDict):
  settings = Settings.from_config(config)
  try:
    import matplotlib  # noqa: F401
  except ImportError as error:
    raise UserError(
      "matplotlib is not installed, and the curves are drawn with it; run `pip install -e '.[dev]'`"
    ) from error
  output = pathlib.Path(options.output)
  if not output.parent.is_dir():
    raise UserError(
      f'--output={output}: there is no directory {output.parent}; make it, or name another file'
    )

  print(TABLE.header(), flush=True)
  curves = {}
  for sweep, by_size in sweeps(settings).items():
    outcomes = {name: _outcomes(name, by_size, options) for name in CONTESTANTS}
    for size in by_size:
      row = [_cell(of_contestant[size]) for of_contestant in outcomes.values()]
      print(TABLE.row([sweep, str(size), *row]), flush=True)
    curves[sweep] = {
      name: [
        (size, outcome.step_seconds)
        for size, outcome in of_contestant.items()
        if isinstance(outcome, Outcome)
      ]
      for name, of_contestant in outcomes.items()
    }

  print()
  for sweep, by_name in curves.items():
    print(f'{sweep:8}  {", ".join(_describe(name, curve) for name, curve in by_name.items())}')
  draw(curves, output)
  print(f'curves: {output}')


def _outcomes(
  name: str, by_size: Mapping[int, Settings], options: GrowthOptions
) -> dict[int, Outcome | ContestantFailed]:
  """Measures forward passes or steps at all sizes of a sweep, in turns."""
  with contextlib.ExitStack() as stack:
    processes = {
      size: stack.enter_context(ContestantProcess(CONTESTANTS[name](settings, full=True)))
      for size, settings in by_size.items()
    }
    return take_turns(processes, rounds=options.rounds, turn_seconds=options.turn_seconds)


def _cell(outcome: Outcome | ContestantFailed) -> str:
  return f'{outcome.step_seconds * 1e3:.2f}' if isinstance(outcome, Outcome) else str(outcome)


def _describe(name: str, curve: Curve) -> str:
  if len(curve) < 2:
    return f'{name}: too few points'
  (first_size, first), (last_size, last) = curve[0], curve[-1]
  return (
    f'{name}: exponent {exponent(curve):.2f}, {last_size / first_size:g} times the size costs '
    f'{last / first:.2f} times as much'
  )


def main():
  command_line.run_with_config(GrowthOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

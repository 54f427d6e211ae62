"""Programs as `jax.export` serializes them: StableHLO, with sizes that are decided when they are
called, for CPUs, CUDA and TPUs in one file."""

import functools
import pathlib

import jax
import numpy as np
from jax import export

from sg2im_jax.exporting.programs import Arrays, Program, programs
from sg2im_jax.sampling.trained_model import TrainedModel

PLATFORMS = ('cpu', 'cuda', 'tpu')


def write(model: TrainedModel, directory: pathlib.Path) -> list[Program]:
  """Writes NAME.stablehlo of every program, with the weights in it, and returns the programs."""
  found = programs(model)
  for program in found:
    function = jax.jit(functools.partial(program.function, model.variables))
    exported = export.export(function, platforms=PLATFORMS)(program.abstract_inputs())
    (directory / f'{program.name}.stablehlo').write_bytes(exported.serialize())
  return found


def run(directory: pathlib.Path, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
  """The outputs of a program that was written."""
  exported = export.deserialize(bytearray((directory / f'{name}.stablehlo').read_bytes()))
  return jax.tree.map(np.asarray, exported.call(dict(arrays)))

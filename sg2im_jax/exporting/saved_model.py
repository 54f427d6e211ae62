"""Programs as a TensorFlow SavedModel, which TensorFlow Serving takes as it is."""

import pathlib
from typing import Any

import numpy as np

from sg2im_jax.exporting.programs import Arrays, Port, Program, programs
from sg2im_jax.sampling.trained_model import TrainedModel


def write(model: TrainedModel, directory: pathlib.Path) -> list[Program]:
  """Writes the SavedModel, a signature of each program, and returns the programs."""
  from jax.experimental import jax2tf

  from data_pipelines.pipeline.tensorflow_quietly import tf

  found = programs(model)
  module: Any = tf.Module()
  module.variables_of_model = tf.nest.map_structure(tf.Variable, dict(model.variables))
  signatures = {}
  for program in found:
    shapes: Any = [None, {port.name: _polymorphic(port) for port in program.inputs}]
    function = jax2tf.convert(
      program.function,
      polymorphic_shapes=shapes,
      with_gradient=False,
    )
    specs = {
      port.name: tf.TensorSpec(
        [size if isinstance(size, int) else None for size in port.shape], port.dtype, port.name
      )
      for port in program.inputs
    }
    signatures[program.name] = tf.function(
      _with(function, module.variables_of_model), autograph=False
    ).get_concrete_function(**specs)
  # Where no signature is named, that which needs no nan, which JSON has not.
  signatures['serving_default'] = signatures['sample']
  tf.saved_model.save(module, str(directory), signatures)
  return found


def run(directory: pathlib.Path, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
  """The outputs of a program that was written."""
  from data_pipelines.pipeline.tensorflow_quietly import tf

  loaded = tf.saved_model.load(str(directory))
  tensors = {key: tf.constant(array) for key, array in arrays.items()}
  return {key: tensor.numpy() for key, tensor in loaded.signatures[name](**tensors).items()}


def _with(function: Any, variables: Any) -> Any:
  """The function of arrays by name, for these variables."""
  return lambda **arrays: function(variables, arrays)


def _polymorphic(port: Port) -> str:
  return f'({", ".join(str(size) for size in port.shape)})'

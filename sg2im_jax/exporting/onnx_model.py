"""Programs as ONNX models, by jax2onnx. Their noise is an input: ONNX has not JAX's generator of
random numbers."""

import contextlib
import functools
import logging
import pathlib
import unittest.mock
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

from sg2im_jax.exporting.programs import Arrays, Program, programs
from sg2im_jax.sampling.trained_model import TrainedModel


def write(model: TrainedModel, directory: pathlib.Path) -> list[Program]:
  """Writes NAME.onnx of every program, with the weights in it, and returns the programs."""
  found = programs(model, noise_is_given=True)
  for program in found:
    (directory / f'{program.name}.onnx').write_bytes(serialized(converted(model, program)))
  return found


def converted(model: TrainedModel, program: Program) -> Any:
  """The `onnx_ir.Model` of a program; the fingerprint of the model is in its metadata."""
  import jax2onnx  # pyright: ignore[reportMissingImports]
  from onnx_ir.passes import common  # pyright: ignore[reportMissingImports]

  inputs = program.abstract_inputs()
  names = list(inputs)

  def flat(*arrays: Any) -> tuple[jax.Array, ...]:
    found = program.function(model.variables, dict(zip(names, arrays)))
    return tuple(found[port.name] for port in program.outputs)

  # While jax2onnx traces, it replaces functions of JAX by others that know no closures in loops; so
  # it is given what has been traced before.
  with _without_platforms():
    traced = core.jaxpr_as_fun(jax.make_jaxpr(flat)(*inputs.values()))
  with _symbolic_pads():
    found = jax2onnx.to_onnx(
      lambda *arrays: tuple(traced(*arrays)),
      list(inputs.values()),
      model_name=program.name,
      input_names=names,
      output_names=[port.name for port in program.outputs],
      return_mode='ir',
    )
  for clean in (  # every part of a loop has its own copy of the weights until here
    common.LiftSubgraphInitializersToMainGraphPass(),
    common.DeduplicateInitializersPass(size_limit=np.iinfo(np.int64).max),
    common.CommonSubexpressionEliminationPass(),
    common.IdentityEliminationPass(),
    common.RemoveUnusedNodesPass(),
    common.ClearMetadataAndDocStringPass(),
  ):
    clean(found)
  found.metadata_props['fingerprint'] = model.fingerprint
  found.producer_name = 'sg2im_jax'
  return found


def serialized(model: Any) -> bytes:
  """The content of a file, of an `onnx_ir.Model`."""
  import onnx_ir  # pyright: ignore[reportMissingImports]

  with _quietly('onnx_ir.serde'):
    return onnx_ir.to_proto(model).SerializeToString()


def run(directory: pathlib.Path, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
  """The outputs of a program that was written."""
  return run_bytes((directory / f'{name}.onnx').read_bytes(), arrays)


def run_bytes(content: bytes, arrays: Arrays) -> dict[str, np.ndarray]:
  """The outputs of a program in a file of this content, by ONNX Runtime."""
  import onnxruntime  # pyright: ignore[reportMissingImports]

  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # errors
  session = onnxruntime.InferenceSession(content, options)
  names = [output.name for output in session.get_outputs()]
  return dict(zip(names, session.run(names, dict(arrays))))


def _without_platforms() -> Any:
  """ONNX has no platforms: of what JAX chooses by them, the default is taken."""
  return unittest.mock.patch.object(
    jax.lax, 'platform_dependent', lambda *arrays, default, **_: default(*arrays)
  )


@contextlib.contextmanager
def _symbolic_pads() -> Iterator[None]:
  """jax2onnx 0.17 hands symbolic sizes of padded arrays on as they are; ONNX takes their names."""
  import onnx_ir  # pyright: ignore[reportMissingImports]
  from jax2onnx.plugins.jax.lax import pad  # pyright: ignore[reportMissingImports]

  class Renaming:
    Shape = staticmethod(
      lambda sizes: onnx_ir.Shape([one if isinstance(one, int) else str(one) for one in sizes])
    )
    __getattr__ = staticmethod(functools.partial(getattr, onnx_ir))

  with unittest.mock.patch.object(pad, 'ir', Renaming()):
    yield


@contextlib.contextmanager
def _quietly(logger: str) -> Iterator[None]:
  """Without what a library warns of at every array of unknown type."""
  found = logging.getLogger(logger)
  before = found.level
  found.setLevel(logging.ERROR)
  try:
    yield
  finally:
    found.setLevel(before)

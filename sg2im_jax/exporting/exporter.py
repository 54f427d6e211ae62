"""`export`: a model in another form, tried before it is handed over."""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines import atomic_files
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from sg2im_jax.exporting import FormatName, card, onnx_model, page, saved_model, stablehlo
from sg2im_jax.exporting.programs import Arrays, Program
from sg2im_jax.exporting.verification import compare
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling import validation_scenes
from sg2im_jax.sampling.trained_model import TrainedModel

DESCRIPTION = 'model.json'  # signature, names and what the verification found
_COMPARED = 8  # graphs


@dataclasses.dataclass(frozen=True)
class _Format:
  """A form of an export.

  Attributes:
    write: writes a model (the work directory is where it was read) into a folder.
    run: the outputs of a program that was written, by the runtime of this form.
    packages: that are needed besides.
    extra: that has them.
  """

  write: Callable[[TrainedModel, pathlib.Path, pathlib.Path], list[Program]]
  run: Callable[[pathlib.Path, str, Arrays], dict[str, np.ndarray]]
  packages: tuple[str, ...] = ()
  extra: str = ''


_FORMATS: dict[FormatName, _Format] = {
  'stablehlo': _Format(lambda model, _, folder: stablehlo.write(model, folder), stablehlo.run),
  'saved_model': _Format(
    lambda model, _, folder: saved_model.write(model, folder), saved_model.run
  ),
  'onnx': _Format(
    lambda model, _, folder: onnx_model.write(model, folder),
    onnx_model.run,
    ('jax2onnx', 'onnxruntime'),
    'onnx',
  ),
  'page': _Format(
    lambda model, workdir, folder: page.write(model, folder, validation_scenes.load(workdir)),
    page.run,
    ('jax2onnx', 'onnxruntime', 'fastapi'),
    'onnx',
  ),
}


def export(
  workdir: str | os.PathLike,
  format: FormatName,
  output: str | os.PathLike,
  *,
  step: int | None = None,
) -> dict[str, Any]:
  """Writes a model in another form, with a model card, and tries it.

  Args:
    workdir: of a training run or a converted checkpoint.
    format: stablehlo: `jax.export` for CPUs, CUDA and TPUs in one file; saved_model: TensorFlow;
      onnx: by jax2onnx; page: the studio as one HTML file.
    output: folder that is to be made; it may be there if it is empty.
    step: of the checkpoint; None for the newest one.

  Returns:
    What model.json holds, see `card.description`.

  Raises:
    UserError: packages are missing, the folder is not empty or cannot be written, or the export
      draws other pictures than the model.
  """
  target = pathlib.Path(output)
  form = _FORMATS[format]
  missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
  if missing:
    raise UserError(
      f"--format={format} needs {', '.join(missing)}: pip install -e '.[{form.extra}]'"
    )
  if target.exists() and (not target.is_dir() or any(target.iterdir())):
    raise SettingsError(
      Fault('output', f'is {target}, where something is already; choose another folder')
    )
  atomic_files.check_writable(target, 'output')
  model = TrainedModel.load(workdir, step=step)

  target.parent.mkdir(parents=True, exist_ok=True)
  unfinished = target.with_name(target.name + atomic_files.WRITING)
  shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
  try:
    with atomic_files.writing_to(target, 'output'):
      unfinished.mkdir()
      programs = form.write(model, pathlib.Path(workdir), unfinished)
      reporting.info('comparing its pictures with those of the model')
      comparison = compare(model, programs, functools.partial(form.run, unfinished), _COMPARED)
      described = card.description(model, format, programs, comparison)
      (unfinished / 'README.md').write_text(
        card.card(described, model, pathlib.Path(workdir)), encoding='utf-8'
      )
      (unfinished / DESCRIPTION).write_text(
        json.dumps(described, indent=1) + '\n', encoding='utf-8'
      )
      os.replace(unfinished, target)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
  return described

"""The studio as one HTML file that draws in the browser: no server, no network.

The page of `serving/page/` with another `api.js`: the programs of `onnx_model.py`, run by ONNX
Runtime Web. Everything is in the file: the modules in an import map, the runtime and the programs
as base64 of gzip.
"""

import base64
import gzip
import html
import importlib.resources
import json
import pathlib
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.drawing import sheets
from data_pipelines.pipeline import download
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES
from sg2im_jax.exporting import onnx_model
from sg2im_jax.exporting.programs import Arrays, Program, programs
from sg2im_jax.runtime import compilation, reporting
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.sampling.validation_scenes import ValidationScene

FILE = 'index.html'
# MIT licence, Microsoft Corporation. The SHA-256 is of the archive whose SHA-512 npm tells.
_RUNTIME = download.DataSetFiles(
  'https://www.npmjs.com/package/onnxruntime-web',
  (
    download.OfficialFile(
      'https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz',
      33106585,
      'd2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71',
    ),
  ),
)
_RUNTIME_FILES = {  # of the archive, by the ids of their elements
  'runtime': 'package/dist/ort.wasm.bundle.min.mjs',
  'wasm': 'package/dist/ort-wasm-simd-threaded.wasm',
}
_WORKER = 'worker.js'
_MANTISSA = 16  # bits that are kept of the 23 of a weight: the others compress badly
_ROUNDED = 256  # numbers from which on an array is of weights
# The page may use what it holds, and reach nothing else.
_POLICY = (
  "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' data: blob:; "
  "worker-src blob:; connect-src data: blob:; img-src data: blob:; style-src 'unsafe-inline'"
)


def write(
  model: TrainedModel, directory: pathlib.Path, scenes: Sequence[ValidationScene]
) -> list[Program]:
  """Writes index.html and returns the programs that it holds.

  Args:
    model: any.
    directory: is there.
    scenes: real ones, to compare with.
  """
  held = [program for program in programs(model, noise_is_given=True) if program.name != 'sample']
  elements = {f'program-{program.name}': _program(model, program) for program in held}
  text = _page(_known(model, held, scenes), elements | _runtime())
  (directory / FILE).write_text(text, encoding='utf-8')
  return held


def run(directory: pathlib.Path, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
  """The outputs of a program that the page holds, by ONNX Runtime outside of a browser."""
  found = re.search(
    rf'id="program-{name}">([^<]*)<', (directory / FILE).read_text(encoding='utf-8')
  )
  assert found is not None
  return onnx_model.run_bytes(gzip.decompress(base64.b64decode(found[1])), arrays)


def _program(model: TrainedModel, program: Program) -> bytes:
  """A program as ONNX, its weights rounded."""
  import onnx_ir  # pyright: ignore[reportMissingImports]

  found = onnx_model.converted(model, program)
  for value in found.graph.initializers.values():
    array = value.const_value.numpy()
    if array.dtype == np.float32 and array.size >= _ROUNDED:
      value.const_value = onnx_ir.tensor(_rounded(array))
  return onnx_model.serialized(found)


def _rounded(array: np.ndarray) -> np.ndarray:
  """The nearest numbers whose mantissas end in zeros."""
  dropped = 23 - _MANTISSA
  bits = np.ascontiguousarray(array).view(np.uint32) + np.uint32(1 << dropped - 1)
  return (bits >> dropped << dropped).view(np.float32)


def _runtime() -> dict[str, bytes]:
  """The files of ONNX Runtime Web, fetched once into the cache folder."""
  path = compilation.cache_directory() / _RUNTIME.files[0].name
  if not path.exists():
    reporting.info('fetching ONNX Runtime Web (33 MB)')
    download.fetch(_RUNTIME, str(path.parent))
  try:
    with tarfile.open(path) as archive:
      return {name: _member(archive, member) for name, member in _RUNTIME_FILES.items()}
  except (OSError, EOFError, KeyError, tarfile.TarError) as error:
    raise UserError(
      f'{path}: cannot be read ({error}); delete it to have it fetched again'
    ) from None


def _member(archive: tarfile.TarFile, name: str) -> bytes:
  file = archive.extractfile(name)
  assert file is not None
  return file.read()


def _known(
  model: TrainedModel, held: list[Program], scenes: Sequence[ValidationScene]
) -> dict[str, Any]:
  """All that the page knows beside the programs."""
  from sg2im_jax.serving import api
  from sg2im_jax.serving.engine import Engine

  with Engine(model) as engine:
    triples = () if model.statistics is None else model.statistics.relations
    relations: dict[str, Any] = {}
    for subject, object_ in dict.fromkeys((subject, object_) for subject, _, object_ in triples):
      shares = api.relations_between(engine, subject, object_)
      relations.setdefault(subject, {})[object_] = [
        (one.name, round(one.share, 4)) for one in shares if one.share
      ]
    tokens = model.settings.tokens
    return {
      'model': api.describe(engine).model_dump() | {'can_complete': False},
      'programs': [program.name for program in held],
      'latent_dim': 0 if tokens is None else tokens.latent_dim,
      'noise_dim': model.settings.model.layout_noise_dim,
      'vocabulary': model.vocabulary.to_dict(),
      'geometric': GEOMETRIC_PREDICATES,
      'relations': relations,
      'examples': [one.model_dump() for one in api.examples(engine)],
      'scenes': [one.model_dump() for one in api.real_scenes(scenes)],
      'pictures': [
        base64.b64encode(sheets.png(Image.fromarray(engine.example(index).result()))).decode()
        for index in range(len(engine.objects))
      ],
    }


def _page(known: Mapping[str, Any], elements: Mapping[str, bytes]) -> str:
  """The HTML: that of the studio, with everything in it that it loads."""
  studio = importlib.resources.files('sg2im_jax.serving') / 'page'
  own = importlib.resources.files('sg2im_jax.exporting') / 'page'
  modules = {
    file.name: file.read_text(encoding='utf-8')
    for folder in (studio, own)  # api.js of the second one
    for file in folder.iterdir()
    if file.name.endswith('.js')
  }
  worker = modules.pop(_WORKER)
  imports = {f'studio/{name}': _module(text) for name, text in modules.items()}
  icon = base64.b64encode((studio / 'icon.svg').read_bytes()).decode()
  replaced = {
    '<link rel="icon" href="/page/icon.svg" type="image/svg+xml">': (
      f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
      f'  <link rel="icon" href="data:image/svg+xml;base64,{icon}">'
    ),
    '<link rel="stylesheet" href="/page/studio.css">': (
      f'<style>\n{(studio / "studio.css").read_text(encoding="utf-8")}</style>'
    ),
    '<script type="module" src="/page/studio.js"></script>': (
      f'<script type="importmap">{_json({"imports": imports})}</script>'
    ),
    '</body>': ''.join(
      [
        f'<script type="application/json" id="known">{_json(known)}</script>\n',
        f'<script type="text/plain" id="worker">{worker}</script>\n',
        *(
          f'<script type="text/plain" id="{name}">{_packed(content)}</script>\n'
          for name, content in elements.items()
        ),
        '<script type="module">import \'studio/studio.js\';</script>\n</body>',
      ]
    ),
  }
  page = (studio / 'index.html').read_text(encoding='utf-8')
  for before, after in replaced.items():
    assert page.count(before) == 1, before
    page = page.replace(before, after)
  return page


def _module(text: str) -> str:
  """A module as an address; it imports the others by their names in the import map."""
  named = re.sub(r"from '\./([\w-]+\.js)'", r"from 'studio/\1'", text)
  return f'data:text/javascript;base64,{base64.b64encode(named.encode()).decode()}'


def _json(values: Any) -> str:
  """JSON that can stand in a script element."""
  return json.dumps(values, separators=(',', ':')).replace('<', '\\u003c')


def _packed(content: bytes) -> str:
  return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()

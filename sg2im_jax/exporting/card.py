"""What goes with an export: a description for programs, and a model card for people."""

import importlib.metadata
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from sg2im_jax.exporting.programs import Program
from sg2im_jax.exporting.verification import Comparison
from sg2im_jax.sampling.trained_model import TrainedModel

_PACKAGES = ('jax', 'tensorflow-cpu', 'tensorflow', 'jax2onnx', 'onnxruntime')
_CLIENTS = {
  'stablehlo': (
    'Needs `jax` alone, on a CPU, a CUDA GPU or a TPU:',
    """```python
import json, pathlib, jax, numpy as np
from PIL import Image

folder = pathlib.Path('.')  # of this file
names = json.loads((folder / 'model.json').read_text())['vocabulary']
program = jax.export.deserialize(bytearray((folder / 'sample.stablehlo').read_bytes()))
inputs = {
{inputs}
}
Image.fromarray(np.asarray(program.call(inputs)['pictures'])[0]).save('picture.png')
```""",
  ),
  'saved_model': (
    'Signatures are the programs below; `serving_default` is `sample`. TensorFlow Serving takes '
    'the folder as `models/NAME/1`, with `curl -d \'{"inputs": {...}}\' '
    'http://HOST:8501/v1/models/NAME:predict`. In Python:',
    """```python
import json, pathlib, numpy as np, tensorflow as tf
from PIL import Image

folder = pathlib.Path('.')  # of this file
names = json.loads((folder / 'model.json').read_text())['vocabulary']
model = tf.saved_model.load(str(folder))
inputs = {
{inputs}
}
pictures = model.signatures['sample'](**{name: tf.constant(one) for name, one in inputs.items()})
Image.fromarray(pictures['pictures'].numpy()[0]).save('picture.png')
```""",
  ),
  'onnx': (
    "ONNX has no generator of random numbers that is JAX's, so noise is an input. In Python, with "
    '`onnxruntime`:',
    """```python
import json, pathlib, numpy as np, onnxruntime
from PIL import Image

folder = pathlib.Path('.')  # of this file
names = json.loads((folder / 'model.json').read_text())['vocabulary']
session = onnxruntime.InferenceSession(folder / 'sample.onnx')
inputs = {
{inputs}
}
Image.fromarray(session.run(['pictures'], inputs)[0][0]).save('picture.png')
```

In JavaScript, with `onnxruntime-web` from npm:

```js
import * as ort from 'onnxruntime-web';
const { vocabulary } = await (await fetch('model.json')).json();
const session = await ort.InferenceSession.create('sample.onnx');
const ids = (values, ...shape) => new ort.Tensor('int32', Int32Array.from(values), shape);
const { sqrt, log, cos, PI, random } = Math;
const normal = () => sqrt(-2 * log(1 - random())) * cos(2 * PI * random());
const { pictures } = await session.run({
{javascript}
}); // pictures.data: RGB
```""",
  ),
  'page': (
    '`index.html` holds everything and reaches no network: open it from the disk, or put it on any '
    'host of files. What follows `#` in its address is a scene.',
    '',
  ),
}


def description(
  model: TrainedModel, format: str, programs: Sequence[Program], comparison: Comparison
) -> dict[str, Any]:
  """What model.json holds: how to call the programs, what the names mean, how exact it is."""
  settings = model.settings
  return {
    'format': format,
    'fingerprint': model.fingerprint,
    'step': model.step,
    'data': settings.data.name,
    'image_size': list(settings.data.image_size),
    'programs': {
      program.name: {
        'meaning': program.meaning,
        **{
          direction: [
            {
              'name': port.name,
              'dtype': port.dtype,
              'shape': list(port.shape),
              'meaning': port.meaning,
            }
            for port in ports
          ]
          for direction, ports in (('inputs', program.inputs), ('outputs', program.outputs))
        },
      }
      for program in programs
    },
    'vocabulary': model.vocabulary.to_dict(),
    'verification': {
      'pictures': comparison.num_pictures,
      'largest_difference': comparison.largest_difference,
      'equal_share': round(comparison.equal_share, 6),
    },
    'made_with': _versions(),
  }


def card(described: dict[str, Any], model: TrainedModel, workdir: pathlib.Path) -> str:
  """The model card, in Markdown.

  Args:
    described: see `description`.
    model: that was exported.
    workdir: whose README.md is taken over, if there is one.
  """
  verification, vocabulary = described['verification'], model.vocabulary
  height, width = described['image_size']
  how, client = _CLIENTS[described['format']]
  lines = [
    f'# A model of {described["data"]}, {width} x {height} pixels, as {described["format"]}',
    '',
    f'Pictures of scene graphs, by a generator of training step {described["step"]}; fingerprint '
    f'`{described["fingerprint"]}`. It knows {vocabulary.num_objects - 1} classes of objects, '
    f'{vocabulary.num_predicates - 1} relations and {vocabulary.num_attributes} attributes: the '
    'names are in `model.json`.',
    '',
    f'Tried when it was made: {verification["pictures"]} pictures beside those of the model; the '
    f'largest difference of a pixel is {verification["largest_difference"]} of 255, and '
    f'{verification["equal_share"]:.4%} of the values are equal.',
    *(f'\n{sentence}' for sentence in model.limits),
    '',
    '## Use',
    '',
    how,
    *(('', _filled(client, described)) if client else ()),
    '',
  ]
  if described['format'] != 'page':
    lines += [
      '## Programs',
      '',
      'Sizes are decided at each call: B graphs, N objects, R relationships, A attributes. Ids are '
      'those of `model.json`; -1 is padding. What is nan, of an object, the model chooses.',
      '',
    ]
    for name, program in described['programs'].items():
      lines += [
        f'`{name}`: {program["meaning"]}',
        '',
        '| | name | type | what |',
        '|---|---|---|---|',
      ]
      for direction in ('inputs', 'outputs'):
        for port in program[direction]:
          kind = f'{port["dtype"]}[{", ".join(map(str, port["shape"]))}]'
          lines.append(f'| {direction[:-1]} | `{port["name"]}` | {kind} | {port["meaning"]} |')
      lines.append('')
  source = workdir / 'README.md'
  if source.is_file():
    lines += ['## The card of the model', '', '````markdown']
    lines += [source.read_text(encoding='utf-8').rstrip(), '````', '']
  return '\n'.join(lines)


def _filled(client: str, described: dict[str, Any]) -> str:
  """A client with the inputs of this model."""
  filled = client.replace('{inputs}', _python(described))
  return filled.replace('{javascript}', _javascript(described))


def _graph(described: dict[str, Any]) -> tuple[list[str], str]:
  """Names of a few objects, and a predicate between the first two of them."""
  objects = list(described['vocabulary']['object_name_to_idx'])
  predicates = list(described['vocabulary']['pred_name_to_idx'])
  wanted = ['sky', 'grass', 'sheep']
  names = wanted if set(wanted) <= set(objects) else objects[1:4]
  return names, 'above' if 'above' in predicates else predicates[-1]


def _shape(port: dict[str, Any], num_objects: int) -> tuple[int, ...]:
  """Of the example's input: one graph, one relationship, no attributes."""
  sizes = {'B': 1, 'N': num_objects, 'R': 1, 'A': 1, 'N+1': num_objects + 1}
  return tuple(size if isinstance(size, int) else sizes[size] for size in port['shape'])


def _python(described: dict[str, Any]) -> str:
  """The inputs of a graph, as lines of Python."""
  names, predicate = _graph(described)
  lines = []
  for port in described['programs']['sample']['inputs']:
    shape = _shape(port, len(names))
    values = {
      'objects': f"np.array([[names['object_name_to_idx'][name] for name in {names}]], np.int32),",
      'relationships': f"np.array([[[0, names['pred_name_to_idx']['{predicate}'], 1]]], np.int32),",
      'attributes': f'np.full({shape}, -1, np.int32),  # none',
      'scene': f'np.full({shape}, -1, np.int32),  # none',
      'seed': 'np.array([0], np.int32),',
      'number': 'np.array([0], np.int32),',
    }
    noise = f'np.random.default_rng(0).normal(size={shape}).astype(np.float32),'
    lines.append(f"  '{port['name']}': {values.get(port['name'], noise)}")
  return '\n'.join(lines)


def _javascript(described: dict[str, Any]) -> str:
  """The same in JavaScript."""
  names, predicate = _graph(described)
  lines = []
  for port in described['programs']['sample']['inputs']:
    shape = _shape(port, len(names))
    dims, count = ', '.join(map(str, shape)), math.prod(shape)
    values = {
      'objects': f'ids({names}.map((name) => vocabulary.object_name_to_idx[name]), {dims})',
      'relationships': f"ids([0, vocabulary.pred_name_to_idx['{predicate}'], 1], {dims})",
    }
    if port['name'].endswith('noise'):
      noise = f'Float32Array.from({{ length: {count} }}, normal)'
      values[port['name']] = f"new ort.Tensor('float32', {noise}, [{dims}])"
    lines.append(
      f'  {port["name"]}: {values.get(port["name"], f"ids(Array({count}).fill(-1), {dims})")},'
    )
  return '\n'.join(lines)


def _versions() -> dict[str, str]:
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found

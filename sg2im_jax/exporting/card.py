"""What goes with an export: a description for programs, and a model card for people."""

import importlib.metadata
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
```""",
  ),
  'page': (
    '`index.html` holds everything and reaches no network: open it from the disk, or put it on any '
    'host. `?` and what follows it is not used; what follows `#` is a scene.',
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
    *(('', client.replace('{inputs}', _example(described))) if client else ()),
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


def _example(described: dict[str, Any]) -> str:
  """The inputs of a graph, as lines of Python."""
  known = described['vocabulary']['object_name_to_idx']
  wanted = [name for name in ('sky', 'grass', 'sheep') if name in known]
  names = wanted if len(wanted) == 3 else list(known)[1:4]
  predicate = list(described['vocabulary']['pred_name_to_idx'])[-1]
  if 'above' in described['vocabulary']['pred_name_to_idx']:
    predicate = 'above'
  lines = []
  for port in described['programs']['sample']['inputs']:
    shape = [
      {'B': 1, 'N': len(names), 'A': 1, 'N+1': len(names) + 1}.get(one, one)
      for one in port['shape']
    ]
    if port['name'] == 'objects':
      value = f"np.array([[names['object_name_to_idx'][name] for name in {names}]], np.int32)"
    elif port['name'] == 'relationships':
      value = f"np.array([[[0, names['pred_name_to_idx']['{predicate}'], 1]]], np.int32)"
    elif port['name'] in ('seed', 'number'):
      value = 'np.array([0], np.int32)'
    elif port['name'].endswith('noise'):
      value = f'np.random.default_rng(0).normal(size={tuple(shape)}).astype(np.float32)'
    else:
      value = f'np.full({tuple(shape)}, -1, np.int32)  # none'
      lines.append(f"  '{port['name']}': {value}".replace('  # none', ',  # none'))
      continue
    lines.append(f"  '{port['name']}': {value},")
  return '\n'.join(lines)


def _versions() -> dict[str, str]:
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found

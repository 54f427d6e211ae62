"""The output directory of `sample`: what it holds of a file of graphs, and how it is filled.

Files are written atomically, and a graph's graph.json after all its other files. So a graph with
graph.json is complete, whenever the program was killed, and any other graph is sampled again.
"""

import dataclasses
import enum
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines import atomic_files
from data_pipelines.drawing import layouts, sheets
from data_pipelines.drawing.graphs import draw_graph
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.graphs import GraphSamples

_OVERVIEW_ROWS = 20
_LAYOUT_SIDE = 256  # pixels
_DRAWINGS = ('graph.png', 'layout.png', 'sheet.png')


class State(enum.Enum):
  """What a directory has of a graph: what is asked for, something else, or nothing complete."""

  COMPLETE = enum.auto()
  OUTDATED = enum.auto()
  MISSING = enum.auto()


@dataclasses.dataclass(frozen=True)
class OutputDirectory:
  """The files of a run of `sample`.

  Attributes:
    directory: of all of them; made with the first one.
    num_graphs: in the file of graphs; says how many digits the names of folders have.
    samples_per_graph: pictures of each graph.
    drawings: whether graph.png, layout.png, sheet.png and overviews are drawn besides.
    facts: what graph.json says of the run, fit for JSON; a graph with other facts is outdated.
  """

  directory: pathlib.Path
  num_graphs: int
  samples_per_graph: int
  drawings: bool
  facts: dict[str, Any]

  def folder(self, index: int) -> pathlib.Path:
    """Of graph `index`; names sort as numbers do."""
    return self.directory / f'graph_{index:0{max(3, len(str(self.num_graphs - 1)))}}'

  def state(self, index: int, graph: SceneGraph) -> State:
    """What is there of a graph of the file."""
    folder = self.folder(index)
    try:
      found = set(os.listdir(folder))
      record = json.loads((folder / 'graph.json').read_text())
    except FileNotFoundError:
      return State.MISSING
    except ValueError:
      return State.OUTDATED
    expected = _record(index, graph, self._samples(), self.facts)
    same = isinstance(record, dict) and _without_boxes(record) == json.loads(json.dumps(expected))
    return State.COMPLETE if same and found >= self._pictures() else State.OUTDATED

  def write(self, samples: GraphSamples):
    """Writes the folder of a graph, in place of what may be there."""
    folder = self.folder(samples.index)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'graph.json').unlink(missing_ok=True)
    for name in os.listdir(folder):
      if (
        name.endswith(atomic_files.WRITING)
        or name in _DRAWINGS
        or re.fullmatch(r'sample_\d+\.png', name)
      ):
        (folder / name).unlink()
    for name, picture in zip(self._samples(), samples.pictures, strict=True):
      _write_picture(folder / name, Image.fromarray(picture))
    if self.drawings:
      graph, layout = draw_graph(samples.graph), _draw_layout(samples)
      sheet = sheets.contact_sheet(graph, layout, samples.pictures)
      for name, picture in zip(_DRAWINGS, (graph, layout, sheet), strict=True):
        _write_picture(folder / name, picture)
    record = record_of(samples, self._samples(), self.facts)
    atomic_files.write(folder / 'graph.json', _to_json(record).encode())

  def write_overviews(self) -> list[pathlib.Path]:
    """Draws every graph beside its pictures, _OVERVIEW_ROWS graphs a file, from the files of the
    graphs.
    """
    starts = range(0, self.num_graphs, _OVERVIEW_ROWS)
    digits = len(str(len(starts) - 1))
    paths = []
    for number, start in enumerate(starts):
      folders = [
        self.folder(index) for index in range(start, min(start + _OVERVIEW_ROWS, self.num_graphs))
      ]
      rows = [
        (
          _read(folder / 'graph.png'),
          _read(folder / 'layout.png'),
          np.stack([np.asarray(_read(folder / name)) for name in self._samples()]),
        )
        for folder in folders
      ]
      paths.append(
        self.directory / (f'overview_{number:0{digits}}.png' if len(starts) > 1 else 'overview.png')
      )
      _write_picture(
        paths[-1],
        sheets.overview(*zip(*rows, strict=True), titles=[folder.name for folder in folders]),
      )
    return paths

  def _samples(self) -> list[str]:
    return [f'sample_{index}.png' for index in range(self.samples_per_graph)]

  def _pictures(self) -> set[str]:
    return {*self._samples(), *(_DRAWINGS if self.drawings else ())}


def record_of(
  samples: GraphSamples, names: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
  """What graph.json says of the samples of a graph.

  Args:
    samples: of one graph.
    names: of the files of its pictures.
    facts: about the run, fit for JSON.
  """
  record = _record(samples.index, samples.graph, names, facts)
  boxes = np.round(samples.boxes.astype(float), 5).swapaxes(0, 1).tolist()  # of each object
  for entry, of_samples in zip(record['objects'], boxes, strict=True):
    entry['box'] = of_samples[0]  # as layout.png
    if samples.latents is not None:  # each sample has a layout of its own
      entry['boxes'] = of_samples
  return record


def _record(
  index: int, graph: SceneGraph, names: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
  """The same but for the boxes."""
  objects: list[dict[str, Any]] = [{'name': name} for name in graph.objects]
  for entry, attributes in zip(objects, graph.attributes, strict=False):  # none, or one for each
    if attributes:
      entry['attributes'] = attributes
  return {
    'objects': objects,
    'relationships': graph.relationships,
    **({'scene': graph.scene} if graph.scene else {}),
    'samples': list(names),
    'graph': index,
    **facts,
  }


def _without_boxes(record: dict[str, Any]) -> dict[str, Any]:
  objects = record.get('objects')
  if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
    return {}
  return {
    **record,
    'objects': [
      {key: value for key, value in entry.items() if key not in ('box', 'boxes')}
      for entry in objects
    ],
  }


def _to_json(record: dict[str, Any]) -> str:
  """JSON with an object, a relationship or a picture a line."""

  def text(value: Any) -> str:
    if not isinstance(value, list | tuple):
      return json.dumps(value)
    return '[\n    ' + ',\n    '.join(map(json.dumps, value)) + '\n  ]'

  return (
    '{\n  ' + ',\n  '.join(f'"{key}": {text(value)}' for key, value in record.items()) + '\n}\n'
  )


def _draw_layout(samples: GraphSamples) -> Image.Image:
  """The layout of the first sample."""
  height, width = samples.pictures.shape[1:3]
  size = (
    round(_LAYOUT_SIDE * height / max(height, width)),
    round(_LAYOUT_SIDE * width / max(height, width)),
  )
  return layouts.draw_layout(samples.graph.objects, *samples.layout(0), size)


def _read(path: pathlib.Path) -> Image.Image:
  with Image.open(path) as picture:
    return picture.convert('RGB')


def _write_picture(path: pathlib.Path, picture: Image.Image):
  # In memory first: Pillow's own message does not say why a file could not be written.
  atomic_files.write(path, sheets.png(picture))

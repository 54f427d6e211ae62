"""Samples of very many graphs in few files: tar archives, as WebDataset reads them.

A shard holds SHARD graphs in their order. Of a graph, KEY.json says what graph.json says, and
KEY.0.png, KEY.1.png, ... are its pictures. Shards are written whole or not at all, so what is there
need not be sampled again.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import tarfile
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from data_pipelines import atomic_files
from data_pipelines.drawing import sheets
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.graphs import GraphSamples
from sg2im_jax.sampling.output_directory import record_of

SHARD = 1000  # graphs
_DESCRIPTION = 'shards.json'


@dataclasses.dataclass(frozen=True)
class ShardDirectory:
  """The shards of a run of `sample`.

  Attributes:
    directory: of all of them; made with the first one.
    graphs: of the file.
    samples_per_graph: pictures of each graph.
    facts: what KEY.json says of the run, fit for JSON.
  """

  directory: pathlib.Path
  graphs: Sequence[SceneGraph]
  samples_per_graph: int
  facts: dict[str, Any]

  def __len__(self) -> int:
    return -(-len(self.graphs) // SHARD)

  def path(self, number: int) -> pathlib.Path:
    """Of a shard; names sort as numbers do."""
    return self.directory / f'graphs-{number:06d}-of-{len(self):06d}.tar'

  def indices(self, number: int) -> range:
    """The graphs of a shard."""
    return range(number * SHARD, min((number + 1) * SHARD, len(self.graphs)))

  def begin(self):
    """Says in shards.json what the shards are of.

    Raises:
      UserError: the directory has shards of something else.
    """
    path, described = self.directory / _DESCRIPTION, self._description()
    try:
      found = json.loads(path.read_text())
    except FileNotFoundError:
      self.directory.mkdir(parents=True, exist_ok=True)
      atomic_files.write(path, (json.dumps(described, indent=1) + '\n').encode())
      return
    except ValueError:
      found = {}
    if found != described:
      changed = [
        key for key in described if not isinstance(found, dict) or found.get(key) != described[key]
      ]
      raise UserError(
        f'{self.directory} has shards of other {", ".join(changed)} than asked for; choose another '
        'directory, or delete it'
      )

  def write(self, number: int, samples: Iterable[GraphSamples]):
    """Writes a shard of all its graphs, which come in any order."""
    entries = {}
    for one in samples:
      key = f'{one.index:09d}'
      names = [f'{key}.{sample}.png' for sample in range(self.samples_per_graph)]
      record = json.dumps(record_of(one, names, self.facts)).encode()
      pictures = [sheets.png(Image.fromarray(picture)) for picture in one.pictures]
      entries[one.index] = [(f'{key}.json', record), *zip(names, pictures, strict=True)]
    path = self.path(number)
    unfinished = path.with_name(path.name + atomic_files.WRITING)
    with tarfile.open(unfinished, 'w') as archive:
      for index in self.indices(number):
        for name, content in entries[index]:
          member = tarfile.TarInfo(name)
          member.size = len(content)
          archive.addfile(member, io.BytesIO(content))
    os.replace(unfinished, path)

  def _description(self) -> dict[str, Any]:
    digest = hashlib.sha256()
    for graph in self.graphs:
      digest.update(json.dumps(graph.to_dict()).encode())
    return {
      **self.facts,
      'samples_per_graph': self.samples_per_graph,
      'graphs': len(self.graphs),
      'graphs_sha256': digest.hexdigest(),
      'graphs_per_shard': SHARD,
    }

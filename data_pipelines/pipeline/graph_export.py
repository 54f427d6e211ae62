"""The scene graphs of a prepared split as a JSON file."""

import pathlib

from data_pipelines import atomic_files
from data_pipelines.pipeline.prepared import SplitVisits
from data_pipelines.scene_graphs.graph import to_json


def write_graphs(
  visits: SplitVisits, output: str, num_graphs: int | None = None
) -> tuple[int, pathlib.Path]:
  """Writes the graphs, and the ids of their images beside them.

  Args:
    visits: to the scenes.
    output: path of the JSON file, whose directory is made if it is missing; the ids go to the same
      path with the ending .ids.txt.
    num_graphs: how many, from the start of the split; None for all.

  Returns:
    The number of graphs and the path of the ids.

  Raises:
    SettingsError: `output` cannot be written.
  """
  path = pathlib.Path(output)
  ids_path = path.with_suffix('.ids.txt')
  atomic_files.check_writable(path.parent, 'output')
  scenes = [(scene.image_id, scene.graph) for scene in visits.scenes(num_graphs)]
  ids = ''.join(f'{image_id}\n' for image_id, _ in scenes)
  with atomic_files.writing_to(path, 'output'):
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, to_json([graph for _, graph in scenes]).encode())
    atomic_files.write(ids_path, ids.encode())
  return len(scenes), ids_path

"""The scene graphs of a prepared split as a JSON file."""

import pathlib

from data_pipelines.pipeline.prepared import SplitVisits
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.graph import to_json


def write_graphs(
  visits: SplitVisits, output: str, num_graphs: int | None = None
) -> tuple[int, pathlib.Path]:
  """Writes the graphs, and the ids of their images beside them.

  Args:
    visits: to the scenes.
    output: path of the JSON file; the ids go to the same path with the ending .ids.txt.
    num_graphs: how many, from the start of the split; None for all.

  Returns:
    The number of graphs and the path of the ids.

  Raises:
    SettingsError: `output` cannot be written.
  """
  path = pathlib.Path(output)
  ids_path = path.with_suffix('.ids.txt')
  scenes = [(scene.image_id, scene.graph) for scene in visits.scenes(num_graphs)]
  ids = ''.join(f'{image_id}\n' for image_id, _ in scenes)
  try:
    path.write_text(to_json([graph for _, graph in scenes]), encoding='utf-8', newline='\n')
    ids_path.write_text(ids, encoding='utf-8', newline='\n')
  except OSError as error:
    raise SettingsError(
      Fault(
        'output',
        f'is {output}, which cannot be written ({error.strerror}); expected a file in an existing '
        'directory, such as graphs.json',
      )
    ) from error
  return len(scenes), ids_path

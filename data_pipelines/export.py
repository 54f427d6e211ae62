"""Writes the scene graphs of a prepared split as the JSON that `python -m sg2im_jax.sample` reads.

  python -m data_pipelines.export --data_dir=datasets/prepared --split=val --output=graphs.json

The relations are those that evaluation with the same seed draws, so a file freezes the graphs of an
evaluation: the same seed writes the same bytes. Which image each graph is of stands in a second
file, graphs.ids.txt for graphs.json: line i is the id of the image of graph i, counted from 0 in
both.

Where --data_dir holds several prepared data sets, --dataset says which one.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from data_pipelines import command_line
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import to_json


def export(visits: prepared.SplitVisits, output: str, num_graphs: int | None):
  """Writes the graphs of the first scenes, or of all, and the ids of their images."""
  path = pathlib.Path(output)
  ids_path = path.with_suffix('.ids.txt')
  image_ids, graphs = zip(
    *((scene.image_id, scene.graph) for scene in visits.scenes(num_graphs)), strict=True
  )
  try:
    path.write_text(to_json(graphs), encoding='utf-8', newline='\n')
    ids_path.write_text(
      ''.join(f'{image_id}\n' for image_id in image_ids), encoding='utf-8', newline='\n'
    )
  except OSError as error:
    raise UserError(
      f'--output={output}: cannot be written ({error.strerror}); expected a file in an existing '
      'directory, such as graphs.json'
    ) from error
  print(f'{path}: {len(graphs)} graphs of {visits}; the ids of their images: {ids_path}')


def main(_: Sequence[str]):
  export(prepared.visits_of_flags(), flags.FLAGS.output, flags.FLAGS.num_graphs)


if __name__ == '__main__':
  prepared.define_flags()
  flags.adopt_module_key_flags(prepared)
  flags.DEFINE_string('output', 'graphs.json', 'Where to write the graphs.')
  flags.DEFINE_integer(
    'num_graphs',
    None,
    'How many graphs, from the start of the split; by default all.',
    lower_bound=1,
  )
  command_line.run(main)

"""Draws pictures from scene graphs with a trained model.

  python -m sg2im_jax.sample --workdir=runs/storybook --scene_graphs=examples/sheep.json
  --output_dir=pictures

A scene graph names objects and says how they stand to each other, by their places in the list of
objects:

  {"objects": ["sky", "grass", "sheep"], "relationships": [[0, "above", 1], [2, "standing on", 1]]}

The file holds one graph or a list of them. Nothing but the work directory of a training run is
needed: it holds the model and the names that the model knows. The same seed gives the same pixels.
What is written:

  OUTPUT_DIR/overview.png      every graph beside its pictures (overview_0.png, ... where there are many graphs)
  OUTPUT_DIR/graph_000/        one folder a graph, named by its place in the file:
    sample_0.png, ...            the pictures
    graph.png                    the graph
    layout.png                   where the model puts each object: box, mask and name
    sheet.png                    all of these on one sheet
    graph.json                   the objects with their boxes, the relationships, seed, training step and model

For more than 100 graphs only sample_*.png and graph.json, unless --pictures=all asks for the rest,
which takes far more time than the pictures.

Stopped at any time, even killed, the same command goes on: graphs that are complete and were drawn
from the same model, with the same settings, stay as they are. Several devices share the work. So do
several processes, each of which draws every N-th graph into the same directory; the first makes the
overviews when all are done.
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from data_pipelines.pipeline.parallel import ordered_map
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph, load_scene_graphs
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.runtime import command_line, compilation, hosts
from sg2im_jax.sampling.sample_files import SampleFiles, State
from sg2im_jax.sampling.sampler import Sampler, check_graphs, sample_graphs
from sg2im_jax.storage import checkpoints

_MOST_GRAPHS_WITH_DRAWINGS = 100


def sample_file(
  workdir: str,
  scene_graphs: str,
  output_dir: str,
  *,
  samples_per_graph: int,
  seed: int,
  stretch: bool | None,
  batch_size: int | None = None,
  pictures: str | None = None,
):
  """The command; the arguments are its flags. Every graph is checked before anything is drawn or
  written.
  """
  graphs = load_scene_graphs(scene_graphs)
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  check_graphs(graphs, vocabulary, scene_graphs)
  if config.data.relations == 'none' and any(graph.relationships for graph in graphs):
    hosts.say('this model was trained without relationships: those of the graphs are left out')
    graphs = [SceneGraph(graph.objects, ()) for graph in graphs]
  if config.losses.bbox_weight == 0:
    hosts.say('this model was trained without a box loss: the boxes that it predicts mean nothing')
  if pictures is None and len(graphs) > _MOST_GRAPHS_WITH_DRAWINGS:
    hosts.say(
      f'{len(graphs)} graphs: of each sample_*.png and graph.json alone; --pictures=all draws '
      'graphs, layouts '
      'and overviews, too'
    )
  stretch = config.sampling.stretch if stretch is None else stretch
  files = SampleFiles(
    pathlib.Path(output_dir),
    len(graphs),
    samples_per_graph,
    drawings=pictures == 'all' or (pictures is None and len(graphs) <= _MOST_GRAPHS_WITH_DRAWINGS),
    facts={
      'seed': seed,
      'step': step,
      'stretch': stretch,
      'model': fingerprint(config, vocabulary, variables),
    },
  )
  sampler = Sampler(models.build_generator(config, vocabulary), variables)
  try:
    left = _not_complete(files, graphs)
    drawn = sample_graphs(
      sampler,
      left,
      vocabulary,
      samples_per_graph=samples_per_graph,
      seed=seed,
      stretch=stretch,
      batch_size=batch_size,
    )
    for _ in command_line.announced(
      ordered_map(files.write, drawn), len(left), 'graphs', samples_per_graph
    ):
      pass
    hosts.barrier('all graphs are drawn')
    look_at = files.directory
    if files.drawings and hosts.is_first():
      look_at = ', '.join(map(str, files.write_overviews()))
    hosts.barrier('the overviews are drawn')
  except OSError as error:
    raise UserError(
      f'cannot write to {output_dir}: {error.strerror or error}; free space or choose an '
      '--output_dir '
      'that can be written; the same command goes on where it stopped'
    ) from error
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise UserError(
      'a batch does not fit the memory of the devices; give a --batch_size smaller than '
      f'{sampler.batch_size(len(graphs) * samples_per_graph, batch_size)}'
    ) from error
  hosts.say(
    f'{_count(len(graphs), "graph")}, {_count(samples_per_graph, "picture")} each, by the model of '
    'step '
    f'{step}: look at {look_at}'
  )


def fingerprint(config: ConfigDict, vocabulary: Vocabulary, variables: Any) -> str:
  """16 hexadecimal digits that tell whether two models draw the same: of networks, names and
  arrays.
  """
  settings = {
    'dtype': config.dtype,
    'image_size': config.data.image_size,
    'model': config.model.to_dict(),
    'vocabulary': vocabulary.to_dict(),
  }
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for path, array in jax.tree_util.tree_leaves_with_path(variables):
    digest.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()[:16]


def _not_complete(files: SampleFiles, graphs: Sequence[SceneGraph]) -> dict[int, SceneGraph]:
  """This process's graphs, by index, of which something is missing."""
  mine = range(jax.process_index(), len(graphs), jax.process_count())
  states = {index: files.state(index, graphs[index]) for index in mine}
  found = list(states.values())
  part = 'graphs' if jax.process_count() == 1 else f'graphs of process {jax.process_index()}'
  if State.COMPLETE in found:
    hosts.say(f'{found.count(State.COMPLETE)} of {len(mine)} {part} are there already')
  if State.OUTDATED in found:
    hosts.say(
      f'{found.count(State.OUTDATED)} of {len(mine)} {part} are there otherwise (another seed, '
      'model, setting '
      'or graph, or incomplete): they are replaced'
    )
  return {index: graphs[index] for index, state in states.items() if state is not State.COMPLETE}


def _count(number: int, noun: str) -> str:
  return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def _define_flags():
  """Called by the command alone: other commands have flags of the same names, and may import this
  module.
  """
  flags.DEFINE_string('workdir', None, 'Work directory of a training run.', required=True)
  flags.DEFINE_string(
    'scene_graphs', None, 'JSON file with one scene graph or a list of them.', required=True
  )
  flags.DEFINE_string(
    'output_dir', None, 'Folder for the pictures; made if it is not there.', required=True
  )
  flags.DEFINE_integer('samples_per_graph', 4, 'Pictures of each graph.', lower_bound=1)
  flags.DEFINE_integer(
    'seed', 0, 'The same seed gives the same pixels.', lower_bound=0, upper_bound=2**31 - 1
  )
  flags.DEFINE_bool(
    'stretch',
    None,
    'Spread each picture over its own darkest to brightest value. That changes contrast and '
    'colours. The published pictures and scores of this model were made so: use it to compare with '
    'them. By default '
    'what the config says: off for models trained here, on for converted checkpoints.',
  )
  flags.DEFINE_integer(
    'batch_size',
    None,
    'Pictures drawn at once by all devices of a process; by default 64 for each device, and '
    'fewer where there are fewer to draw.',
    lower_bound=1,
  )
  flags.DEFINE_enum(
    'pictures',
    None,
    ['all', 'samples'],
    'What to write of each graph: all, or the samples and graph.json alone. By '
    f'default all for up to {_MOST_GRAPHS_WITH_DRAWINGS} graphs.',
  )
  hosts.define_flags()
  flags.adopt_module_key_flags(hosts)


def main(_: Sequence[str]):
  compilation.configure()
  hosts.initialize()
  values = flags.FLAGS
  sample_file(
    values.workdir,
    values.scene_graphs,
    values.output_dir,
    samples_per_graph=values.samples_per_graph,
    seed=values.seed,
    stretch=values.stretch,
    batch_size=values.batch_size,
    pictures=values.pictures,
  )


if __name__ == '__main__':
  _define_flags()
  command_line.run(main)

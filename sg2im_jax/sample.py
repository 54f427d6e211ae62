"""Samples pictures of scene graphs from a trained model.

  python -m sg2im_jax.sample --workdir=runs/storybook --scene_graphs=examples/sheep.json \\
      --output_dir=pictures
  python -m sg2im_jax.sample --workdir=runs/storybook --output_dir=pictures \\
      --text='two white sheep on grass, a boat in the sea behind them, sky above'

A scene graph names objects and says how they stand to each other, by their places in the list of
objects, and may say what they are like:

  {"objects": ["sky", "grass", "sheep"],
   "relationships": [[0, "above", 1], [2, "standing on", 1]],
   "attributes": [[], [], ["white"]],
   "scene": ["evening"]}

The file holds one graph or a list of graphs. A text is read as one graph, which is printed; what is
not understood of it is told and left out. Nothing but the work directory of a training run is
needed: it holds the model and the names that the model knows. The same seed gives the same pixels.
What is written:

  OUTPUT_DIR/overview.png      every graph beside its pictures (overview_0.png, ... of many graphs)
  OUTPUT_DIR/graph_000/        a folder for each graph, named by its place in the file:
    sample_0.png, ...            the pictures
    graph.png                    the graph
    layout.png                   where the model puts each object: box, mask and name
    sheet.png                    all of these on one sheet
    graph.json                   the objects with their boxes, the relationships, seed, training
                                 step and model

Of more than 100 graphs only sample_*.png and graph.json are written, unless --pictures=all asks for
the rest, which takes far more time than the pictures. --pictures=shards writes the same into tar
archives of 1,000 graphs each, as WebDataset reads them: graphs-000000-of-000100.tar, ...

Stopped at any time, even killed, the same command continues: graphs that are complete and were
sampled from the same model with the same settings are kept. Several devices share the work. So do
several processes, each of which takes every N-th graph and writes to the same directory; the first
one makes the overviews when all are done.
"""

import json
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from data_pipelines.command_line import PROSE
from data_pipelines.language.parser import parse_text
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.graph import SceneGraph, load_scene_graphs
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Seed
from sg2im_jax.runtime import command_line, hosts, reporting

if TYPE_CHECKING:
  from sg2im_jax.sampling.trained_model import TrainedModel


class SampleOptions(hosts.HostOptions):
  """The flags of the command."""

  workdir: str = Field(description='Work directory of a training run.')
  scene_graphs: str | None = Field(
    None, description='JSON file with one scene graph or a list of them.'
  )
  text: Annotated[str | None, PROSE] = Field(
    None,
    description='A scene in English, such as "a red boat in the sea, sky above"; in place of '
    '--scene_graphs.',
  )
  output_dir: str = Field(description='Folder for the pictures; made if it is missing.')
  complete: NonNegativeInt = Field(
    0, description='Objects to add to each graph, as likely as in the training data.'
  )
  samples_per_graph: PositiveInt = Field(4, description='Pictures of each graph.')
  seed: Seed = Field(0, description='The same seed gives the same pixels.')
  stretch: bool | None = Field(
    None,
    description='Spread each picture over its own darkest to brightest value, which changes '
    'contrast and colours. The published pictures and scores were made so: use it to compare with '
    'them. By default as in the config: off for models trained here, on for converted checkpoints.',
  )
  batch_size: PositiveInt | None = Field(
    None,
    description='Pictures computed at a time by all devices of a process; by default 64 for each '
    'device, and fewer where there are fewer.',
  )
  pictures: Literal['all', 'samples', 'shards'] | None = Field(
    None,
    description='What to write of each graph: all, or the samples and graph.json alone, in a '
    'folder of its own or in shards, tar archives of 1,000 graphs. By default all of up to 100.',
  )


def sample(options: SampleOptions):
  from sg2im_jax.sampling.bulk import sample_to_directory  # its imports take most of a second
  from sg2im_jax.sampling.trained_model import TrainedModel

  if (options.scene_graphs is None) == (options.text is None):
    given = 'are both given' if options.text is not None else 'are both missing'
    raise SettingsError(Fault('scene_graphs', f'and --text {given}; expected one of them'))
  if options.scene_graphs is not None:
    graphs, source = load_scene_graphs(options.scene_graphs), options.scene_graphs
    model = TrainedModel.load(options.workdir)
  else:
    assert options.text is not None
    model = TrainedModel.load(options.workdir)
    parsed = parse_text(options.text, model.vocabulary)
    graphs, source = [parsed.graph], '--text'
    reporting.info(f'read as {json.dumps(parsed.graph.to_dict())}')
    for part in parsed.not_understood:
      reporting.info(str(part))
  if options.complete:
    graphs = [
      _completed(model, graph, f'graph {index}', options) for index, graph in enumerate(graphs)
    ]
  written = sample_to_directory(
    model,
    graphs,
    options.output_dir,
    source=source,
    samples=options.samples_per_graph,
    seed=options.seed,
    stretch=options.stretch,
    batch_size=options.batch_size,
    pictures=options.pictures,
  )
  reporting.info(
    f'{_count(len(graphs), "graph")}, {_count(options.samples_per_graph, "picture")} each, by the '
    f'model of step {model.step}: look at {", ".join(map(str, written))}'
  )


def _completed(
  model: 'TrainedModel', graph: SceneGraph, where: str, options: SampleOptions
) -> SceneGraph:
  """The graph with more objects, which are told."""
  found, added = model.complete(graph, options.complete, seed=options.seed)
  told = []
  for addition in added:
    told.append(addition.name)
    if addition.relationship is not None:
      subject, predicate, other = addition.relationship
      told[-1] += f' ({found.objects[subject]} {predicate} {found.objects[other]})'
  reporting.info(f'{where}: added {", ".join(told)}; it is {json.dumps(found.to_dict())}')
  return found


def _count(number: int, noun: str) -> str:
  return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def main():
  command_line.run(SampleOptions, sample, doc=__doc__)


if __name__ == '__main__':
  main()

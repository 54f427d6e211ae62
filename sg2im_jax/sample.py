"""Draws pictures from scene graphs with a trained model.

  python -m sg2im_jax.sample --workdir=runs/storybook --scene_graphs=examples/sheep.json --output_dir=pictures

A scene graph names objects and says how they stand to each other, by their places in the list of objects:

  {"objects": ["sky", "grass", "sheep"], "relationships": [[0, "above", 1], [2, "standing on", 1]]}

The file holds one graph or a list of them. Nothing but the work directory of a training run is needed: it holds the
model and the names that the model knows. The same seed gives the same pixels. What is written:

  OUTPUT_DIR/overview.png      every graph beside its pictures (overview_0.png, ... where there are many graphs)
  OUTPUT_DIR/graph_000/        one folder a graph, in the order of the file:
    sample_0.png, ...            the pictures
    graph.png                    the graph
    layout.png                   where the model puts each object: box, mask and name
    sheet.png                    all of these on one sheet
    graph.json                   the objects with their boxes, the relationships, seed and training step
"""

import json
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from data_pipelines import drawing
from data_pipelines.command_line import duration
from data_pipelines.graph_drawing import draw_graph
from data_pipelines.scene_graph import SceneGraph, UserError, load_scene_graphs
from sg2im_jax import checkpoints, command_line, compilation_cache, images, models
from sg2im_jax.sampling import GraphSamples, Sampler, encode_graphs, sample_graphs

_OVERVIEW_ROWS = 20
_LAYOUT_SIDE = 256  # pixels
_SECONDS_BETWEEN_REPORTS = 5

def write_samples(folder: pathlib.Path, samples: GraphSamples, *, stretch: bool,
                  facts: dict[str, Any]) -> tuple[Image.Image, Image.Image, np.ndarray]:
  """Writes the pictures of one graph and graph.json.

  Args:
    folder: is made.
    samples: of `sample_graphs`.
    stretch: see `images.denormalize`.
    facts: what graph.json says besides, such as the seed.

  Returns:
    The drawn graph, the drawn layout and the pictures uint8[S, H, W, 3]: a row of the overview.
  """
  graph = samples.graph
  pictures = np.asarray(images.denormalize(samples.images, stretch))
  height, width = pictures.shape[1:3]
  layout_size = (round(_LAYOUT_SIDE * height / max(height, width)), round(_LAYOUT_SIDE * width / max(height, width)))
  drawn, layout = draw_graph(graph), drawing.draw_layout(graph.objects, samples.boxes, samples.masks, layout_size)
  names = [f'sample_{index}.png' for index in range(len(pictures))]
  folder.mkdir(parents=True, exist_ok=True)
  for name, picture in zip(names, pictures, strict=True):
    Image.fromarray(picture).save(folder / name)
  drawn.save(folder / 'graph.png')
  layout.save(folder / 'layout.png')
  drawing.contact_sheet(drawn, layout, pictures).save(folder / 'sheet.png')
  objects = [{'name': name, 'box': [round(float(edge), 5) for edge in box]}
             for name, box in zip(graph.objects, samples.boxes, strict=True)]
  lists = {'objects': objects, 'relationships': graph.relationships, 'samples': names}
  entries = [f'"{key}": [\n    ' + ',\n    '.join(map(json.dumps, entry)) + '\n  ]' for key, entry in lists.items()]
  entries += [f'"{key}": {json.dumps(fact)}' for key, fact in facts.items()]
  (folder / 'graph.json').write_text('{\n  ' + ',\n  '.join(entries) + '\n}\n')
  return drawn, layout, pictures


def sample_file(workdir: str, scene_graphs: str, output_dir: str, *, samples_per_graph: int, seed: int,
                stretch: bool | None):
  """The command. Every graph of the file is checked before anything is drawn or written."""
  graphs = load_scene_graphs(scene_graphs)
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  encoded = encode_graphs(graphs, vocabulary, scene_graphs)
  if config.data.relations == 'none' and any(graph.relationships for graph in graphs):
    print('this model was trained without relationships: those of the graphs are left out')
    graphs = [SceneGraph(graph.objects, ()) for graph in graphs]
    encoded = encode_graphs(graphs, vocabulary, scene_graphs)
  if config.losses.bbox_weight == 0:
    print('this model was trained without a box loss: the boxes that it predicts mean nothing')
  stretch = config.sampling.stretch if stretch is None else stretch
  sampler = Sampler(models.build_generator(config, vocabulary), variables)
  facts = {'seed': seed, 'step': step, 'stretch': stretch}
  drawn = sample_graphs(sampler, graphs, encoded, samples_per_graph=samples_per_graph, seed=seed)
  try:
    _write_all(pathlib.Path(output_dir), drawn, len(graphs), stretch, facts)
  except OSError as error:
    raise UserError(f'cannot write to {output_dir}: {error.strerror or error}; '
                    'choose an --output_dir that can be written') from error
  print(f'{_count(len(graphs), "graph")}, {_count(samples_per_graph, "picture")} each, by the model of step {step}: '
        f'look at {pathlib.Path(output_dir) / "overview"}{".png" if len(graphs) <= _OVERVIEW_ROWS else "_*.png"}')


def _write_all(directory: pathlib.Path, drawn: Iterable[GraphSamples], num_graphs: int, stretch: bool,
               facts: dict[str, Any]):
  """Writes each graph as soon as it is drawn, and an overview of every _OVERVIEW_ROWS graphs."""
  rows = {}
  for index, samples in enumerate(drawn):
    name = f'graph_{index:03}'
    rows[name] = write_samples(directory / name, samples, stretch=stretch, facts={'graph': index, **facts})
    done = index + 1
    if len(rows) == _OVERVIEW_ROWS or done == num_graphs:
      suffix = '' if num_graphs <= _OVERVIEW_ROWS else f'_{index // _OVERVIEW_ROWS}'
      drawing.overview(*zip(*rows.values(), strict=True), titles=list(rows)).save(directory / f'overview{suffix}.png')
      rows.clear()
    now = time.monotonic()
    if index == 0:
      start = reported = now  # the first graph took the time to compile
    elif now - reported > _SECONDS_BETWEEN_REPORTS and done < num_graphs:
      reported = now
      print(f'{done} of {num_graphs} graphs, {duration((now - start) / index * (num_graphs - done))} left', flush=True)


def _count(number: int, noun: str) -> str:
  return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def _define_flags():
  """Called by the command alone: other commands have flags of the same names, and may import this module."""
  flags.DEFINE_string('workdir', None, 'Work directory of a training run.', required=True)
  flags.DEFINE_string('scene_graphs', None, 'JSON file with one scene graph or a list of them.', required=True)
  flags.DEFINE_string('output_dir', None, 'Folder for the pictures; made if it is not there.', required=True)
  flags.DEFINE_integer('samples_per_graph', 4, 'Pictures of each graph.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'The same seed gives the same pixels.', lower_bound=0, upper_bound=2**31 - 1)
  flags.DEFINE_bool(
      'stretch', None, 'Spread each picture over its own darkest to brightest value. That changes contrast and '
      'colours. The published pictures and scores of this model were made so: use it to compare with them. By default '
      'what the config says: off for models trained here, on for converted checkpoints.')


def main(_: Sequence[str]):
  compilation_cache.enable()
  values = flags.FLAGS
  sample_file(values.workdir, values.scene_graphs, values.output_dir, samples_per_graph=values.samples_per_graph,
              seed=values.seed, stretch=values.stretch)


if __name__ == '__main__':
  _define_flags()
  command_line.run(main)

"""The figures of a paper from a work directory: what the model makes of scenes, and of graphs that
grow.

  python -m sg2im_jax.figures --workdir=runs/storybook --split=val

writes three files to WORKDIR/figures, or to --output_dir:

  examples.png       the first scenes of the split, a row each: the graph, the ground-truth image and layout, the layout
                     that the model predicts, its picture of the ground-truth layout, and samples from the graph alone
                     (the paper's figure 5)
  progressions.png   graphs that grow from left to right: the graph, the predicted layout, a sample (figure 6)
  figures.html       both as one page, with all that it needs inside: it can be sent and opened anywhere. Pointing at an
                     object shows where it is in the graph, the layouts and the pictures; a click
                     enlarges.

The scenes are the first of the split, with the relationships that `evaluate` scores. Graphs that
grow are those of the first four scenes, which get their objects one after the other, the largest
first, each with its relationships to those that are there already. With --scene_graphs=FILE they
are the graphs of that file, in its order; examples/sheep.json is made for it. All stages of a
progression have the same noise: what changes from one to the next comes from the graph.

The same seed gives the same figures. A data set that is not prepared yet is prepared first, as for
`evaluate`.
"""

import contextlib
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from PIL import Image

from data_pipelines.drawing import sheets as drawing
from data_pipelines.drawing.graphs import draw_graph
from data_pipelines.pipeline import input_pipeline, prepared
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph, load_scene_graphs
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax import models
from sg2im_jax.drawing.page import Example, Progression, page, png
from sg2im_jax.models import pixels
from sg2im_jax.runtime import atomic_files, command_line, compilation
from sg2im_jax.sample import fingerprint
from sg2im_jax.sampling.sampler import (
  GraphSamples,
  Sampler,
  check_graphs,
  encode_graph,
  sample_graphs,
)
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.storage import checkpoints

_MOST_PROGRESSIONS = 4
_MOST_STAGES = 8  # of a scene; in larger ones several objects come at once
_WIDEST_GRAPH = 400  # pixels, in examples.png
_BETWEEN_PROGRESSIONS = 16  # pixels, in progressions.png


def draw_figures(
  workdir: str,
  split: str = 'val',
  *,
  num_graphs: int = 8,
  samples_per_graph: int = 3,
  seed: int = 0,
  data_dir: str | None = None,
  source_dir: str | None = None,
  output_dir: str | None = None,
  scene_graphs: str | None = None,
):
  """The command; the arguments are its flags. Everything is checked before anything is drawn or
  written.
  """
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  config.data.data_dir = data_dir or config.data.data_dir
  config.data.source_dir = source_dir or config.data.source_dir
  stages = load_scene_graphs(scene_graphs) if scene_graphs else []
  check_graphs(stages, vocabulary, scene_graphs)
  scenes = load_scenes(config, split, num_graphs)
  check_graphs([scene.graph for scene in scenes], vocabulary, f'split {split}')
  directory = pathlib.Path(output_dir or pathlib.Path(workdir) / 'figures')
  with _writing(directory):
    directory.mkdir(parents=True, exist_ok=True)
  notes = _notes(config)
  for note in notes:
    print(note)

  sampler = Sampler(models.build_generator(config, vocabulary), variables)
  stretch = config.sampling.stretch
  use_masks = config.model.mask_size > 0 and scenes[0].masks is not None
  examples = draw_examples(
    sampler,
    scenes,
    vocabulary,
    samples_per_graph=samples_per_graph,
    seed=seed,
    stretch=stretch,
    use_masks=use_masks,
  )
  if config.data.relations == 'none':
    stages = [SceneGraph(graph.objects, ()) for graph in stages]
  growing = (
    [(pathlib.Path(scene_graphs).name, stages)]
    if stages
    else [(f'scene {scene.image_id}', growth(scene)) for scene in scenes[:_MOST_PROGRESSIONS]]
  )
  progressions = [
    Progression(
      source,
      draw_stages(sampler, graphs, vocabulary, noise_index=index, seed=seed, stretch=stretch),
    )
    for index, (source, graphs) in enumerate(growing)
  ]

  painted_from = 'GT boxes + masks' if use_masks else 'GT boxes'
  facts = {
    'step': step,
    'data set': config.data.name,
    'split': split,
    'image size': 'x'.join(map(str, config.data.image_size)),
    'seed': seed,
    'stretch': 'on' if stretch else 'off',
    'model': fingerprint(config, vocabulary, variables),
  }
  with _writing(directory):
    atomic_files.write(directory / 'examples.png', png(examples_sheet(examples, painted_from)))
    atomic_files.write(directory / 'progressions.png', png(progressions_sheet(progressions)))
    atomic_files.write(
      directory / 'figures.html', page(facts, notes, painted_from, examples, progressions).encode()
    )
  print(f'split {split}, by the model of step {step}: look at {directory / "figures.html"}')


def load_scenes(config: ConfigDict, split: str, num_scenes: int) -> list[prepared.Scene]:
  """The first scenes of a split, at least one, with the objects and relationships that the model is
  evaluated on.
  """
  builder = input_pipeline.prepare(config.data)
  visits = prepared.SplitVisits(
    builder,
    split,
    config.data.relations,
    config.data.max_objects,
    config.data.max_triples,
    config.seed,
  )
  scenes = list(visits.scenes(num_scenes))
  if not scenes:
    raise UserError(f'{builder.data_dir}: split {split!r} is empty; choose another --split')
  return scenes


def growth(scene: prepared.Scene) -> list[SceneGraph]:
  """The stages of a scene's graph: two objects, then one more at a time, up to all of them.

  Objects come by the area that they cover, the largest first, so that grounds are there before what
  stands on them. A relationship is there as soon as both its objects are. Graphs of more than
  _MOST_STAGES + 1 objects grow by several at a time.
  """
  x0, y0, x1, y1 = scene.boxes.T
  areas = (x1 - x0) * (y1 - y0) * (1 if scene.masks is None else scene.masks.mean((1, 2)))
  order = np.argsort(-areas, kind='stable').tolist()
  count = len(order)
  sizes = (
    np.linspace(min(2, count), count, min(max(count - 1, 1), _MOST_STAGES)).round().astype(int)
  )
  return [_part(scene.graph, order[:size]) for size in sizes]


def _part(graph: SceneGraph, kept: Sequence[int]) -> SceneGraph:
  """The graph of the objects `kept`, in that order, and the relationships among them."""
  place = {index: position for position, index in enumerate(kept)}
  return SceneGraph(
    tuple(graph.objects[index] for index in kept),
    tuple(
      (place[subject], predicate, place[object_])
      for subject, predicate, object_ in graph.relationships
      if subject in place and object_ in place
    ),
  )


def draw_examples(
  sampler: Sampler,
  scenes: Sequence[prepared.Scene],
  vocabulary: Vocabulary,
  *,
  samples_per_graph: int,
  seed: int,
  stretch: bool,
  use_masks: bool,
) -> list[Example]:
  """A row for each scene; the noise is that of graph number i for scene i.

  Args:
    sampler: the model.
    scenes: whose names the vocabulary has.
    vocabulary: the model's names.
    samples_per_graph: pictures of the graph alone.
    seed: of the noise.
    stretch: see `pixels.denormalize`.
    use_masks: paint the scene's masks in its boxes, not the predicted ones; the scenes and the
    model must have masks.
  """
  graphs = {index: scene.graph for index, scene in enumerate(scenes)}
  drawn = sample_graphs(
    sampler,
    graphs,
    vocabulary,
    samples_per_graph=samples_per_graph,
    seed=seed,
    stretch=stretch,
    batch_size=None,
  )
  examples = {}
  for samples in command_line.announced(drawn, len(scenes), 'scenes drawn', samples_per_graph):
    scene = scenes[samples.index]
    noise = sampler.draw_noise(seed, samples.index, np.zeros(1, np.int32))
    batch = jax.tree.map(lambda array: array[None], _encode_scene(scene, vocabulary))
    image = sampler(batch, noise, use_boxes=True, use_masks=use_masks).image
    examples[samples.index] = Example(
      scene, np.asarray(pixels.denormalize(image, stretch))[0], samples
    )
  return [examples[index] for index in sorted(examples)]


def _encode_scene(scene: prepared.Scene, vocabulary: Vocabulary) -> SceneBatch:
  """A scene with its layout, without the batch axis."""
  batch = encode_graph(scene.graph, vocabulary, f'scene {scene.image_id}')
  objects = slice(1, len(scene.boxes) + 1)  # slot 0 is __image__
  boxes = np.zeros((len(batch.object_class), 4), np.float32)
  boxes[0], boxes[objects] = (0, 0, 1, 1), scene.boxes
  if scene.masks is None:
    return batch.replace(boxes=boxes)
  masks = np.zeros((len(boxes), *scene.masks.shape[1:]), np.uint8)
  masks[0], masks[objects] = 1, scene.masks
  return batch.replace(boxes=boxes, masks=masks)


def draw_stages(
  sampler: Sampler,
  graphs: Sequence[SceneGraph],
  vocabulary: Vocabulary,
  *,
  noise_index: int,
  seed: int,
  stretch: bool,
) -> list[GraphSamples]:
  """A picture of each graph, all with the noise of the first sample of graph number `noise_index`."""
  return [
    samples
    for graph in graphs
    for samples in sample_graphs(
      sampler,
      {noise_index: graph},
      vocabulary,
      samples_per_graph=1,
      seed=seed,
      stretch=stretch,
      batch_size=None,
    )
  ]


def examples_sheet(examples: Sequence[Example], painted_from: str) -> Image.Image:
  """Figure 5: a row for each scene; `painted_from` is the part of its layout that the model
  painted.
  """
  rows = []
  for example in examples:
    graph = example.scene.graph
    image, painted, *samples = map(
      drawing.enlarge, (example.scene.image, example.painted, *example.samples.pictures)
    )
    size = image.height, image.width
    rows.append(
      [
        _graph_picture(graph, _WIDEST_GRAPH, image.height),
        image,
        drawing.draw_layout(graph.objects, example.scene.boxes, example.scene.masks, size),
        drawing.draw_layout(graph.objects, example.samples.boxes, example.samples.masks, size),
        painted,
        *samples,
      ]
    )
  captions = [
    'scene graph',
    'ground truth',
    'GT layout',
    'predicted layout',
    f'from {painted_from}',
  ]
  captions += [f'sample {number}' for number in range(1, len(rows[0]) - len(captions) + 1)]
  return drawing.table(rows, captions)


def progressions_sheet(progressions: Sequence[Progression]) -> Image.Image:
  """Figure 6: three rows for each progression (graphs, predicted layouts, pictures), its stages
  from left to right.
  """
  num_columns = max(len(progression.stages) for progression in progressions)
  rows = []
  for progression in progressions:
    pictures = [drawing.enlarge(stage.pictures[0]) for stage in progression.stages]
    width, height = pictures[0].size
    graphs = [_graph_picture(stage.graph, width, 2 * height) for stage in progression.stages]
    layouts = [
      drawing.draw_layout(stage.graph.objects, stage.boxes, stage.masks, (height, width))
      for stage in progression.stages
    ]
    empty = [Image.new('RGB', (1, 1), drawing.BACKGROUND)] * (num_columns - len(pictures))
    for name, row in (('scene graph', graphs), ('predicted layout', layouts), ('sample', pictures)):
      rows.append([drawing.text_picture(name), *row, *empty])
    rows.append([Image.new('RGB', (1, _BETWEEN_PROGRESSIONS), drawing.BACKGROUND)])
  return drawing.table(rows[:-1])


def _graph_picture(graph: SceneGraph, width: int, height: int) -> Image.Image:
  """A drawn graph, shrunk into a frame where it is larger."""
  picture = draw_graph(graph)
  picture.thumbnail((width, height), Image.Resampling.LANCZOS)
  return picture


def _notes(config: ConfigDict) -> list[str]:
  """What a model cannot do, as far as the figures show it."""
  lacking = {
    'This model was trained without a box loss: the boxes that it predicts mean nothing.': config.losses.bbox_weight
    == 0,
    'This model was trained without relationships: its graphs have none.': config.data.relations
    == 'none',
    'This model predicts no masks: its layouts are boxes.': config.model.mask_size == 0,
  }
  return [note for note, is_so in lacking.items() if is_so]


@contextlib.contextmanager
def _writing(directory: pathlib.Path):
  """Makes a UserError of what keeps files from being written."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f'cannot write to {directory}: {error.strerror or error}; free space or choose an '
      '--output_dir '
      'that can be written'
    ) from error


def main(_: Sequence[str]):
  compilation.configure()
  values = flags.FLAGS
  draw_figures(
    values.workdir,
    values.split,
    num_graphs=values.num_graphs,
    samples_per_graph=values.samples_per_graph,
    seed=values.seed,
    data_dir=values.data_dir,
    source_dir=values.source_dir,
    output_dir=values.output_dir,
    scene_graphs=values.scene_graphs,
  )


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'Work directory of a training run.', required=True)
  flags.DEFINE_string('split', 'val', 'Whose scenes: train, val or test.')
  flags.DEFINE_integer(
    'num_graphs', 8, 'How many scenes, from the start of the split.', lower_bound=1
  )
  flags.DEFINE_integer(
    'samples_per_graph', 3, "Pictures of each scene's graph alone.", lower_bound=1
  )
  flags.DEFINE_integer(
    'seed',
    0,
    'Of the noise: the same seed gives the same figures.',
    lower_bound=0,
    upper_bound=2**31 - 1,
  )
  flags.DEFINE_string(
    'data_dir', None, 'Where the prepared data lies; by default where training had it.'
  )
  flags.DEFINE_string(
    'source_dir', None, 'Where the official files lie; by default where training had them.'
  )
  flags.DEFINE_string('output_dir', None, 'Folder for the figures; by default WORKDIR/figures.')
  flags.DEFINE_string(
    'scene_graphs',
    None,
    'JSON file with the graphs of a progression, in their order; by default '
    'those of the first scenes grow.',
  )
  command_line.run(main)

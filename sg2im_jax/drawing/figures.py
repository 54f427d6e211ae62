"""The paper's figures 5 and 6 of a model, and what it takes beyond a graph: sheets and a page."""

import dataclasses
import os
import pathlib
import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image

from data_pipelines import atomic_files
from data_pipelines.drawing import sheets
from data_pipelines.drawing.graphs import draw_graph
from data_pipelines.drawing.layouts import draw_layout
from data_pipelines.drawing.style import BACKGROUND
from data_pipelines.scene_graphs.graph import SceneGraph, load_scene_graphs
from sg2im_jax.drawing.examples import Example, load_scenes, sample_examples
from sg2im_jax.drawing.page import page
from sg2im_jax.drawing.progressions import Progression, growth, sample_stages
from sg2im_jax.drawing.variations import NUM_SCENES, Variation, Variations, sample_variations
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.graphs import check_graphs
from sg2im_jax.sampling.trained_model import TrainedModel

_MOST_PROGRESSIONS = 4
_WIDEST_GRAPH = 400  # pixels, in examples.png
_BETWEEN_PROGRESSIONS = 16  # pixels, in progressions.png
_CAPTION_LENGTH = 26  # characters of a line, in variations.png


def draw_figures(
  model: TrainedModel,
  output_dir: str | os.PathLike,
  *,
  split: str = 'val',
  num_graphs: int = 8,
  samples_per_graph: int = 3,
  seed: int = 0,
  data_dir: str | None = None,
  source_dir: str | None = None,
  scene_graphs: str | pathlib.Path | None = None,
) -> pathlib.Path:
  """Writes examples.png, progressions.png and figures.html; variations.png of a token model.

  Everything is checked before anything is sampled or written.

  Args:
    model: to sample from.
    output_dir: made if it is missing.
    split: whose scenes: train, val or test.
    num_graphs: scenes, from the start of the split.
    samples_per_graph: pictures of each scene's graph alone.
    seed: the same seed gives the same figures.
    data_dir: of the prepared data set; None for that of the training.
    source_dir: of the official files of the data set; None for that of the training.
    scene_graphs: JSON file of the graphs of a progression; None for those of the first scenes.

  Returns:
    The path of figures.html.

  Raises:
    UserError: graphs or scenes do not fit the model, or something cannot be read or written.
  """
  settings = model.settings.with_data(data_dir, source_dir)
  stages = [] if scene_graphs is None else model.understood(load_scene_graphs(scene_graphs))
  check_graphs(stages, model.vocabulary, str(scene_graphs))
  has_variations = settings.tokens is not None
  described = load_scenes(settings, split, max(num_graphs, NUM_SCENES * has_variations))
  # As in an evaluation, figures 5 and 6 are of graphs without attributes.
  scenes = [
    dataclasses.replace(scene, graph=scene.graph.without_attributes())
    for scene in described[:num_graphs]
  ]
  if has_variations:
    graphs = model.understood([scene.graph for scene in described])
    described = [
      dataclasses.replace(scene, graph=graph)
      for scene, graph in zip(described, graphs, strict=True)
    ]
  shown = described if has_variations else scenes
  check_graphs([scene.graph for scene in shown], model.vocabulary, f'split {split}')
  directory = pathlib.Path(output_dir)
  atomic_files.check_writable(directory)
  for limit in model.limits:
    reporting.info(limit)

  use_masks = settings.model.mask_size > 0 and scenes[0].masks is not None
  examples = sample_examples(
    model, scenes, samples=samples_per_graph, seed=seed, use_masks=use_masks
  )
  growing = [(f'scene {scene.image_id}', growth(scene)) for scene in scenes[:_MOST_PROGRESSIONS]]
  if scene_graphs is not None:
    growing = [(pathlib.Path(scene_graphs).name, stages)]
  progressions = [
    Progression(source, sample_stages(model, graphs, noise_index=index, seed=seed))
    for index, (source, graphs) in enumerate(growing)
  ]
  variations = sample_variations(model, described, seed) if has_variations else {}

  painted_from = 'GT boxes + masks' if use_masks else 'GT boxes'
  facts = {
    'step': model.step,
    'data set': settings.data.name,
    'split': split,
    'image size': 'x'.join(map(str, settings.data.image_size)),
    'seed': seed,
    'stretch': 'on' if settings.sampling.stretch else 'off',
    'model': model.fingerprint,
  }
  html = page(
    facts=facts,
    notes=model.limits,
    painted_from=painted_from,
    examples=examples,
    progressions=progressions,
    variations=variations,
  )
  with atomic_files.writing_to(directory):
    directory.mkdir(parents=True, exist_ok=True)
    atomic_files.write(
      directory / 'examples.png', sheets.png(examples_sheet(examples, painted_from))
    )
    atomic_files.write(directory / 'progressions.png', sheets.png(progressions_sheet(progressions)))
    if variations:
      atomic_files.write(directory / 'variations.png', sheets.png(variations_sheet(variations)))
    atomic_files.write(directory / 'figures.html', html.encode())
  path = directory / 'figures.html'
  reporting.info(f'split {split}, by the model of step {model.step}: look at {path}')
  return path


def examples_sheet(examples: Sequence[Example], painted_from: str) -> Image.Image:
  """Figure 5, a row for each scene.

  Args:
    examples: of the same number of samples.
    painted_from: the part of its layout that each scene is painted from.
  """
  rows = []
  for example in examples:
    graph = example.scene.graph
    image, painted, *samples = map(
      sheets.enlarge, (example.scene.image, example.painted, *example.samples.pictures)
    )
    size = image.height, image.width
    rows.append(
      [
        _graph_picture(graph, _WIDEST_GRAPH, image.height),
        image,
        draw_layout(graph.objects, example.scene.boxes, example.scene.masks, size),
        draw_layout(graph.objects, *example.samples.layout(0), size),
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
  return sheets.table(rows, captions)


def progressions_sheet(progressions: Sequence[Progression]) -> Image.Image:
  """Figure 6: for each progression rows of graphs, predicted layouts and pictures, by stage."""
  num_columns = max(len(progression.stages) for progression in progressions)
  rows = []
  for progression in progressions:
    pictures = [sheets.enlarge(stage.pictures[0]) for stage in progression.stages]
    width, height = pictures[0].size
    graphs = [_graph_picture(stage.graph, width, 2 * height) for stage in progression.stages]
    layouts = [
      draw_layout(stage.graph.objects, *stage.layout(0), (height, width))
      for stage in progression.stages
    ]
    empty = [Image.new('RGB', (1, 1), BACKGROUND)] * (num_columns - len(pictures))
    for name, row in (('scene graph', graphs), ('predicted layout', layouts), ('sample', pictures)):
      rows.append([sheets.text_picture(name), *row, *empty])
    rows.append([Image.new('RGB', (1, _BETWEEN_PROGRESSIONS), BACKGROUND)])
  return sheets.table(rows[:-1])


def variations_sheet(variations: Mapping[str, Sequence[Variations]]) -> Image.Image:
  """Edits, attributes and completed graphs, a row of captioned pictures for each."""
  all_rows = []
  for title, rows in variations.items():
    all_rows.append([sheets.text_picture(title)])
    for row in rows:
      lines = textwrap.wrap(row.source, _CAPTION_LENGTH)
      name = sheets.table([[sheets.text_picture(line)] for line in lines], margin=0)
      all_rows.append([name, *map(_captioned, row.pictures)])
  num_columns = max(map(len, all_rows))
  empty = Image.new('RGB', (1, 1), BACKGROUND)
  return sheets.table([[*row, *[empty] * (num_columns - len(row))] for row in all_rows])


def _captioned(one: Variation) -> Image.Image:
  lines = textwrap.wrap(one.caption, _CAPTION_LENGTH)
  return sheets.table(
    [[sheets.enlarge(one.picture)], *([sheets.text_picture(line)] for line in lines)], margin=0
  )


def _graph_picture(graph: SceneGraph, width: int, height: int) -> Image.Image:
  """A drawn graph, shrunk into a frame where it is larger."""
  picture = draw_graph(graph)
  picture.thumbnail((width, height), Image.Resampling.LANCZOS)
  return picture

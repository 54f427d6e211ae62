"""The figures show what they say, and the page holds all that it needs."""

import dataclasses
import html.parser
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from data_pipelines import preparation
from data_pipelines.configs import debug
from data_pipelines.pipeline.prepared import PreparedScene
from data_pipelines.scene_graphs.completion import GraphStatistics
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.storybook import builder as storybook
from sg2im_jax.drawing import page as figures_page
from sg2im_jax.drawing.examples import Example, load_scenes, sample_examples
from sg2im_jax.drawing.figures import draw_figures, examples_sheet, progressions_sheet
from sg2im_jax.drawing.progressions import Progression, changes, growth, sample_stages
from sg2im_jax.drawing.variations import Variation, Variations, sample_variations
from sg2im_jax.models import pixels
from sg2im_jax.sampling.graphs import GraphSamples, encode_graph
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings
from tests.training_runs import small_token_config, start, write_untrained

pytestmark = pytest.mark.slow

SKY = SceneGraph(('sky', 'grass'), ((0, 'above', 1),))
SHEEP = SceneGraph(('sky', 'grass', 'sheep'), ((0, 'above', 1), (2, 'standing on', 1)))
RED, GREEN, BLUE, GREY = (200, 0, 0), (0, 200, 0), (0, 0, 200), (100, 100, 100)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  config = debug.get_config()
  config.data.data_dir = str(tmp_path_factory.mktemp('data'))
  config.data.options.num_train, config.data.options.num_val = 1, 3
  config.model.gconv_num_layers, config.model.refinement_dims = 1, (8,)
  config.image_discriminator.enabled = config.object_discriminator.enabled = False
  preparation.prepare(Settings.from_config(config).data)
  return config


@pytest.fixture(scope='module')
def model(tmp_path_factory, config):
  """An untrained model, whose programs are compiled once for all tests."""
  workdir = write_untrained(tmp_path_factory.mktemp('run'), config, storybook.VOCABULARY)
  return TrainedModel.load(workdir)


def _scene(graph, boxes=None, masks=None):
  boxes = (
    np.tile(np.array([0, 0.25, 0.5, 1], np.float32), (len(graph.objects), 1))
    if boxes is None
    else boxes
  )
  return PreparedScene('7', _picture(RED), graph, np.asarray(boxes, np.float32), masks)


def _picture(color):
  return np.full((24, 32, 3), color, np.uint8)


def _samples(graph, *colors):
  pictures = np.stack([_picture(color) for color in colors])
  boxes = np.tile(np.array([0.5, 0, 1, 0.5], np.float32), (len(graph.objects), 1))
  return GraphSamples(
    0, graph, pictures, np.repeat(boxes[None], len(pictures), 0), None, None, None
  )


def _example(graph):
  return Example(_scene(graph), _picture(GREEN), _samples(graph, BLUE, GREY))


def _page(*graphs):
  """A page of one scene, the last graph, and a progression of all."""
  progression = Progression('graphs.json', [_samples(graph, BLUE) for graph in graphs])
  return figures_page.page(
    facts={'step': 3, 'split': 'val'},
    notes=['A note.'],
    painted_from='GT boxes',
    examples=[_example(graphs[-1])],
    progressions=[progression],
    variations={'Edits': [Variations('scene 7', [_variation('before'), _variation('sky <gone>')])]},
  )


def _variation(caption):
  return Variation(caption, SKY, np.zeros((2, 4), np.float32), _picture(GREY))


class _Page(html.parser.HTMLParser):
  """What the tests ask of a page: its tags, what they refer to, and the objects of each row and of
  its panels.
  """

  def __init__(self, text):
    super().__init__()
    self.tags, self.references, self.rows = set(), [], []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    classes = (attributes.get('class') or '').split()
    self.tags.add(tag)
    self.references += [
      value
      for name, value in attributes.items()
      if name in ('src', 'href', 'srcset', 'action', 'poster', 'xlink:href', 'data')
    ]
    self.references += re.findall(r'url\((.*?)\)', attributes.get('style') or '')
    if tag == 'article':
      self.rows.append([])
    if tag == 'figure':
      self.rows[-1].append((classes[0], {}))
    if 'data-object' in attributes:
      _, objects = self.rows[-1][-1]
      objects.setdefault(attributes['data-object'], attributes['data-name'])


def test_the_files_are_written_and_the_page_needs_no_other(model, tmp_path, reported):
  written = draw_figures(model, tmp_path / 'out', num_graphs=1, samples_per_graph=2, seed=4)
  assert written == tmp_path / 'out/figures.html'
  assert reported() == f'split val, by the model of step 0: look at {written}\n'
  assert {path.name for path in (tmp_path / 'out').iterdir()} == {
    'examples.png',
    'progressions.png',
    'figures.html',
  }
  Image.open(tmp_path / 'out/examples.png').load()
  Image.open(tmp_path / 'out/progressions.png').load()

  text = (tmp_path / 'out/figures.html').read_text()
  page = _Page(text)
  assert page.references and all(
    reference.startswith('data:image/png;base64,') for reference in page.references
  )
  assert not {'link', 'iframe', 'object', 'embed', 'base', 'use'} & page.tags
  assert not re.search(r'https?:|@import|url\(|fetch\(', text)
  for fact in (
    '<dt>step</dt><dd>0</dd>',
    '<dt>seed</dt><dd>4</dd>',
    '<dt>image size</dt><dd>32x32</dd>',
    '<dt>split</dt><dd>val</dd>',
    '<dt>stretch</dt><dd>off</dd>',
  ):
    assert fact in text
  assert re.search('<dt>model</dt><dd>[0-9a-f]{16}</dd>', text)

  (scene,) = load_scenes(model.settings, 'val', 1)
  example, progression = page.rows
  assert example == [
    (kind, _objects(scene.graph))
    for kind in ('graph', 'picture', 'layout', 'layout', 'picture', 'picture', 'picture')
  ]
  assert progression == [
    (kind, _objects(stage)) for stage in growth(scene) for kind in ('graph', 'layout', 'picture')
  ]


def _objects(graph):
  """What `_Page` finds in each panel of the graph."""
  return {f'{index} {name}': name for index, name in enumerate(graph.objects)}


def test_stages_of_a_file_and_what_the_model_lacks(model, config, tmp_path, reported):
  config = config.copy_and_resolve_references()
  config.model.mask_size, config.data.relations, config.losses.bbox_weight = 0, 'none', 0.0
  # The weights of the mask head are there, and not used.
  lacking = TrainedModel(
    settings=Settings.from_config(config),
    vocabulary=model.vocabulary,
    step=0,
    variables=model.variables,
  )
  path = tmp_path / 'graphs.json'
  path.write_text(json.dumps([dataclasses.asdict(SKY), dataclasses.asdict(SHEEP)]))
  written = draw_figures(
    lacking, tmp_path, num_graphs=1, samples_per_graph=1, scene_graphs=str(path)
  )
  text, told = written.read_text(), reported()
  for note in (
    'This model was trained without a box loss: the boxes that it predicts mean nothing.',
    'This model was trained without relationships: those of graphs are left out.',
    'This model predicts no masks: its layouts are boxes.',
  ):
    assert note in told and f'<p class="note">{note}</p>' in text
  assert (
    'graphs.json, stage 2' in text and 'class="relation"' not in text and 'from GT boxes<' in text
  )
  assert [len(row) for row in _Page(text).rows] == [6, 6]


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'split': 'test'}, "no split 'test'; it has train, val$"),
    ({'output_dir': 'file'}, 'output_dir is file, which cannot be written .*choose another'),
    (
      {'scene_graphs': 'graphs.json'},
      'graphs.json: graph 0: object 0: unknown object name "gras".*"grass"',
    ),
  ],
)
def test_mistakes_are_told_before_anything_is_sampled(
  model, tmp_path, monkeypatch, settings, message
):
  monkeypatch.setattr(model, 'sample_graphs', None)  # nothing can be sampled
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file').write_text('')
  (tmp_path / 'graphs.json').write_text('{"objects": ["gras"], "relationships": []}')
  with pytest.raises(UserError, match=message):
    draw_figures(model, **{'output_dir': 'out', **settings})
  assert not (tmp_path / 'out').exists()


def test_the_command_reports_a_mistake_in_one_line(tmp_path):
  process = start(
    'figures',
    f'--workdir={tmp_path / "nothing"}',
    '--split=val',
    '--num_graphs=1',
    '--samples_per_graph=1',
    '--seed=0',
    '--data_dir=data',
    '--source_dir=source',
    '--output_dir=out',
    '--scene_graphs=graphs.json',
  )
  printed, errors = process.communicate(timeout=300)
  assert (process.returncode, printed, errors.count('\n')) == (2, '', 1)
  assert errors.startswith(f'error: {tmp_path / "nothing"} is not a work directory')


def test_a_graph_grows_from_the_objects_that_cover_most():
  graph = SceneGraph(
    ('sheep', 'grass', 'fence', 'sky'),
    ((0, 'standing on', 1), (3, 'above', 1), (0, 'behind', 2), (3, 'above', 0)),
  )
  boxes = [(0.4, 0.4, 0.6, 0.6), (0, 0.5, 1, 1), (0, 0, 1, 1), (0, 0, 1, 0.5)]
  masks = np.ones((4, 2, 2), np.uint8)
  masks[2] = [[0, 0], [1, 0]]  # a quarter of the largest box
  stages = growth(_scene(graph, boxes, masks))
  assert stages == [
    SceneGraph(('grass', 'sky'), ((1, 'above', 0),)),
    SceneGraph(('grass', 'sky', 'fence'), ((1, 'above', 0),)),
    SceneGraph(
      ('grass', 'sky', 'fence', 'sheep'),
      ((3, 'standing on', 0), (1, 'above', 0), (3, 'behind', 2), (1, 'above', 3)),
    ),
  ]
  assert growth(_scene(graph, boxes))[0].objects == ('fence', 'grass')


@pytest.mark.parametrize(
  'num_objects, sizes',
  [
    (1, [1]),
    (2, [2]),
    (3, [2, 3]),
    (9, [2, 3, 4, 5, 6, 7, 8, 9]),
    (16, [2, 4, 6, 8, 10, 12, 14, 16]),
  ],
)
def test_large_graphs_grow_by_several_objects(num_objects, sizes):
  graph = SceneGraph(('sheep',) * num_objects, ())
  assert [len(stage.objects) for stage in growth(_scene(graph))] == sizes


def test_changes_between_stages():
  in_sea = SceneGraph(('sea', 'boat'), ((1, 'in', 0), (1, 'in', 0)))
  on_grass = SceneGraph(('sea', 'boat', 'grass'), ((1, 'in', 0), (1, 'on', 2)))
  assert changes(in_sea, on_grass) == (['grass', 'boat on grass'], ['boat in sea'])
  assert changes(SKY, SceneGraph(('sky', 'sea'), ((0, 'above', 1),))) == (
    ['sea', 'sky above sea'],
    ['grass', 'sky above grass'],
  )


def test_all_stages_have_the_same_noise(model, monkeypatch):
  sample, noise = model.sampler.sample, []

  def remember(batch, seed, graph_indices, sample_indices, **settings):
    noise.append((seed, graph_indices.tolist(), sample_indices.tolist()))
    return sample(batch, seed, graph_indices, sample_indices, **settings)

  monkeypatch.setattr(model.sampler, 'sample', remember)
  graphs = [SKY, SHEEP, SceneGraph(('sheep',), ())]
  stages = sample_stages(model, graphs, noise_index=3, seed=4)
  assert [stage.graph for stage in stages] == graphs
  assert [stage.pictures.shape for stage in stages] == [(1, 32, 32, 3)] * 3
  assert noise == [(4, [3], [0])] * 3


def test_the_layout_that_is_painted_is_that_of_the_scene(model):
  def sample(boxes, masks, use_masks):
    (example,) = sample_examples(
      model, [_scene(SKY, boxes, masks)], samples=1, seed=0, use_masks=use_masks
    )
    return example

  boxes, masks = [(0, 0, 1, 0.5), (0, 0.5, 1, 1)], np.ones((2, 8, 8), np.uint8)
  example, swapped = sample(boxes, masks, True), sample(boxes[::-1], masks, True)
  assert (example.painted != swapped.painted).any()
  np.testing.assert_array_equal(example.samples.pictures, swapped.samples.pictures)
  assert (example.painted != sample(boxes, 1 - masks, True).painted).any()
  np.testing.assert_array_equal(
    sample(boxes, masks, False).painted, sample(boxes, None, False).painted
  )


def test_a_layout_is_painted_with_the_noise_of_the_first_sample(model):
  boxes = np.array([(0, 0, 1, 0.5), (0, 0.5, 1, 1)], np.float32)
  masks = np.ones((2, 8, 8), np.uint8)
  # In a batch after the other one.
  flock = _scene(SceneGraph(('sheep',) * 9, ()), masks=np.ones((9, 8, 8), np.uint8))
  first, second = sample_examples(
    model, [flock, _scene(SKY, boxes, masks)], samples=1, seed=5, use_masks=True
  )
  assert (first.samples.graph, second.samples.graph) == (flock.graph, SKY)
  batch, _ = encode_graph(SKY, storybook.VOCABULARY, '')
  all_boxes, all_masks = np.zeros((8, 4), np.float32), np.zeros((8, 8, 8), np.uint8)
  all_boxes[:3] = (0, 0, 1, 1), *boxes
  all_masks[:3] = 1
  batch = jax.tree.map(lambda array: array[None], batch.replace(boxes=all_boxes, masks=all_masks))
  noise = model.sampler.random_noise(5, 1, np.array([0], np.int32))
  image = model.sampler(batch, noise, use_boxes=True, use_masks=True).image
  np.testing.assert_array_equal(second.painted, pixels.denormalize(image, stretch=False)[0])


def test_the_sheets_have_their_pictures_in_order():
  sheet = np.asarray(examples_sheet([_example(SKY)] * 2, 'GT boxes'))
  assert _colors(sheet[-20]) == [RED, GREEN, BLUE, GREY]
  progressions = [
    Progression('one', [_samples(SKY, RED)]),
    Progression('two', [_samples(SKY, GREEN), _samples(SHEEP, BLUE)]),
  ]
  sheet = np.asarray(progressions_sheet(progressions))
  assert _colors(sheet[-20]) == [GREEN, BLUE]
  assert _colors(sheet[:, sheet.shape[1] // 2 - 40]) == [RED, GREEN]


def _colors(pixels):
  """The pictures' colours along a line of pixels."""
  found = [tuple(map(int, pixel)) for pixel in pixels if tuple(pixel) in (RED, GREEN, BLUE, GREY)]
  return list(dict.fromkeys(found))


def test_names_are_escaped():
  assert 'sky &lt;gone&gt;' in _page(SKY) and '<gone>' not in _page(SKY)
  name, predicate = '<b onclick="x()">\'&amp;', '</script><i id="no">'
  text = _page(SceneGraph((name,), ()), SceneGraph((name, 'sky'), ((0, predicate, 1),)))
  assert '<b onclick' not in text and '<i id' not in text and text.count('</script>') == 1
  example, progression, _ = _Page(text).rows
  assert [objects for _, objects in example] == [{f'0 {name}': name, '1 sky': 'sky'}] * 7
  assert progression[0][1] == {f'0 {name}': name}


@pytest.mark.exhaustive
def test_variations_of_a_token_model(tmp_path, reported):
  config = small_token_config(tmp_path)
  config.data.max_attributes = 4
  vocabulary = dataclasses.replace(storybook.VOCABULARY, attribute_names=storybook.ATTRIBUTE_NAMES)
  workdir = write_untrained(tmp_path / 'run', config, vocabulary)
  preparation.prepare(Settings.from_config(config).data)
  model = TrainedModel.load(workdir)
  scenes = load_scenes(model.settings, 'val', 64)
  assert 'Completed graphs' not in sample_variations(model, scenes, seed=0)
  model.statistics = GraphStatistics.of_graphs([scene.graph for scene in scenes])
  found = sample_variations(model, scenes, seed=0)
  titles = ['Edits', 'Attributes', 'Attributes of the whole picture', 'Completed graphs']
  assert list(found) == titles
  before, *after = found['Edits'][0].pictures
  np.testing.assert_array_equal(before.picture, scenes[0].image)
  assert before.graph == scenes[0].graph and all(one.graph != before.graph for one in after[:2])
  (removed,) = [one for one in after if one.caption.endswith('removed')]
  assert len(removed.graph.objects) == len(removed.boxes) == len(before.boxes) - 1
  without, as_in_data, *others = found['Attributes'][0].pictures
  assert without.graph == as_in_data.graph.without_attributes()
  assert len({one.graph for one in (as_in_data, *others)}) == len(others) + 1 > 2
  assert all(one.graph.objects == without.graph.objects for one in others)
  of_scene = found['Attributes of the whole picture'][0].pictures
  assert len({one.graph.scene for one in of_scene}) == len(of_scene) > 2
  assert len({dataclasses.replace(one.graph, scene=()) for one in of_scene}) == 1
  alone, *completed = found['Completed graphs'][0].pictures
  assert len(alone.graph.objects) == 1
  assert {len(one.graph.objects) for one in completed} == {5}

  written = draw_figures(model, tmp_path / 'out', num_graphs=1, samples_per_graph=1)
  Image.open(tmp_path / 'out/variations.png').load()
  text = written.read_text()
  assert removed.caption in text and '<h2>Completed graphs</h2>' in text


def test_the_page_says_what_a_stage_changed():
  text = _page(SHEEP, SKY, SHEEP)
  assert (
    '<ins>+ sheep standing on grass</ins>' in text and '<del>sheep standing on grass</del>' in text
  )
  assert re.findall(r'<g class="(node[^"]*)" data-object="2 sheep"', text) == [
    'node',
    'node',
    'node added',
  ]


def test_boxes_are_told_as_what_they_are():
  text = _page(SKY).replace('\N{EN DASH}', ' to ')
  ground_truth = 'ground-truth box: x 0.00 to 0.50, y 0.25 to 1.00'
  predicted = 'predicted box: x 0.50 to 1.00, y 0.00 to 0.50'
  assert f'data-name="sky" data-box="{ground_truth}&#10;{predicted}"' in text
  layouts = re.findall(
    r'data-title="([\w-]*) layout of scene 7".*?data-box="([^"]*)"', text, re.DOTALL
  )
  assert layouts == [('Ground-truth', ground_truth), ('Predicted', predicted)]
  assert text.count('<svg viewBox="0 0 192 144"') == 3

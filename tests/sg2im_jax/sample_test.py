import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import debug
from data_pipelines.scene_graph import UserError, load_scene_graphs
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import checkpoints, sample, work_directory
from sg2im_jax.sampling import encode_graphs
from sg2im_jax.train_state import create_train_state

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / 'shared'
VOCABULARY = Vocabulary(('__image__', 'sky', 'grass', 'sheep'), ('__in_image__', 'above', 'standing on'))
SKY = {'objects': ['sky', 'grass'], 'relationships': [[0, 'above', 1]]}
SHEEP = {'objects': ['sky', 'grass', 'sheep'], 'relationships': [[0, 'above', 1], [2, 'standing on', 1]]}


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return _untrained(tmp_path_factory.mktemp('run'))


def _untrained(directory, relations='mixed', stretch=False):
  """A work directory with an untrained model."""
  config = debug.get_config()
  config.data.relations, config.sampling.stretch = relations, stretch
  config.model.gconv_num_layers = 1
  config.model.refinement_dims = (16, 8)
  work_directory.save_config(directory, config)
  work_directory.save_vocabulary(directory, VOCABULARY)
  with checkpoints.Checkpoints(directory, keep=1) as saved:
    saved.save(create_train_state(config, VOCABULARY))
    saved.wait()
  return directory


def _graph_file(tmp_path, graphs):
  path = tmp_path / 'graphs.json'
  path.write_text(graphs if isinstance(graphs, str) else json.dumps(graphs))
  return path


def _sample(workdir, path, output_dir, seed=0, stretch=None, samples_per_graph=2):
  sample.sample_file(str(workdir), str(path), str(output_dir), samples_per_graph=samples_per_graph, seed=seed,
                     stretch=stretch)


def _pixels(path):
  return np.asarray(Image.open(path))


def test_everything_is_written(workdir, tmp_path, capsys):
  _sample(workdir, _graph_file(tmp_path, [SKY, SHEEP]), tmp_path / 'out')
  written = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*') if path.is_file()}
  assert written == {'overview.png'} | {
      f'graph_00{graph}/{name}' for graph in (0, 1)
      for name in ('sample_0.png', 'sample_1.png', 'graph.png', 'layout.png', 'sheet.png', 'graph.json')}
  assert _pixels(tmp_path / 'out/graph_001/sample_0.png').shape == (32, 32, 3)
  assert _pixels(tmp_path / 'out/graph_001/layout.png').shape == (256, 256, 3)
  record = json.loads((tmp_path / 'out/graph_001/graph.json').read_text())
  assert [item['name'] for item in record['objects']] == SHEEP['objects']
  assert all(len(item['box']) == 4 for item in record['objects'])
  assert record['relationships'] == SHEEP['relationships']
  assert record['samples'] == ['sample_0.png', 'sample_1.png']
  assert (record['graph'], record['seed'], record['step'], record['stretch']) == (1, 0, 0, False)
  assert str(tmp_path / 'out/overview.png') in capsys.readouterr().out


def test_seed_and_stretch_decide_the_pixels(workdir, tmp_path):
  _sample(workdir, _graph_file(tmp_path, [SHEEP, SHEEP]), tmp_path / 'two')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'same')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'other', seed=1, stretch=True)
  one, same, other = (_pixels(tmp_path / name / 'graph_000/sample_0.png') for name in ('two', 'same', 'other'))
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
  assert (one != _pixels(tmp_path / 'two/graph_001/sample_0.png')).any()
  assert other.min() == 0 and other.max() >= 254
  layouts = [_pixels(tmp_path / name / 'graph_000/layout.png') for name in ('two', 'other')]
  np.testing.assert_array_equal(*layouts)


def test_the_config_decides_on_the_stretch_unless_the_flag_is_given(tmp_path):
  stretched = _untrained(tmp_path / 'run', stretch=True)
  path = _graph_file(tmp_path, SHEEP)
  for name, flag in (('config', None), ('on', True), ('off', False)):
    _sample(stretched, path, tmp_path / name, stretch=flag)
  by_config, on, off = (_pixels(tmp_path / name / 'graph_000/sample_0.png') for name in ('config', 'on', 'off'))
  np.testing.assert_array_equal(by_config, on)
  assert (on != off).any()


def test_a_model_without_relationships_ignores_them(tmp_path, capsys):
  workdir = _untrained(tmp_path / 'run', relations='none')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'with')
  assert 'trained without relationships' in capsys.readouterr().out
  _sample(workdir, _graph_file(tmp_path, {**SHEEP, 'relationships': []}), tmp_path / 'without')
  assert 'trained without relationships' not in capsys.readouterr().out
  for name in ('sample_0.png', 'graph.png', 'layout.png'):
    np.testing.assert_array_equal(*(_pixels(tmp_path / kind / 'graph_000' / name) for kind in ('with', 'without')))


def test_many_graphs_have_several_overviews_and_show_progress(workdir, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(sample, '_SECONDS_BETWEEN_REPORTS', -1)
  _sample(workdir, _graph_file(tmp_path, [SKY] * 21), tmp_path / 'out', samples_per_graph=1)
  assert sorted(path.name for path in (tmp_path / 'out').glob('*.png')) == ['overview_0.png', 'overview_1.png']
  output = capsys.readouterr().out
  assert '20 of 21 graphs, ' in output and ' left' in output


@pytest.mark.parametrize('graphs, message', [
    ('{"objects": [', 'not JSON'),
    ([SKY, {'objects': [], 'relationships': []}], 'graph 1: an empty graph'),
    ([{'objects': ['sky'], 'relationships': [[0, 'above', 4]]}], 'index 4 is out of range'),
    ([{'objects': 'sky', 'relationships': []}], 'expected a list'),
    ([SKY, {'objects': ['sky', 'gras'], 'relationships': []}], 'object 1: unknown object name "gras".*"grass"'),
    ([{'objects': ['sky', 'grass'], 'relationships': [[0, 'abve', 1]]}], 'unknown predicate name "abve"'),
])
def test_bad_graphs_are_refused_before_anything_is_written(workdir, tmp_path, graphs, message):
  with pytest.raises(UserError, match=message):
    _sample(workdir, _graph_file(tmp_path, graphs), tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_work_directory_without_checkpoint_is_refused(tmp_path):
  path = _graph_file(tmp_path, SKY)
  with pytest.raises(UserError, match='not a work directory'):
    _sample(tmp_path / 'nothing', path, tmp_path / 'out')
  work_directory.save_config(tmp_path, debug.get_config())
  work_directory.save_vocabulary(tmp_path, VOCABULARY)
  with pytest.raises(UserError, match='no checkpoint'):
    _sample(tmp_path, path, tmp_path / 'out')


def test_an_output_directory_that_cannot_be_written_is_refused(workdir, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write to'):
    _sample(workdir, _graph_file(tmp_path, SKY), tmp_path / 'file')


def _run(*arguments):
  return subprocess.run([sys.executable, '-m', 'sg2im_jax.sample', *map(str, arguments)], cwd=ROOT, text=True,
                        capture_output=True, timeout=300, check=False)


def test_the_command_reports_a_mistake_in_one_line(tmp_path):
  path = _graph_file(tmp_path, 'no graph')
  result = _run(f'--workdir={tmp_path}', f'--scene_graphs={path}', f'--output_dir={tmp_path}/out')
  assert result.returncode == 2
  assert result.stderr.startswith(f'error: {path}: not JSON')
  assert result.stderr.count('\n') == 1


def test_the_command_runs(workdir, tmp_path):
  path = _graph_file(tmp_path, SKY)
  result = _run(f'--workdir={workdir}', f'--scene_graphs={path}', f'--output_dir={tmp_path}/out',
                '--samples_per_graph=1')
  assert result.returncode == 0, result.stderr
  assert (tmp_path / 'out/graph_000/sample_0.png').is_file()


def test_the_examples_are_known_to_the_published_visual_genome_models():
  path = SHARED / 'data' / 'vg_vocab.json'
  if not path.exists():
    pytest.skip('the vocabulary of the published models is not at hand')
  vocabulary = Vocabulary.from_dict(json.loads(path.read_text()))
  graphs = load_scene_graphs(ROOT / 'examples' / 'visual_genome.json')
  assert len(encode_graphs(graphs, vocabulary, 'visual_genome.json')) == len(graphs) == 7


@pytest.mark.parametrize('name, count', [('sheep', 7), ('storybook', 8)])
def test_the_examples_are_known_to_the_storybook(name, count):
  storybook = pytest.importorskip('data_pipelines.storybook')
  path = ROOT / 'examples' / f'{name}.json'
  graphs = load_scene_graphs(path)
  assert len(graphs) == count
  assert len(encode_graphs(graphs, storybook.VOCABULARY, str(path))) == count

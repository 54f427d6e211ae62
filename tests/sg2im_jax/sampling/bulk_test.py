import errno
import io
import json
import pathlib
import shutil
import tarfile
import time

import jax
import numpy as np
import pytest
from PIL import Image

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import load_scene_graphs
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from data_pipelines.storybook import builder as storybook
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling import shards
from sg2im_jax.sampling.bulk import sample_to_directory
from sg2im_jax.sampling.graphs import check_graphs
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings
from sg2im_jax.storage import work_directory
from tests import environment
from tests.training_runs import ROOT, free_address, start, write_untrained

pytestmark = pytest.mark.slow

SHARED = ROOT.parent / 'shared'
VOCABULARY = Vocabulary(
  ('__image__', 'sky', 'grass', 'sheep'), ('__in_image__', 'above', 'standing on')
)
SKY = {'objects': ['sky', 'grass'], 'relationships': [[0, 'above', 1]]}
FLOCK = {'objects': ['grass'] + ['sheep'] * 9, 'relationships': [[1, 'standing on', 0]]}
SHEEP = {
  'objects': ['sky', 'grass', 'sheep'],
  'relationships': [[0, 'above', 1], [2, 'standing on', 1]],
}


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return _untrained(tmp_path_factory.mktemp('run'))


def _untrained(directory, relations='mixed', stretch=False):
  """A work directory with an untrained model."""
  config = debug.get_config()
  config.data.relations, config.sampling.stretch = relations, stretch
  config.model.gconv_num_layers = 1
  config.model.refinement_dims = (16, 8)
  return write_untrained(directory, config, VOCABULARY)


def _graph_file(tmp_path, graphs):
  path = tmp_path / 'graphs.json'
  path.write_text(graphs if isinstance(graphs, str) else json.dumps(graphs))
  return path


def _sample(workdir, path, output_dir, *, samples=2, **options):
  """What the command `sample` does."""
  graphs = load_scene_graphs(path)
  model = TrainedModel.load(workdir)
  return sample_to_directory(
    model, graphs, output_dir, source=str(path), samples=samples, **options
  )


def _pixels(path):
  return np.asarray(Image.open(path))


def _difference(one, other):
  """The largest difference between the pictures of two output directories."""
  names = [path.relative_to(one) for path in one.rglob('sample_*.png')]
  assert names
  return max(
    np.abs(_pixels(one / name).astype(int) - _pixels(other / name)).max() for name in names
  )


def test_everything_is_written(workdir, tmp_path):
  to_look_at = _sample(workdir, _graph_file(tmp_path, [SKY, SHEEP]), tmp_path / 'out')
  written = {
    str(path.relative_to(tmp_path / 'out'))
    for path in (tmp_path / 'out').rglob('*')
    if path.is_file()
  }
  assert written == {'overview.png'} | {
    f'graph_00{graph}/{name}'
    for graph in (0, 1)
    for name in (
      'sample_0.png',
      'sample_1.png',
      'graph.png',
      'layout.png',
      'sheet.png',
      'graph.json',
    )
  }
  assert _pixels(tmp_path / 'out/graph_001/sample_0.png').shape == (32, 32, 3)
  assert _pixels(tmp_path / 'out/graph_001/layout.png').shape == (256, 256, 3)
  record = json.loads((tmp_path / 'out/graph_001/graph.json').read_text())
  assert [item['name'] for item in record['objects']] == SHEEP['objects']
  assert all(len(item['box']) == 4 for item in record['objects'])
  assert record['relationships'] == SHEEP['relationships']
  assert record['samples'] == ['sample_0.png', 'sample_1.png']
  assert (record['graph'], record['seed'], record['step'], record['stretch']) == (1, 0, 0, False)
  assert to_look_at == [tmp_path / 'out/overview.png']


def test_seed_and_stretch_decide_the_pixels(workdir, tmp_path):
  _sample(workdir, _graph_file(tmp_path, [SHEEP, SHEEP]), tmp_path / 'two')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'same')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'other', seed=1, stretch=True)
  one, same, other = (
    _pixels(tmp_path / name / 'graph_000/sample_0.png') for name in ('two', 'same', 'other')
  )
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
  by_config, on, off = (
    _pixels(tmp_path / name / 'graph_000/sample_0.png') for name in ('config', 'on', 'off')
  )
  np.testing.assert_array_equal(by_config, on)
  assert (on != off).any()


def test_a_model_without_relationships_ignores_them(tmp_path, reported):
  workdir = _untrained(tmp_path / 'run', relations='none')
  _sample(workdir, _graph_file(tmp_path, SHEEP), tmp_path / 'with')
  assert 'trained without relationships' in reported()
  _sample(workdir, _graph_file(tmp_path, {**SHEEP, 'relationships': []}), tmp_path / 'without')
  assert 'trained without relationships' not in reported()
  for name in ('sample_0.png', 'graph.png', 'layout.png'):
    np.testing.assert_array_equal(
      *(_pixels(tmp_path / kind / 'graph_000' / name) for kind in ('with', 'without'))
    )


def test_many_graphs_have_several_overviews_and_show_progress(
  workdir, tmp_path, reported, monkeypatch
):
  monkeypatch.setattr(reporting, 'SECONDS_BETWEEN_LINES', -1)
  _sample(workdir, _graph_file(tmp_path, [SKY] * 21), tmp_path / 'out', samples=1)
  assert sorted(path.name for path in (tmp_path / 'out').glob('*.png')) == [
    'overview_0.png',
    'overview_1.png',
  ]
  output = reported()
  assert '20 of 21 graphs, ' in output and ' images/s, ' in output and ' left' in output


def test_for_very_many_graphs_the_pictures_alone_are_written(workdir, tmp_path, reported):
  _sample(workdir, _graph_file(tmp_path, [SKY] * 101), tmp_path / 'out', samples=1)
  assert 'pictures=all' in reported()
  assert not list((tmp_path / 'out').glob('*.png'))
  assert {path.name for path in (tmp_path / 'out').rglob('*.*')} == {'sample_0.png', 'graph.json'}
  assert len(list((tmp_path / 'out').iterdir())) == 101


def test_complete_graphs_are_skipped_and_others_are_sampled_again(workdir, tmp_path, reported):
  path, out = _graph_file(tmp_path, [SKY, SHEEP, SKY]), tmp_path / 'out'
  _sample(workdir, path, out)
  assert 'already' not in reported()
  whole = shutil.copytree(out, tmp_path / 'whole')
  (out / 'graph_001/graph.json').unlink()
  (out / 'graph_002/sample_1.png').unlink()
  untouched = (out / 'graph_000/sample_0.png').stat().st_mtime_ns
  _sample(workdir, path, out)
  output = reported()
  assert (
    '1 of 3 graphs are there already' in output and '1 of 3 graphs are there with another' in output
  )
  assert (out / 'graph_000/sample_0.png').stat().st_mtime_ns == untouched
  assert _files(out) == _files(whole) and _difference(out, whole) <= 1


def _files(directory):
  return {path.relative_to(directory) for path in directory.rglob('*') if path.is_file()}


def test_pictures_of_another_model_are_replaced(workdir, tmp_path, reported):
  path, out = _graph_file(tmp_path, SKY), tmp_path / 'out'
  _sample(workdir, path, out, samples=1)
  before = _pixels(out / 'graph_000/sample_0.png')
  other = shutil.copytree(workdir, tmp_path / 'run')
  settings = work_directory.load_settings(other)
  other_model = settings.model.replace(align_corners=False)
  vocabulary = work_directory.load_vocabulary(other)
  work_directory.save(other, settings.replace(model=other_model), vocabulary)
  _sample(other, path, out, samples=1)
  assert '1 of 1 graphs are there with another' in reported()
  assert (before != _pixels(out / 'graph_000/sample_0.png')).any()


def test_a_full_disk_stops_everything_in_one_line(workdir, tmp_path, monkeypatch):
  path, out = _graph_file(tmp_path, [SKY] * 40), tmp_path / 'out'
  write, written = pathlib.Path.write_bytes, []

  def write_until_full(target, content):
    written.append(target)
    if len(written) > 17:
      write(target, content[:20])
      raise OSError(errno.ENOSPC, 'No space left on device')
    return write(target, content)

  monkeypatch.setattr(pathlib.Path, 'write_bytes', write_until_full)
  with pytest.raises(UserError) as error:
    _sample(workdir, path, out, pictures='samples')
  assert str(error.value).startswith(f'cannot write to {out}: No space left on device; free space')
  assert '\n' not in str(error.value)
  assert len(written) < 40  # what was queued is not begun
  for picture in out.rglob('*.png'):
    Image.open(picture).load()
  assert 0 < len(list(out.rglob('graph.json'))) <= 5


def test_a_batch_that_is_too_large_is_refused(workdir, tmp_path, monkeypatch):
  def sample(*_, **__):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')

  monkeypatch.setattr(Sampler, 'sample', sample)
  with pytest.raises(UserError, match='give a batch_size smaller than 4$'):
    _sample(workdir, _graph_file(tmp_path, [SKY, SKY]), tmp_path / 'out')


@pytest.mark.parametrize(
  'graphs, message',
  [
    ('{"objects": [', 'not JSON'),
    ([SKY, {'objects': [], 'relationships': []}], 'graph 1: an empty graph'),
    ([{'objects': ['sky'], 'relationships': [[0, 'above', 4]]}], 'index 4 is out of range'),
    ([{'objects': 'sky', 'relationships': []}], 'expected a list'),
    (
      [SKY, {'objects': ['sky', 'gras'], 'relationships': []}],
      'object 1: unknown object name "gras".*"grass"',
    ),
    (
      [{'objects': ['sky', 'grass'], 'relationships': [[0, 'abve', 1]]}],
      'unknown predicate name "abve"',
    ),
  ],
)
def test_bad_graphs_are_refused_before_anything_is_written(workdir, tmp_path, graphs, message):
  with pytest.raises(UserError, match=message):
    _sample(workdir, _graph_file(tmp_path, graphs), tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_work_directory_without_checkpoint_is_refused(tmp_path):
  path = _graph_file(tmp_path, SKY)
  with pytest.raises(UserError, match='not a work directory'):
    _sample(tmp_path / 'nothing', path, tmp_path / 'out')
  work_directory.save(tmp_path, Settings.from_config(debug.get_config()), VOCABULARY)
  with pytest.raises(UserError, match='no checkpoint'):
    _sample(tmp_path, path, tmp_path / 'out')


def test_an_output_directory_that_cannot_be_written_is_refused(workdir, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='output_dir is .*file, which cannot be written'):
    _sample(workdir, _graph_file(tmp_path, SKY), tmp_path / 'file')


def _start(workdir, path, out, *arguments, **variables):
  return start(
    'sample',
    f'--workdir={workdir}',
    f'--scene_graphs={path}',
    f'--output_dir={out}',
    *arguments,
    **variables,
  )


def _finish(*processes):
  finished = [process.communicate(timeout=300) for process in processes]
  for process, (_, errors) in zip(processes, finished, strict=True):
    assert process.returncode == 0, errors
  return [printed for printed, _ in finished]


def test_the_command_reports_a_mistake_in_one_line(tmp_path):
  path = _graph_file(tmp_path, 'no graph')
  process = _start(tmp_path, path, tmp_path / 'out')
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 2
  assert errors.startswith(f'error: {path}: not JSON')
  assert errors.count('\n') == 1


def test_help_names_every_flag():
  printed, _ = start('sample', '--help').communicate(timeout=300)
  for name in (
    'workdir',
    'scene_graphs',
    'output_dir',
    'samples_per_graph',
    'seed',
    'stretch',
    'batch_size',
    'pictures',
    'multi_host',
    'process_id',
  ):
    assert f'--{name}=' in printed or f'--[no]{name}\n' in printed


def test_devices_and_processes_share_the_work(workdir, tmp_path):
  path = _graph_file(tmp_path, [SKY, SHEEP, FLOCK, SKY, SHEEP])
  _sample(workdir, path, tmp_path / 'one', batch_size=4)
  address = free_address()
  processes = [
    _start(
      workdir,
      path,
      tmp_path / 'two',
      '--samples_per_graph=2',
      f'--coordinator_address={address}',
      '--num_processes=2',
      f'--process_id={process}',
      **environment.with_devices(2),
    )
    for process in (0, 1)
  ]
  printed = _finish(*processes)
  assert 'overview.png' in printed[0] and 'graph' not in printed[1]
  assert _files(tmp_path / 'one') == _files(tmp_path / 'two')
  assert _difference(tmp_path / 'one', tmp_path / 'two') <= 1


def test_a_killed_run_goes_on(workdir, tmp_path, reported):
  path, out = _graph_file(tmp_path, [SKY] * 600), tmp_path / 'out'
  process = _start(workdir, path, out, '--samples_per_graph=1')
  deadline = time.monotonic() + 120
  while (
    len(list(out.glob('*/graph.json'))) < 20
    and process.poll() is None
    and time.monotonic() < deadline
  ):
    time.sleep(0.01)
  process.kill()
  process.communicate()
  complete = [folder.name for folder in out.iterdir() if (folder / 'graph.json').exists()]
  assert 20 <= len(complete) < 600
  for name in complete:
    json.loads((out / name / 'graph.json').read_text())
    Image.open(out / name / 'sample_0.png').load()
  _sample(workdir, path, out, samples=1)
  assert f'{len(complete)} of 600 graphs are there already' in reported()
  assert sorted(folder.name for folder in out.iterdir()) == [
    f'graph_{index:03}' for index in range(600)
  ]
  assert not list(out.rglob('*.writing')) and len(list(out.glob('*/graph.json'))) == 600


def test_the_examples_are_known_to_the_published_visual_genome_models():
  path = SHARED / 'data' / 'vg_vocab.json'
  if not path.exists():
    pytest.skip('the vocabulary of the published models is not at hand')
  vocabulary = Vocabulary.from_dict(json.loads(path.read_text()))
  graphs = load_scene_graphs(ROOT / 'examples' / 'visual_genome.json')
  check_graphs(graphs, vocabulary, 'visual_genome.json')
  assert len(graphs) == 7


@pytest.mark.parametrize('name, count', [('sheep', 7), ('storybook', 8)])
def test_the_examples_are_known_to_the_storybook(name, count):
  path = ROOT / 'examples' / f'{name}.json'
  graphs = load_scene_graphs(path)
  assert len(graphs) == count
  check_graphs(graphs, storybook.VOCABULARY, str(path))


def test_shards_hold_what_folders_hold(workdir, tmp_path, monkeypatch):
  """Also after a run that ended in the middle."""
  monkeypatch.setattr(shards, 'SHARD', 2)
  path = _graph_file(tmp_path, [SKY, FLOCK, SHEEP, SKY, SHEEP])
  _sample(workdir, path, tmp_path / 'folders', pictures='samples')
  (found,) = _sample(workdir, path, tmp_path / 'shards', pictures='shards')
  names = sorted(one.name for one in found.glob('*.tar'))
  assert names == [f'graphs-00000{number}-of-000003.tar' for number in range(3)]
  with tarfile.open(found / names[0]) as archive:
    assert archive.getnames() == [
      f'00000000{graph}.{kind}' for graph in (0, 1) for kind in ('json', '0.png', '1.png')
    ]
  for number, name in enumerate(names):
    with tarfile.open(found / name) as archive:
      for member in archive:
        content = archive.extractfile(member).read()
        key, kind = member.name.split('.', 1)
        folder = tmp_path / f'folders/graph_00{int(key)}'
        assert int(key) // 2 == number
        if kind == 'json':
          expected = json.loads((folder / 'graph.json').read_text())
          assert json.loads(content) == expected | {'samples': [f'{key}.0.png', f'{key}.1.png']}
        else:
          picture = np.asarray(Image.open(io.BytesIO(content)))
          assert np.abs(picture.astype(int) - _pixels(folder / f'sample_{kind}')).max() <= 1

  before = {name: (found / name).stat().st_mtime_ns for name in names}
  (found / names[1]).unlink()
  _sample(workdir, path, found, pictures='shards')
  after = {name: (found / name).stat().st_mtime_ns for name in names}
  assert [name for name in names if after[name] != before[name]] == [names[1]]


def test_shards_of_another_run_are_not_touched(workdir, tmp_path):
  path = _graph_file(tmp_path, [SKY])
  _sample(workdir, path, tmp_path / 'out', pictures='shards')
  with pytest.raises(UserError, match='has shards of other seed than asked for; choose another'):
    _sample(workdir, path, tmp_path / 'out', pictures='shards', seed=1)

"""Published checkpoints through the command, and what the original computed with them."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from data_pipelines.configs import of_workdir
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import load_scene_graphs
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.evaluation.evaluation import evaluate
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.published import array_table, conversion, verification
from sg2im_jax.published import checkpoint as published_checkpoint
from sg2im_jax.published.conversion import convert
from sg2im_jax.sampling.bulk import sample_to_directory
from sg2im_jax.sampling.trained_model import TrainedModel
from sg2im_jax.settings import Settings
from sg2im_jax.storage import checkpoints
from sg2im_jax.storage.work_directory import load_settings, load_vocabulary
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.loop import train
from tests import environment
from tests.data_pipelines.conftest import IMAGE_SIZE, MASK_SIZE, write_coco_files
from tests.published_files import (
  GOLDEN,
  PUBLISHED_FILES,
  RECORDINGS,
  checkpoint_of,
  checkpoint_path,
  settings_of,
  to_published,
)
from tests.small_scenes import tiny_config
from tests.training_runs import ROOT

pytestmark = pytest.mark.slow

# Those of the full model on both data sets; the others vary one layer each.
MAIN_RECORDINGS = ('coco', 'vg')
NOT_COMPARED = ('ops/vecs', 'ops/other_boxes')  # inputs


def compared_names(recording):
  """The recorded arrays that a verification has to look at."""
  with np.load(GOLDEN / f'{recording}.npz') as file:
    names = [
      name
      for name in file
      if not name.startswith('in/') and name not in (*NOT_COMPARED, 'settings_json')
    ]
  return {
    name
    for name in names
    if not name.endswith('num_batches_tracked') and '/classifier.' not in name
  }


@pytest.mark.parametrize(
  'recording',
  [
    name if name in MAIN_RECORDINGS else pytest.param(name, marks=pytest.mark.exhaustive)
    for name in RECORDINGS
  ],
)
def test_a_converted_checkpoint_computes_what_the_original_computed(recording, tmp_path, reported):
  convert(
    checkpoint_path(recording, tmp_path),
    tmp_path / 'run',
    vectors=GOLDEN / f'{recording}.npz',
    align_corners=settings_of(recording).get('align_corners', True),
  )
  printed = reported()
  assert ' comparisons, none out of tolerance' in printed
  assert 'The step was recorded in float64: gradients have to agree within 1e-05,' in printed
  assert 'statistics within 1e-06.' in printed
  table = dict(
    line.split(maxsplit=1)
    for line in printed.splitlines()
    if re.match(r'(state|ops|eval|train)/', line)
  )
  extra = table.keys() - compared_names(recording)
  assert compared_names(recording) <= table.keys()
  assert all('none in the original' in table[name] for name in extra)

  if recording in PUBLISHED_FILES:
    check_samples(recording, TrainedModel.load(tmp_path / 'run'))


def check_samples(recording, model):
  """The recorded pictures, by the model that has been loaded from the work directory."""
  assert model.step == (0 if recording == 'vg' else 7)  # that one is stripped
  outputs = list(
    verification.compare_outputs(verification.Recording(GOLDEN / f'{recording}.npz'), model.sampler)
  )
  assert {comparison.name.split('/')[1] for comparison in outputs} == {'gt', 'gt_boxes', 'pred'}
  assert [comparison.name for comparison in outputs if not comparison.passed] == []


def published_state(path):
  """The training of a published checkpoint, and its state."""
  published = published_checkpoint.read(path)
  return published.training, conversion.initial_state(published)


@pytest.mark.exhaustive
def test_as_users_run_it_in_float32_everything_agrees_too():
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'tests.processes.compare_in_float32'),
      *(GOLDEN / 'coco.pt', GOLDEN / 'coco.npz'),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=environment.as_users(),
  )
  assert result.returncode == 0, result.stderr
  comparisons = [verification.Comparison(**fields) for fields in json.loads(result.stdout)]
  assert {comparison.name.split('/')[1] for comparison in comparisons} == {
    'gt',
    'gt_boxes',
    'pred',
    'g_loss',
    'd_obj',
    'd_img',
    'g_grad',
    'd_obj_grad',
    'd_img_grad',
    'stats_after_g',
    'stats_after_step',
  }
  gradients = [comparison for comparison in comparisons if '/g_grad/' in comparison.name]
  # gradients, and biases whose gradient is round-off
  assert {comparison.tolerance for comparison in gradients} == {1e-4, 1e-5}
  assert [comparison.name for comparison in comparisons if not comparison.passed] == []


CHANGED = {
  'state/model/box_net.0.bias',
  'ops/crops',
  'eval/pred/img',
  'eval/gt/masks',
  'eval/d_img/scores',
  'train/gt/rel',
  'train/g_loss/bbox',
  'train/g_grad/box_net.0.weight',
  'train/g_grad/refinement_net.refinement_modules.0.net.0.bias',
  'train/d_obj_grad/discriminator.cnn.0.0.weight',
  'train/stats_after_step/d_img/cnn.1.running_mean',
}


def test_differences_are_found(tmp_path, reported):
  with np.load(GOLDEN / 'first_residual.npz') as file:
    arrays = dict(file)
  for name in CHANGED:
    arrays[name] = arrays[name] + np.float32(2e-4) * max(np.abs(arrays[name]).max(), 1)
  np.savez(tmp_path / 'vectors.npz', **arrays)
  with pytest.raises(
    UserError, match=f'{len(CHANGED)} of .* out of tolerance, .* the first of them; nothing was'
  ):
    convert(
      checkpoint_path('first_residual', tmp_path),
      tmp_path / 'run',
      vectors=tmp_path / 'vectors.npz',
    )
  failed = re.findall(r'^(\S+) .* OUT OF TOLERANCE', reported(), re.MULTILINE)
  assert set(failed) == CHANGED
  assert not (tmp_path / 'run').exists()


# By how much; gradients of weights by a share of their largest entry. The bias is normalised away.
SLIGHTLY_CHANGED = {
  'train/g_grad/box_net.0.weight': 2e-5,
  'train/d_obj_grad/discriminator.cnn.0.0.weight': 2e-5,
  'train/stats_after_step/d_img/cnn.1.running_mean': 2e-6,
  'train/g_grad/refinement_net.refinement_modules.0.net.0.bias': 1e-9,
}


def with_step_in(dtype):
  """The arrays of a recording, its step cast."""
  with np.load(GOLDEN / 'first_residual.npz') as file:
    return {
      name: array.astype(dtype) if name.startswith('train/') else array
      for name, array in file.items()
    }


@pytest.mark.parametrize('dtype, found', [('float64', {*SLIGHTLY_CHANGED}), ('float32', set())])
def test_a_step_is_compared_as_closely_as_it_was_recorded(dtype, found, tmp_path):
  arrays = with_step_in(dtype)
  for name, change in SLIGHTLY_CHANGED.items():
    size = np.abs(arrays[name]).max() if name.endswith('weight') else 1
    arrays[name] = (arrays[name] + change * size).astype(dtype)
  np.savez(tmp_path / 'vectors.npz', **arrays)
  recording = verification.Recording(tmp_path / 'vectors.npz')
  assert recording.step_dtype == dtype
  training, state = published_state(checkpoint_path('first_residual', tmp_path))
  comparisons = list(verification.compare_step(recording, training, state, 'float64'))
  assert {comparison.name for comparison in comparisons if not comparison.passed} == found
  report = verification.report(comparisons)
  assert f'The step was recorded in {dtype}: ' in report
  expected = {'float32': (1e-4, 1e-5, 1e-5), 'float64': (1e-5, 1e-6, 1e-12)}
  gradient, statistic, round_off = expected[dtype]
  tolerances = {comparison.name: comparison.tolerance for comparison in comparisons}
  assert [
    tolerances[name]
    for name in (
      'train/g_grad/box_net.0.weight',
      'train/stats_after_step/d_img/cnn.1.running_mean',
      'train/g_grad/refinement_net.refinement_modules.0.net.3.bias',
    )
  ] == [gradient, statistic, round_off]
  assert f'within {gradient:.0e}, statistics within {statistic:.0e}.' in report


def test_a_step_that_is_partly_in_float32_counts_as_float32(tmp_path):
  arrays = with_step_in('float64')
  arrays['train/d_img/gan'] = arrays['train/d_img/gan'].astype(np.float32)
  np.savez(tmp_path / 'vectors.npz', **arrays)
  assert verification.Recording(tmp_path / 'vectors.npz').step_dtype == 'float32'
  assert verification.Recording(GOLDEN / 'first_residual.npz').step_dtype == 'float64'


def test_nan_is_a_difference():
  assert not verification.Comparison('name', float('nan'), 1.0, 1e-4).passed


@pytest.mark.parametrize(
  'content, message',
  [
    (None, 'cannot be read'),
    (b'', 'no recording of the original'),
    (b'PK\x03\x04 cut off', 'no recording'),
    ({'settings_json': '{}'}, 'no recording of the original .KeyError'),
    ('coco', 'recorded from another model'),
  ],
)
def test_vectors_that_cannot_be_compared(content, message, tmp_path):
  path = tmp_path / 'vectors.npz'
  if content == 'coco':
    shutil.copy(GOLDEN / 'coco.npz', path)
  elif isinstance(content, dict):
    np.savez(path, **content)
  elif content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    convert(checkpoint_path('first_residual', tmp_path), tmp_path / 'run', vectors=path)
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'run').exists()


def run(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'sg2im_jax.convert', *map(str, arguments)],
    text=True,
    capture_output=True,
    timeout=300,
    check=False,
  )


def test_the_command(tmp_path):
  workdir = tmp_path / 'run'
  result = run(f'--checkpoint={GOLDEN}/vg.pt', f'--workdir={workdir}')
  assert result.returncode == 0, result.stderr
  assert 'retired arguments are ignored: vec_noise_dim=0' in result.stdout
  assert 'python -m sg2im_jax.sample' in result.stdout
  graphs = tmp_path / 'graphs.json'
  graphs.write_text(
    json.dumps({'objects': ['thing1', 'stuff11'], 'relationships': [[0, 'above', 1]]})
  )
  model = TrainedModel.load(workdir)
  sample_to_directory(model, load_scene_graphs(graphs), tmp_path / 'out', samples=1)
  record = json.loads((tmp_path / 'out/graph_000/graph.json').read_text())
  assert record['stretch'] is True  # as published pictures are


def test_a_bad_checkpoint_is_one_line_and_writes_nothing(tmp_path):
  path = tmp_path / 'cut.pt'
  path.write_bytes((GOLDEN / 'vg.pt').read_bytes()[:200_000])
  result = run(f'--checkpoint={path}', f'--workdir={tmp_path}/run')
  assert result.returncode == 2
  assert result.stderr.startswith(f'error: {path}: no whole PyTorch checkpoint')
  assert result.stderr.count('\n') == 1 and result.stdout == ''
  assert [found.name for found in tmp_path.iterdir()] == ['cut.pt']


@pytest.fixture(scope='module')
def published_coco(tmp_path_factory):
  """A checkpoint of a small COCO model whose vocabulary has more names and predicates than the data
  set, reordered.
  """
  directory = tmp_path_factory.mktemp('coco')
  write_coco_files(directory / 'source')
  vocabulary = Vocabulary(
    ('__image__', 'person', 'NONE', 'car', 'boat', 'sky', 'other'),
    ('__in_image__', 'touching', *reversed(COCO_PREDICATES[1:]), 'near', 'far'),
  )
  config = tiny_config()
  config.data.image_size, config.data.mask_size, config.model.mask_size = (
    IMAGE_SIZE,
    MASK_SIZE,
    MASK_SIZE,
  )
  config.image_discriminator.arch = config.object_discriminator.arch = 'C4-4-2'
  settings = Settings.from_config(config)
  state = jax.jit(AdversarialTraining.build(settings, vocabulary).init)()
  model_kwargs = {
    name: value
    for name, value in config.model.items()
    if name not in ('initial_box', 'align_corners')
  }
  discriminator = {
    name: config.image_discriminator[name]
    for name in ('arch', 'normalization', 'activation', 'padding')
  }
  states = {
    network: to_published(getattr(state, network).variables, table)
    for network, table in array_table.tables(settings).items()
  }
  torch.save(
    {
      'args': {'dataset': 'coco', 'batch_size': 4, 'num_iterations': 1000},
      'model_kwargs': {**model_kwargs, 'image_size': IMAGE_SIZE, 'vocab': vocabulary.to_dict()},
      'd_img_kwargs': discriminator,
      'd_obj_kwargs': {**discriminator, 'object_size': 8},
      'model_state': states['generator'],
      'd_img_state': states['image_discriminator'],
      'd_obj_state': states['object_discriminator'],
      'counters': {'t': 40},
    },
    directory / 'published.pt',
  )
  return directory, vocabulary


@pytest.mark.exhaustive
def test_training_goes_on_from_a_converted_checkpoint(published_coco, reported):
  directory, vocabulary = published_coco
  workdir = directory / 'run'
  convert(directory / 'published.pt', workdir)
  before = checkpoints.load_generator(workdir).tree['params']
  config = of_workdir.get_config(str(workdir)).unlock()
  assert config.to_dict() == load_settings(workdir).model_dump()
  config.data.source_dir, config.data.data_dir = str(directory / 'source'), str(directory / 'data')
  config.num_steps, config.log_every, config.eval_every, config.image_grid_every = 42, 1, 42, 42
  config.num_eval_examples = 4
  train(config, workdir)
  printed = reported()
  assert 'from step 40 to 42' in printed and 'validation:' in printed
  assert checkpoints.steps(workdir) == [40, 42]
  assert load_vocabulary(workdir) == vocabulary
  after = checkpoints.load_generator(workdir).tree['params']
  changes = [
    np.abs(a - b).max()
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
  ]
  assert 0 < max(changes) < 1e-3  # two steps of Adam at 1e-4
  results = evaluate(workdir, Protocol(num_graphs=4, num_splits=1), backbone='none')
  assert (
    results['protocol']['num_graphs'] == 4 and 0 <= results['layout']['predicted']['box_iou'] <= 1
  )


def test_a_checkpoint_without_a_discriminator(tmp_path, reported):
  checkpoint = checkpoint_of('first_residual')
  checkpoint['d_obj_kwargs'], checkpoint['d_obj_state'] = {}, None
  torch.save(checkpoint, tmp_path / 'ablated.pt')
  convert(tmp_path / 'ablated.pt', tmp_path / 'run')
  assert 'there is no object discriminator' in reported()
  assert load_settings(tmp_path / 'run').object_discriminator.enabled is False


def test_every_published_file_is_tested():
  assert {path.stem for path in GOLDEN.glob('*.pt')} == set(PUBLISHED_FILES)
  assert {path.stem for path in GOLDEN.glob('*.npz')} == set(RECORDINGS)

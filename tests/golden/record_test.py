"""The command that makes the recordings, as far as it does without the published code."""

import sys

import numpy as np
import pytest

from tests.golden import record
from tests.published_files import GOLDEN, PUBLISHED_FILES, RECORDINGS


def test_the_table_has_the_cases_that_are_recorded():
  assert set(record.CASES) == set(RECORDINGS)
  assert set(record.CHECKPOINTS) == set(PUBLISHED_FILES)


@pytest.mark.parametrize('case', RECORDINGS)
def test_scenes_and_weights_of_a_recording_can_be_recorded_again(case):
  settings = record.settings_of(case)
  inputs = record.read_inputs(GOLDEN / f'{case}.npz', settings, only_step=False)
  kept = record.read_inputs(GOLDEN / f'{case}.npz', settings, only_step=True)
  with np.load(GOLDEN / f'{case}.npz') as file:
    assert set(file) - set(kept) == {
      'settings_json',
      *(name for name in file if name.startswith('train/')),
    }
    assert set(kept) - set(inputs) == {
      name for name in file if name.startswith(('ops/', 'eval/'))
    } - {'ops/vecs', 'ops/other_boxes'}
    assert all(
      file[name].dtype == np.float32
      for name in file
      if name.startswith(('eval/', 'ops/', 'train/gt/'))
    )
    assert all(
      file[name].dtype == np.float64
      for name in file
      if name.startswith('train/') and not name.startswith('train/gt/')
    )


def test_another_recording_is_no_input():
  with pytest.raises(ValueError, match='has other settings than the case of its name here'):
    record.read_inputs(GOLDEN / 'coco.npz', record.settings_of('vg'), only_step=False)


@pytest.mark.parametrize(
  'options, message',
  [
    (['coc'], "there is no case 'coc', but coco, vg, "),
    (['coco'], 'is no checkout of the published code'),
    (['--only-step'], '--only-step needs --inputs'),
    (['--inputs=nowhere', 'vg'], 'nowhere has no vg.npz'),
  ],
)
def test_mistakes_are_one_line(options, message, tmp_path, monkeypatch, capsys):
  if options != ['coco']:
    (tmp_path / 'sg2im').mkdir()
    (tmp_path / 'sg2im/model.py').touch()
  monkeypatch.setattr(
    sys, 'argv', ['record.py', f'--published={tmp_path}', f'--output={tmp_path}/out', *options]
  )
  with pytest.raises(SystemExit):
    record.main()
  assert message in capsys.readouterr().err.splitlines()[-1]
  assert not (tmp_path / 'out').exists()

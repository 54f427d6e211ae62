import subprocess
import sys

from tests.training_runs import ROOT


def run(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'tests.processes.command', *arguments],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )


def test_a_mistake_of_the_user_is_one_line():
  result = run('--ending=user_error')
  assert (result.returncode, result.stderr) == (2, 'error: a.json: empty; name an object\n')


def test_a_setting_is_named_by_its_flag():
  result = run('--ending=settings_error')
  assert (result.returncode, result.stdout) == (2, '')
  assert result.stderr == 'error: --ending is wrong; set --ending=done\n'


def test_refuses_what_is_no_flag():
  result = run('config=configs/coco64.py')
  assert result.returncode == 2
  assert result.stderr.startswith(
    "error: unexpected argument 'config=configs/coco64.py'; every option is a flag"
  )


def test_ends_well_otherwise():
  result = run('--ending=done')
  assert (result.returncode, result.stdout) == (0, 'done\n')
  assert result.stderr == 'warning: and a warning\n'

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


def test_an_address_is_no_path():
  result = run('--path=gs://bucket/run')
  assert result.returncode == 2
  assert result.stderr.startswith('error: --path=gs://bucket/run: files are read and written on th')


def test_paths_begin_at_home_as_in_a_shell(monkeypatch):
  monkeypatch.setenv('HOME', '/home/of/somebody')
  assert run('--ending=path', '--path=~/run').stdout == '/home/of/somebody/run\n'


def test_prose_stays_as_it_is():
  text = '~ a boat, as on http://boats.example'
  assert run('--ending=text', f'--text={text}').stdout == f'{text}\n'


def test_options_know_which_flags_were_given():
  assert run('--ending=given', '--path=').stdout == 'ending, path\n'


def test_output_that_the_terminal_cannot_print_is_replaced(monkeypatch):
  monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
  result = run('--ending=path', '--path=Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}')
  assert (result.returncode, result.stdout) == (0, 'Zo?\n')


def test_a_platform_that_is_not_there_is_one_line(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'abacus')
  result = run('--ending=done')
  assert result.returncode == 2 and result.stderr.count('\n') == 1
  assert result.stderr.startswith('error: JAX_PLATFORMS=abacus, but JAX finds no such platform')


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

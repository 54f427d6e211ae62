import pathlib
import subprocess
import sys

PROGRAM = """
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax import command_line

def main(argv):
  {body}

command_line.run(main)
"""


def run(body, *arguments):
  return subprocess.run(
    [sys.executable, '-c', PROGRAM.format(body=body), *arguments],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
    check=False,
  )


def test_a_mistake_of_the_user_is_one_line():
  result = run('raise UserError("a.json: empty;\\n  name an object")')
  assert (result.returncode, result.stderr) == (2, 'error: a.json: empty; name an object\n')


def test_refuses_what_is_no_flag():
  result = run('pass', 'config=configs/coco64.py')
  assert result.returncode == 2
  assert result.stderr.startswith(
    "error: unexpected argument 'config=configs/coco64.py'; every option is a flag"
  )


def test_ends_well_otherwise():
  result = run('print("done")')
  assert (result.returncode, result.stdout, result.stderr) == (0, 'done\n', '')

"""Which package imports which: read from the sources, and from what processes have loaded."""

import ast
import functools
import os
import pathlib
import subprocess
import sys

import pytest

from data_pipelines.configs import debug
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from tests.training_runs import ENVIRONMENT, ROOT, write_untrained

PACKAGES = ('sg2im_jax', 'data_pipelines')
STUDIO, WEB = 'sg2im_jax.studio', ('fastapi', 'starlette', 'uvicorn')
COMMANDS = {
  *(
    f'sg2im_jax.{name}'
    for name in ('train', 'sample', 'edit', 'export', 'evaluate', 'figures', 'convert')
  ),
  STUDIO,
  *(f'data_pipelines.{name}' for name in ('prepare', 'convert_scenes', 'browse', 'export')),
}


def module_name(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@functools.cache
def sources() -> dict[str, ast.Module]:
  """The parsed sources by the name of the module; configs is the package data_pipelines.configs."""
  paths = [path for package in PACKAGES for path in (ROOT / package).rglob('*.py')]
  paths += (ROOT / 'data_pipelines/configs').glob('*.py')  # behind a symbolic link
  return {module_name(path): ast.parse(path.read_text()) for path in sorted(set(paths))}


def is_for_types(node: ast.AST) -> bool:
  return isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'


def imports(module: str) -> set[str]:
  """The modules that a module imports when it runs, also those inside of functions."""
  found, left = set(), [sources()[module]]
  while left:
    node = left.pop()
    if is_for_types(node):
      left += node.orelse
      continue
    left += ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{module} has a relative import'
      members = {f'{node.module}.{alias.name}' for alias in node.names}
      submodules = members & sources().keys()
      found |= submodules
      if len(submodules) < len(members):
        found.add(node.module)
  return found


def importers(*packages: str, of: str) -> dict[str, set[str]]:
  """The modules at or under `of` that import one of the packages, and what they import."""
  found = {}
  for module in sources():
    if is_under(module, of):
      wrong = {name for name in imports(module) for package in packages if is_under(name, package)}
      if wrong:
        found[module] = wrong
  return found


def is_under(module: str, package: str) -> bool:
  return module == package or module.startswith(f'{package}.')


def room(module: str) -> str:
  """The folder of a module, or the module itself where it lies in the package's own folder."""
  return '.'.join(module.split('.')[:2])


def test_the_sources_are_read():
  assert {'sg2im_jax', 'sg2im_jax.training.loop', 'data_pipelines.configs.coco64'} < {*sources()}
  assert COMMANDS < {*sources()}
  assert 'sg2im_jax.models' in imports('sg2im_jax.settings')
  assert 'sg2im_jax.runtime.hosts' in imports('sg2im_jax.training.loop')


def test_data_pipelines_knows_neither_the_model_nor_jax():
  packages = ('sg2im_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'torch')
  assert importers(*packages, of='data_pipelines') == {}


def test_configs_know_nothing_but_each_other():
  found = importers('sg2im_jax', 'data_pipelines', of='data_pipelines.configs')
  for names in found.values():
    assert all(is_under(name, 'data_pipelines.configs') for name in names), found


def test_scene_graphs_need_no_tensorflow():
  assert importers('tensorflow', 'tensorflow_datasets', of='data_pipelines.scene_graphs') == {}


@pytest.mark.parametrize('package', PACKAGES)
def test_nothing_imports_a_command(package):
  assert importers(*COMMANDS, of=package) == {}


@pytest.mark.parametrize('package', PACKAGES)
def test_there_are_no_circles_between_folders(package):
  graph = {}
  for module in sources():
    # The public names of the package itself are loaded lazily, from everywhere.
    if is_under(module, package) and module != package:
      targets = {room(name) for name in imports(module) if is_under(name, package)}
      graph.setdefault(room(module), set()).update(targets - {room(module), package})
  assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
  """The strongly connected parts of more than one node."""

  def reachable(start):
    found, left = set(), [start]
    while left:
      for target in graph.get(left.pop(), ()):
        if target not in found:
          found.add(target)
          left.append(target)
    return found

  reach = {node: reachable(node) for node in graph}
  parts = {
    frozenset(other for other in graph if other in reach[node] and node in reach[other])
    for node in graph
    if node in reach[node]
  }
  return sorted(sorted(part) for part in parts)


def test_circles_are_found():
  assert circles({'a': {'b'}, 'b': {'c'}, 'c': {'b', 'd'}, 'd': set()}) == [['b', 'c']]


def test_only_readers_of_weights_import_torch():
  found = importers('torch', of='sg2im_jax')
  assert found.keys() == {'sg2im_jax.published.checkpoint', 'sg2im_jax.evaluation.backbones'}


def test_one_module_imports_apache_beam():
  found = importers('apache_beam', of='data_pipelines')
  assert found.keys() == {'data_pipelines.pipeline.beam_map'}
  assert importers('data_pipelines.pipeline.beam_map', of='data_pipelines').keys() == {
    'data_pipelines.pipeline.input_pipeline',
    'data_pipelines.pipeline.beam_process',
  }


def test_only_the_studio_imports_a_web_framework():
  found = {module for package in PACKAGES for module in importers(*WEB, of=package)}
  assert found and all(is_under(module, 'sg2im_jax.serving') for module in found - {STUDIO})


def loaded_by(name: str, *arguments) -> set[str]:
  """The packages that the process tests/processes/NAME.py has loaded at its end."""
  done = subprocess.run(
    [sys.executable, '-m', f'tests.processes.{name}', *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, **ENVIRONMENT},
  )
  assert done.returncode == 0, done.stderr
  return set(done.stdout.split())


def test_importing_the_package_loads_nothing_large():
  loaded = loaded_by('import_package')
  assert 'sg2im_jax' in loaded
  assert not loaded & {'tensorflow', 'tensorflow_datasets', 'torch', 'jax', 'flax', 'orbax'}


@pytest.mark.slow
def test_sampling_from_python_loads_neither_tensorflow_nor_torch(tmp_path):
  config = debug.get_config()
  config.model.gconv_num_layers, config.model.refinement_dims = 1, (16, 8)
  vocabulary = Vocabulary(('__image__', 'sky', 'grass'), ('__in_image__', 'above'))
  workdir = write_untrained(tmp_path, config, vocabulary)
  loaded = loaded_by('sample_from_python', workdir)
  assert {'sg2im_jax', 'jax'} < loaded
  assert not loaded & {'tensorflow', 'tensorflow_datasets', 'torch'}


@pytest.mark.slow
def test_commands_load_no_torch_and_leave_the_functions_of_the_package():
  loaded = loaded_by('import_commands')
  assert {'sg2im_jax', 'jax', 'tensorflow'} < loaded and 'torch' not in loaded


@pytest.mark.slow
def test_training_loads_no_keras_and_leaves_it_to_the_user():
  loaded = loaded_by('import_training')
  assert {'jax', 'tensorflow', 'tensorflow_datasets'} < loaded
  assert not loaded & {'keras', 'tf_keras', 'sklearn', 'matplotlib', 'torch'}

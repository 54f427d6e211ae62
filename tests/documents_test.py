"""The documents name what exists: links, anchors, files, commands and configs."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [
  *(ROOT / f'{name}.md' for name in ('README', 'WORKSPACE', 'CONTRIBUTING', 'CHANGELOG')),
  *sorted((ROOT / 'docs').glob('*.md')),
  ROOT / 'benchmarks/RESULTS.md',
  ROOT / 'examples/scenes/README.md',
  ROOT / 'tests/golden/README.md',
]

# Where a path in backticks may begin; tables of WORKSPACE leave the package out.
BASES = ('', 'sg2im_jax', 'data_pipelines')
SUFFIXES = ('.py', '.md', '.toml', '.html', '.cff', '.yaml')
FOLDERS = (
  'sg2im_jax/',
  'data_pipelines/',
  'configs/',
  'tests/',
  'docs/',
  'examples/',
  'benchmarks/',
)
PLACEHOLDER = re.compile(r'[A-Z]{3,}|[*<>=]')  # data_pipelines/NAME/, tests/*_test.py

documents = pytest.mark.parametrize(
  'document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def prose(document: pathlib.Path) -> str:
  """The text without fenced code."""
  return re.sub(r'^```.*?^```', '', document.read_text(), flags=re.M | re.S)


def anchors(document: pathlib.Path) -> set[str]:
  """What GitHub makes of the headings."""
  headings = re.findall(r'^#+ +(.*)$', prose(document), re.M)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def targets(document: pathlib.Path) -> list[str]:
  """Targets of inline links, pictures and link definitions."""
  text = prose(document)
  return re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'^\[[^\]]+\]: (\S+)$', text, re.M)


def named_paths(document: pathlib.Path) -> list[str]:
  """Paths in backticks that look like files or folders of the project."""
  spans = [span.split(':')[0] for span in re.findall(r'`([^`\n]+)`', prose(document))]
  return [
    span
    for span in spans
    if re.fullmatch(r'[\w./-]+', span)
    and not PLACEHOLDER.search(re.sub(r'(README|RESULTS)\.md', '', span))
    and (
      span.endswith('.py' if '/' not in span else SUFFIXES)
      or (span.endswith('/') and span.startswith(FOLDERS))
    )
  ]


def exists(path: str, document: pathlib.Path) -> bool:
  """Whether there is such a file; one that is named without its folder may be in any."""
  if '/' not in path:
    return any(next((ROOT / folder).rglob(path), None) for folder in FOLDERS)
  return any((base / path).exists() for base in (document.parent, *(ROOT / base for base in BASES)))


@documents
def test_relative_links_lead_somewhere(document):
  missing = []
  for target in targets(document):
    if re.match(r'\w+:', target):
      continue
    path, _, anchor = target.partition('#')
    file = document.parent / path if path else document
    if not file.exists() or (anchor and anchor not in anchors(file)):
      missing.append(target)
  assert not missing


@documents
def test_reference_links_are_defined(document):
  text = prose(document)
  defined = set(re.findall(r'^\[([^\]]+)\]: ', text, re.M))
  used = set(re.findall(r'\]\[([^\]]+)\]', text))
  assert used == defined


@documents
def test_named_files_exist(document):
  assert not [path for path in named_paths(document) if not exists(path, document)]


@documents
def test_commands_and_configs_exist(document):
  text = document.read_text()
  scripts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['scripts']
  assert set(re.findall(r'\bsg2im-[a-z-]+', text.replace('sg2im-data', ''))) <= set(scripts)
  modules = set(re.findall(r'-m ((?:sg2im_jax|data_pipelines|benchmarks)[\w.]*)', text))
  files = [ROOT.joinpath(*module.rstrip('.').split('.')) for module in modules]
  assert [
    file for file in files if not file.with_suffix('.py').is_file() and not file.is_dir()
  ] == []
  configs = set(re.findall(r'--config=(?:configs/)?([a-z]\w*)', text))
  assert {name for name in configs if not (ROOT / f'configs/{name}.py').is_file()} == set()


@documents
def test_lines_are_short(document):
  too_long = [
    number
    for number, line in enumerate(document.read_text().splitlines(), 1)
    if len(line) > 100 and document.parent.name != 'benchmarks'
  ]
  assert not too_long

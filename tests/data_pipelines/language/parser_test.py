"""Sentences and the graphs that they mean."""

import json
import pathlib

import numpy as np
import pytest

from data_pipelines.language.parser import parse_text
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import parse_scene_graphs
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from data_pipelines.storybook import builder

STORYBOOK = Vocabulary(
  builder.VOCABULARY.object_names, builder.VOCABULARY.predicate_names, builder.ATTRIBUTE_NAMES
)


def _cases(name):
  lines = (pathlib.Path(__file__).parent / name).read_text().splitlines()
  cases = []
  for line in lines:
    if line.startswith('#') or not line.strip():
      continue
    if not line.startswith(' '):
      cases.append((line, {'=': '', '+': '', '@': '', '?': ''}))
    elif line.strip() == '!':
      cases[-1] = (cases[-1][0], None)
    else:
      cases[-1][1][line.split()[0]] = line.strip()[1:].strip()
  return cases


def as_written(parsed):
  """A parsed text in the notation of sentences.txt."""
  graph = parsed.graph
  attributes = graph.attributes or ((),) * len(graph.objects)
  return {
    '=': ', '.join(
      ' '.join((*of_object, name)) for of_object, name in zip(attributes, graph.objects)
    ),
    '+': ', '.join(f'{subject} {name} {other}' for subject, name, other in graph.relationships),
    '@': ', '.join(graph.scene),
    '?': ', '.join(one.words for one in parsed.not_understood),
  }


CASES = [*_cases('sentences.txt'), *_cases('requests.txt')]


@pytest.mark.parametrize(('text', 'meaning'), CASES, ids=[text for text, _ in CASES])
def test_meanings(text, meaning):
  if meaning is None:
    with pytest.raises(UserError, match='names nothing that the model knows'):
      parse_text(text, STORYBOOK)
  else:
    assert as_written(parse_text(text, STORYBOOK)) == meaning


COCO = Vocabulary(
  ('__image__', 'sheep', 'NONE', 'sky-other', 'playing field', 'grass', 'wine glass'),
  COCO_PREDICATES,
)


@pytest.mark.parametrize(
  ('text', 'graph'),
  [
    (
      'two sheep below the sky',
      (('sheep', 'sheep', 'sky-other'), ((0, 'below', 2), (1, 'below', 2))),
    ),
    # Without a predicate "on", being inside is what comes nearest.
    (
      'Wine glasses on the playing field',
      (('wine glass', 'wine glass', 'playing field'), ((0, 'inside', 2), (1, 'inside', 2))),
    ),
    ('a lamb by the lawn', (('sheep', 'grass'), ())),
  ],
)
def test_another_vocabulary(text, graph):
  parsed = parse_text(text, COCO)
  assert (parsed.graph.objects, parsed.graph.relationships) == graph


@pytest.mark.parametrize('number', ['99', '٩٩', '9' * 5000])
def test_a_large_number_is_many(number):
  assert len(parse_text(f'{number} sheep', STORYBOOK).graph.objects) == 12


def test_proposes_the_nearest_known_word():
  parsed = parse_text('a shep and a boat', STORYBOOK)
  assert [str(one) for one in parsed.not_understood] == [
    'not understood: "shep"; did you mean "sheep"?'
  ]
  (red,) = parse_text('red grass', COCO).not_understood
  assert str(red) == 'not understood: "red"'


@pytest.mark.parametrize(
  'text', ['', '...', '²', '\x1e\x13²', 'a dragon', 'and with the', 'it is next to them']
)
def test_a_text_that_names_nothing(text):
  with pytest.raises(UserError, match='names nothing that the model knows'):
    parse_text(text, STORYBOOK)


@pytest.mark.parametrize(
  ('words', 'length', 'count', 'seed'),
  [
    (
      'a the two red sheep grass in between with and , . is that it them night no other dragon',
      12,
      300,
      0,
    ),
    pytest.param(
      'a the two red blue sheep grass sea sky boats in on behind between next to each other '
      'another with and , . is that are it them night no some lots of one put there dragon on '
      'facing left',
      14,
      1500,
      1,
      marks=pytest.mark.exhaustive,
    ),
  ],
)
def test_any_words_end(words, length, count, seed):
  """Whatever the order of words, the parser reads each once and raises nothing but UserError."""
  random = np.random.default_rng(seed)
  for _ in range(count):
    text = ' '.join(random.choice(words.split(), length))
    try:
      graph = parse_text(text, STORYBOOK).graph
    except UserError:
      continue
    parse_scene_graphs(json.dumps(graph.to_dict()), text)  # its indices are valid

"""The words of English text that name what a model knows: its vocabulary, and their synonyms."""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from data_pipelines.scene_graphs.graph import IMAGE_OBJECT, IN_IMAGE_PREDICATE
from data_pipelines.scene_graphs.vocabulary import UNUSED_NAME, Vocabulary

Words = tuple[str, ...]

# Words of one meaning for the purpose of a picture. A word that no name of the vocabulary has means
# the first word of its line that one has.
NOUN_SYNONYMS = (
  'sea, ocean, water, lake, river, pond',
  'grass, lawn, meadow, field, pasture, hill, ground',
  'sand, beach, shore, desert',
  'snow, ice',
  'road, street, path, highway, lane',
  'mountain, peak, hilltop',
  'boat, ship, sailboat, sailing boat, yacht, vessel',
  'car, automobile, vehicle, taxi',
  'person, man, woman, boy, girl, child, kid, human, somebody, someone, people, lady, guy, farmer',
  'dog, puppy, doggy, hound',
  'sheep, lamb, ewe',
  'cow, bull, calf, ox',
  'duck, duckling, goose',
  'bird, seagull, gull, sparrow',
  'pine, pine tree, fir, fir tree, spruce, christmas tree',
  'tree, oak, leaf tree',
  'bush, shrub, hedge',
  'flower, rose, tulip, daisy, blossom',
  'house, home, cottage, hut, building, cabin',
  'lighthouse, light house, beacon',
  'rock, stone, boulder',
  'balloon, hot air balloon, hot-air balloon, air balloon',
  'night sky, starry sky, dark sky',
  'snowman, snow man',
  'cactus, cacti',
)
PREDICATE_SYNONYMS = (
  'next to, beside, near, by, close to, alongside, nearby, on side of, outside, on each side of'
  ', on both sides of, on either side of',
  'left of, to the left of, on the left of, left from, on the left side of',
  'right of, to the right of, on the right of, right from, on the right side of',
  'above, over, high above, up above, on top of',
  'below, under, underneath, beneath',
  'inside, within, inside of, in, into',
  'surrounding, around, all around, encircling',
  'behind, in back of, at the back of, past',
  'in front of, before, ahead of',
  'standing on, standing in, on top of, on, in',
  'on, on top of, upon, onto, standing on, in',
  'in, on, inside, within',
)
POSSESSIVES = (('its', 'it'), ('his', 'him'), ('her', 'her'), ('their', 'them'))
# A relation told from the other end.
CONVERSES = {
  'surrounded by': 'surrounding',
  'covered by': 'above',
  'followed by': 'in front of',
}
# Phrases that say a predicate and the pronoun after it.
WITH_PRONOUNS = {
  'side by side': ('next to', 'each other'),
  'in the background': ('behind', 'it'),
  'in background': ('behind', 'it'),
  'in the distance': ('behind', 'it'),
  'in the foreground': ('in front of', 'it'),
  'in front': ('in front of', 'it'),
  'on top': ('above', 'it'),
} | {
  f'{at} {whose} {side}{word}': (f'{side} of', pronoun)
  for side in ('left', 'right')
  for word in ('', ' side')
  for at, whose, pronoun in (
    ('on', 'the', 'it'),
    *(('on', *pair) for pair in POSSESSIVES),
    *(('to', *pair) for pair in POSSESSIVES),
  )
}


def _facing(side: str) -> str:
  """The attribute of things that face a side, and its synonyms."""
  looking = 'facing faces face looking looks look heading heads turned'.split()
  moving = 'driving drives walking walks running runs swimming swims sailing sails'.split()
  phrases = [f'{verb} {to}{side}' for verb in looking for to in ('', 'the ', 'to ')]
  phrases += [f'{verb} {to} the {side}' for verb in looking + moving for to in ('to', 'towards')]
  return ', '.join((f'{side}-facing', f'{side} facing', *phrases))


ATTRIBUTE_SYNONYMS = (
  'large, big, huge, tall, giant, enormous',
  'small, little, tiny, short, mini',
  'grey, gray, silver',
  'yellow, golden, gold',
  'purple, violet, lilac',
  _facing('left'),
  _facing('right'),
  'autumn, autumnal, fall, in autumn',
  'blossoming, blooming, flowering, in blossom, in bloom, in full bloom, in full blossom, cherry',
  'fruiting, apple, fruit, with apples, with fruit, with fruits, full of apples',
  'snowy, snow-covered, snow covered, covered in snow, covered with snow',
  'crescent, half',
  'lit, lighted, lit up, with lights on, with its lights on, with its light on, with the lights on'
  ', with the light on, with light in the windows, with lit windows',
  'waving, greeting, waves, wave',
  'grazing, eating grass, eating, grazes, graze, eats grass',
  'night, nighttime, night-time, midnight, in the dark, after dark, is dark, getting dark'
  ", it's dark",
  'evening, sunset, dusk, dawn, twilight, sunrise',
  'day, daytime, noon, midday, morning, daylight, afternoon',
  'clear, sunny, cloudless, in fine weather, in good weather',
  'foggy, misty, hazy, fog, mist, haze, in fog, in the fog, in mist, in the mist',
  'rainy, raining, rain, rains, stormy, in rain, in the rain, with rain, pouring',
  'snowing, snows, snowfall, snowstorm, blizzard, in falling snow, in a snowstorm'
  ', snow is falling, snow falls, falling snow',
)
# Attributes that are the whole image's, whatever they stand beside.
OF_IMAGE = ('day', 'evening', 'night', 'clear', 'foggy', 'rainy', 'snowing')
# Without an article these mean the one that has been mentioned.
MASSES = ('sky', 'night sky', 'sea', 'grass', 'sand', 'snow', 'road', 'water', 'ground')
# Of a list that is said to be in the sky, these are.
SKY_THINGS = (
  *('sun', 'moon', 'star', 'cloud', 'clouds', 'rainbow', 'bird', 'kite', 'balloon'),
  *('airplane', 'plane', 'helicopter'),
)
# Attributes of which a thing has one: two things with two of them have one each.
EXCLUSIVE = (
  ('large', 'small'),
  ('left-facing', 'right-facing'),
  tuple('red orange yellow green blue purple pink brown tan beige white grey gray black'.split()),
)
# What "he" and "she" may be.
ANIMATES = (
  *('person', 'man', 'woman', 'boy', 'girl', 'child', 'kid', 'lady', 'guy', 'people', 'snowman'),
  *('dog', 'cat', 'sheep', 'cow', 'horse', 'duck', 'bird', 'fish', 'bear', 'elephant', 'giraffe'),
  *('zebra', 'player', 'skier', 'surfer'),
)
# Verbs before a preposition, which say no more than it does unless a predicate has them.
_VERBS = (
  'stand sit lie lay walk run swim fly float sail drive park rest hang grow wait play rise shine '
  'drift lean live sleep jump hover swoop go'
)

_SUFFIXES = re.compile(r'-(other|merged|stuff)$')
_CLOSE = 0.7  # likeness of names that are proposed for a word


class Noun(NamedTuple):
  """A name of an object in a text.

  Attributes:
    name: of the class.
    length: words that it takes.
    is_plural: whether the word is the plural; False where both are the same.
  """

  name: str
  length: int
  is_plural: bool


class Match(NamedTuple):
  """A predicate or an attribute in a text.

  Attributes:
    name: of it.
    length: words that it takes.
    is_converse: whether subject and object change places.
    pronoun: the object that it says with it; empty if it says none.
  """

  name: str
  length: int
  is_converse: bool = False
  pronoun: str = ''


class Lexicon:
  """The phrases for a vocabulary's names."""

  def __init__(self, vocabulary: Vocabulary):
    self.vocabulary = vocabulary
    self._nouns = _phrases(
      {
        _SUFFIXES.sub('', name.lower()): name
        for name in reversed(vocabulary.object_names)
        if name not in (IMAGE_OBJECT, UNUSED_NAME)
      },
      NOUN_SYNONYMS,
    )
    known = {
      name.lower(): name
      for name in reversed(vocabulary.predicate_names)
      if name not in (IN_IMAGE_PREDICATE, UNUSED_NAME)
    }
    self._predicates = _phrases(known, PREDICATE_SYNONYMS)
    self._converses = {
      _words(phrase): self._predicates[_words(meaning)]
      for phrase, meaning in CONVERSES.items()
      if _words(meaning) in self._predicates
    }
    self._with_pronouns = {
      _words(phrase): (self._predicates[_words(meaning)], pronoun)
      for phrase, (meaning, pronoun) in WITH_PRONOUNS.items()
      if _words(meaning) in self._predicates
    }
    names = {name.strip().lower(): name for name in reversed(vocabulary.attribute_names)}
    self._attributes = _phrases(names, ATTRIBUTE_SYNONYMS)

  def noun(self, words: Sequence[str]) -> Noun | None:
    """The longest name that the words begin with."""
    for length in range(min(len(words), _longest(self._nouns)), 0, -1):
      phrase = tuple(words[:length])
      if phrase in self._nouns:
        return Noun(self._nouns[phrase], length, False)
      singular = _singular(phrase[-1])
      if singular and (*phrase[:-1], singular) in self._nouns:
        return Noun(self._nouns[*phrase[:-1], singular], length, True)
    return None

  def predicate(self, words: Sequence[str]) -> Match | None:
    """The longest predicate that the words begin with, perhaps after a verb."""
    if not words:
      return None
    verb = _verb(words[0])
    found = self._predicate_as_written(words)
    if verb is None:
      return found
    found = found or self._predicate_as_written((verb, *words[1:]))
    after = self.predicate(words[1:])
    if after and (found is None or after.length >= found.length):  # "standing in front of"
      return after._replace(length=after.length + 1)
    return found

  def _predicate_as_written(self, words: Sequence[str]) -> Match | None:
    for length in range(min(len(words), _longest(self._predicates)), 0, -1):
      phrase = tuple(words[:length])
      if phrase in self._converses:
        return Match(self._converses[phrase], length, True)
      if phrase in self._with_pronouns:
        name, pronoun = self._with_pronouns[phrase]
        return Match(name, length, pronoun=pronoun)
      if phrase in self._predicates:
        return Match(self._predicates[phrase], length)
    return None

  def attribute(self, words: Sequence[str]) -> Match | None:
    """The longest attribute that the words begin with."""
    for length in range(min(len(words), _longest(self._attributes)), 0, -1):
      phrase = tuple(words[:length])
      if phrase in self._attributes and words[length : length + 1] != ['of']:  # "full of"
        return Match(self._attributes[phrase], length)
    return None

  def nearest(self, word: str) -> str | None:
    """The known word that is most like one that is not understood; None if none is alike."""
    known = [' '.join(phrase) for phrase in (*self._nouns, *self._attributes, *self._predicates)]
    found = difflib.get_close_matches(_singular(word) or word, known, 1, _CLOSE)
    return found[0] if found and found[0] != word else None


def is_verb(word: str) -> bool:
  """Whether a word is a form of a verb of resting or moving."""
  return _verb(word) is not None


def _words(phrase: str) -> Words:
  return tuple(phrase.split())


def _phrases(names: Mapping[str, str], synonyms: Iterable[str]) -> dict[Words, str]:
  """By the words of a phrase the name that it means."""
  found = {_words(spelled): name for spelled, name in names.items()}
  for line in synonyms:
    phrases = [_words(phrase) for phrase in line.split(',')]
    meant = next((found[phrase] for phrase in phrases if ' '.join(phrase) in names), None)
    if meant is not None:
      for phrase in phrases:
        found.setdefault(phrase, meant)
  # Names such as "playing field" may be written with a hyphen.
  return {
    tuple(part for word in key for part in word.split('-')): name
    for key, name in reversed(found.items())
  } | found


def _longest(phrases: Iterable[Words]) -> int:
  return max(map(len, phrases), default=0)


@functools.cache
def _english():
  import inflect  # takes a third of a second

  return inflect.engine()


@functools.cache
def _singular(word: str) -> str | None:
  """The singular of a plural; None of another word."""
  return _english().singular_noun(word) or None


@functools.cache
def _verb(word: str) -> str | None:
  """The participle of a form of one of _VERBS."""
  for verb in _VERBS.split():
    stem = verb.removesuffix('e')
    doubled = stem + stem[-1]
    forms = {verb, f'{verb}s', f'{stem}ed', f'{stem}ing', f'{doubled}ing', f'{doubled}ed'}
    if word in forms | {f'{verb}es'} or (verb == 'lie' and word == 'lying'):
      if verb == 'lie':
        return 'lying'
      return f'{doubled}ing' if verb in ('sit', 'run', 'swim') else f'{stem}ing'
  return None

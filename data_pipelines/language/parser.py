"""English text as a scene graph, over the names that a model knows.

The grammar, in which `[x]` may be left out and `{x}` may be repeated:

    text       = sentence {"." sentence}                       also ";", ":", "!" and "?"
    sentence   = part {("," | "and" | "with") part}
    part       = [relation] things {relation} | time of day    "behind it there is a tree"
    things     = thing {("," | "and") thing}                   a list that ends in "and" is one
    thing      = [number] {attribute} noun {attribute} [[","] ("that" | "which" | "who") relation]
               | "it" | "they" | "them" | "both" ...           what the part before is about
               | "one" | "two" | "a red one" ...               of several in the part before
    relation   = ["is" | "are"] predicate [things]             without things: as with "them"
               | ["is" | "are"] attribute
    number     = "a" | "the" | "another" | "two" | "some" | "a couple of" | "a flock of" | "no" ...

`The` and bare words for land, water and sky mean what has been mentioned, where it has been. A
plural without a number means two. A relation of several things holds for each of them. What
follows a thing that carries the subject is said of that thing: "on a rock beside the sea".
What is not understood is left out and told.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence

from data_pipelines.language.lexicon import (
  ANIMATES,
  EXCLUSIVE,
  MASSES,
  OF_IMAGE,
  SKY_THINGS,
  Lexicon,
  Match,
  is_verb,
)
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import Vocabulary

MOST = 12  # of one kind in a phrase

_NUMBERS = {
  word: number
  for number, word in enumerate('one two three four five six seven eight nine ten'.split(), 1)
} | {
  'some': 3,
  'several': 3,
  'few': 3,
  'many': 4,
  'lots': 4,
  'loads': 4,
  'plenty': 4,
  'couple': 2,
  'pair': 2,
  'both': 2,
  'flock': 3,
  'herd': 3,
  'group': 3,
  'bunch': 3,
  'row': 3,
  'dozen': 12,
}
_AMOUNTS = ('some', 'several', 'few', 'many', 'lots', 'loads', 'plenty', 'bunch')
_NEW = (
  'a',
  'an',
  'another',
  'other',
  'second',
  'third',
  'his',
  'her',
  'its',
  'their',
  'my',
  'our',
  'whose',
)
_DEFINITE = ('the', 'this', 'these', 'those', 'both', 'all')
_NONE = ('no', 'without', 'not', "don't", "isn't", "aren't", 'never')
_PRONOUNS = ('it', 'they', 'them', 'he', 'she', 'him', 'her', 'this', 'that', 'these', 'those')
_OF_SEVERAL = ('them', 'these', 'those', 'which', 'whom')
_POINTING = ('this', 'that', 'these', 'those', 'her')  # perhaps before a noun
_OF_PERSONS = ('who', "who's")
_OF_ANIMATES = ('he', 'she', 'him', 'her')
_RELATIVES = ('that', 'which', 'who', "that's", "who's")
_COPULAS = (
  *('is', 'are', 'was', 'were', 'be', 'being', "it's", 'has', 'have'),
  *('turn', 'turns', 'turned', 'become', 'becomes', 'became'),
)
# Verbs that attributes begin with.
_PARTICIPLES = ('facing', 'looking', 'heading', 'waving', 'grazing', 'eating')
_FINITE = (
  'waves wave grazes graze eats eat faces face looks look heads drives walks runs swims sails'
).split()
_ADVERBS = (
  'just right directly straight far close somewhere also very really quite too so there here '
  'bright dark light nice pretty little bit completely all up away down'
).split()
# Words that ask for a picture and say nothing of it.
_FILLERS = (
  'there here draw paint show make create imagine picture image drawing painting scene photo me us '
  'please i we you see want would like need can could of a an the with give let is are lets '
  "let's put add place then while where as hi hello for now like there's theres i'd i'll full"
).split()
_FILLERS_IN_FRONT = ("there's", 'theres', "it's", 'there')  # of a thing, never its attributes
_TIME_WORDS = (
  'at',
  'in',
  'by',
  'during',
  'the',
  'a',
  'an',
  'on',
  'it',
  "it's",
  'its',
  'is',
  'was',
  'time',
)
_ORDINALS = ('first', 'second', 'third', 'fourth', 'last')
_WEATHER_VERBS = ('raining', 'rains', 'pouring', 'snowing', 'snows', 'falling', 'falls')
_ON_GROUNDS = ('in', 'on', 'standing on', 'inside')  # predicates
_OPPOSITES = {'left of': 'right of', 'right of': 'left of', 'above': 'below', 'below': 'above'}
_OF_PICTURE = re.compile(
  r'\b(in|at) the ((middle|center|centre) of the )?(picture|image|scene|drawing)\b'
)
_ENDS = ('.', ';', ':', '!', '?')
_TOKEN = re.compile(r"\d+|[^\W\d_]+(?:['-][^\W\d_]+)*|[.,;:!?]")
_APOSTROPHE = '\N{RIGHT SINGLE QUOTATION MARK}'


@dataclasses.dataclass(frozen=True)
class NotUnderstood:
  """A part of a text that its graph lacks.

  Attributes:
    words: as they were written.
    nearest: the known word that is most like them; None if none is alike.
  """

  words: str
  nearest: str | None

  def __str__(self) -> str:
    hint = f'; did you mean "{self.nearest}"?' if self.nearest else ''
    return f'not understood: "{self.words}"{hint}'


@dataclasses.dataclass(frozen=True)
class ParsedText:
  """A text as a scene graph.

  Attributes:
    graph: of what is understood.
    not_understood: the rest.
  """

  graph: SceneGraph
  not_understood: tuple[NotUnderstood, ...]


def parse_text(text: str, vocabulary: Vocabulary) -> ParsedText:
  """The scene graph of an English text.

  Args:
    text: see the grammar above.
    vocabulary: the names that the graph may have.

  Raises:
    UserError: no object is understood.
  """
  parser = _Parser(text, Lexicon(vocabulary))
  parser.run()
  if not parser.objects:
    told = '; '.join(map(str, parser.problems)) or 'it asks for nothing that could be drawn'
    raise UserError(
      f'text {text!r} names nothing that the model knows ({told}); expected things such as '
      f'"{vocabulary.object_names[-1]}"'
    )
  graph = SceneGraph(
    tuple(parser.objects),
    tuple(dict.fromkeys(parser.relations)),
    tuple(map(tuple, parser.attributes)) if any(parser.attributes) else (),
    tuple(parser.scene),
  )
  return ParsedText(graph, tuple(dict.fromkeys(parser.problems)))


Group = tuple[int, ...]  # indices of objects


class _Parser:
  """Reads a text once, from left to right.

  Attributes:
    objects, relations, attributes, scene: of the graph so far.
    problems: what is not understood so far.
  """

  def __init__(self, text: str, lexicon: Lexicon):
    written = text.lower().replace(_APOSTROPHE, "'").replace('half a dozen', 'six')
    self.words: list[str] = _TOKEN.findall(_OF_PICTURE.sub('', written))
    self.at = 0
    self.lexicon = lexicon
    self.objects: list[str] = []
    self.relations: list[tuple[int, str, int]] = []
    self.attributes: list[list[str]] = []
    self.scene: list[str] = []
    self.problems: list[NotUnderstood] = []
    self._heads: list[Group] = []  # what each part was about
    self._listed: list[Group] = []  # things without a relation so far
    self._subject: Group | None = None  # of the relations of this part
    self._latest: Group = ()  # the thing before
    self._joined_by = ''  # the word between the things before
    self._is_new_clause = False  # ", and" was between the things before
    self._several: Group = ()  # what "one of them" is of
    self._others: Group = ()  # what it left
    self._before_comma: Group = ()  # the thing there
    self._owner: Group = ()  # what "with" is of in this sentence
    self._sides: dict[int, str] = {}  # where "the boat on the left" is
    self._referent: tuple[Group, str, Group] = (), '', ()  # what a pronoun has related to what
    self._main: Group = ()  # what the part is about, but for a clause between commas
    self._carrier: tuple[int, str, Group] = 0, '', ()  # where a relation ended, and its object
    self._fronted: Callable[[Group], None] | None = None  # relates the thing to come

  def run(self):
    while self.at < len(self.words):
      word = self._word()
      if word in _ENDS:
        self._end_part()
        self._owner = ()
        self.at += 1
      elif word == 'with' and self._description():
        pass
      elif word in (',', 'and', '&', 'with', 'plus', 'but', 'then'):
        self._separate(word)
      elif self._time() or self._relation_in_front() or self._relation():
        pass
      elif self._description() or self._clause_of_thing() or self._share():
        pass
      elif self._thing():
        pass
      elif word in (*_FILLERS, *_COPULAS, *_ADVERBS):
        self.at += 1
      else:
        self._tell(word)
        self.at += 1
    self._end_part()

  # Words.

  def _word(self, ahead: int = 0) -> str:
    index = self.at + ahead
    return self.words[index] if index < len(self.words) else ''

  def _rest(self, ahead: int = 0) -> Sequence[str]:
    """The words from here to the end of the part."""
    rest = self.words[self.at + ahead : self.at + ahead + 8]
    ends = [index for index, word in enumerate(rest) if word in (*_ENDS, ',')]
    return rest[: ends[0]] if ends else rest

  def _tell(self, words: str):
    self.problems.append(NotUnderstood(words, self.lexicon.nearest(words)))

  def _mark(self) -> tuple[int, int, int, Group]:
    """Where the reading is, to return to."""
    return self.at, len(self.objects), len(self.problems), self._latest

  def _return_to(self, mark: tuple[int, int, int, Group]):
    """Takes back what has been read since."""
    self.at, num_objects, num_problems, self._latest = mark
    del self.objects[num_objects:], self.attributes[num_objects:], self.problems[num_problems:]

  # Parts.

  def _end_part(self):
    head = self._subject if self._subject else sum(self._listed, ())
    if head or self._subject == ():
      self._heads.append(head)  # empty: about something that is not understood
    if self._main:
      self._heads.append(self._main)
    self._main = ()
    self._subject, self._listed, self._latest, self._joined_by = None, [], (), ''
    self._fronted = None

  def _separate(self, word: str):
    """A comma, "and" or "with" between things, or between parts."""
    self._before_comma = self._latest if word == ',' else ()
    if self._subject is not None:
      self._end_part()
    elif word == 'with' and self._listed:
      self._end_part()
    if word == 'with':
      self._owner = self._before()
    self._is_new_clause = word == 'and' and self._word(-1) == ','
    if word != ',' or self._joined_by != 'and':
      self._joined_by = word
    self._latest = ()
    self.at += 1

  def _current(self, of_last: bool = False) -> Group:
    """What the relations of this part are of; with `of_last`, of a list its last thing."""
    if self._subject is None:
      if not self._listed:
        return self._before()
      first = len(self._listed) - 1 if of_last else self._first_of_list()
      self._subject = sum(self._listed[first:], ())
      if first > 0:
        self._heads.append(sum(self._listed[:first], ()))
    return self._subject

  def _first_of_list(self) -> int:
    """The first of the things listed that a relation after them is of: the last one, or all of a
    list that ends in "and", but those after a sky or a ground if the last one is none."""
    last = len(self._listed) - 1
    if not self._listed[last]:
      return last  # what follows is said of something unknown
    if self._joined_by != 'and' or (self._is_new_clause and last == 1):
      return last
    masses = [index for index, group in enumerate(self._listed) if self._is_mass(group)]
    return masses[-1] + 1 if masses and masses[-1] < last else 0

  def _is_mass(self, group: Group) -> bool:
    return bool(group) and self.objects[group[0]].split('-')[0] in MASSES

  def _is_animate(self, group: Group) -> bool:
    return any(self.objects[index] in ANIMATES for index in group)

  def _before(self) -> Group:
    """What the part before was about."""
    return self._heads[-1] if self._heads else ()

  # Time of day and weather.

  def _time(self) -> bool:
    ahead = 0
    while self._word(ahead) in _TIME_WORDS and not self.lexicon.attribute(self._rest(ahead)):
      ahead += 1
    found = self.lexicon.attribute(self._rest(ahead))
    noun = self.lexicon.noun(self._rest(ahead))
    if found is None or found.name not in OF_IMAGE or (noun and noun.length >= found.length):
      return False
    after = self._word(ahead + found.length)
    is_before_noun = self.lexicon.noun(self._rest(ahead + found.length)) is not None
    if is_before_noun and (not ahead or self._word(ahead - 1) in ('a', 'an', 'the')):
      return False  # "a night sky", "on a misty road"
    if after == 'time':
      ahead += 1
    self._add_to_scene(found.name)
    self.at += ahead + found.length
    if self._word(-1) in _WEATHER_VERBS and self._word() not in ('', *_ENDS, ',', 'and'):
      self._end_part()
      self._subject = ()  # "it is raining on the house": no thing is there
    return True

  def _add_to_scene(self, name: str):
    if name not in self.scene:
      self.scene.append(name)

  # Things.

  def _thing(self) -> bool:
    """Reads a thing that a part begins with, or one more of its list."""
    start = self.at
    group = self._pronoun()
    if group is None:
      group = self._noun_phrase()
    if self.at == start:
      return False
    if group is None:
      return True
    if self._subject is not None:  # a thing right after a finished relation
      self._end_part()
    self._listed.append(group)
    self._latest = group
    if self._fronted is not None:
      self._fronted(group)
      self._fronted = None
      self._referent = self._referent[0] or group, *self._referent[1:]
    return True

  def _pronoun(self) -> Group | None:
    """Reads a pronoun that a part begins with, or one more of its list."""
    group = self._some_or_all()
    if group is not None:
      return group
    word = self._word()
    if word not in _PRONOUNS or (word in _POINTING and self.lexicon.noun(self._rest(1))):
      return None
    if word in _RELATIVES and self._latest:
      return None
    group = self._before() or (self._listed[0] if len(self._listed) == 1 else ())
    self.at += 1
    if word in _OF_ANIMATES:
      heads = [*self._listed, *reversed(self._heads)]
      group = next((head for head in heads if self._is_animate(head)), ())
    elif word == 'it' and len(group) > 1:
      group = next((head for head in reversed(self._heads) if len(head) == 1), group)
    if not group:
      self._tell(word)
    return group if group or word in _OF_ANIMATES else None

  def _some_or_all(self) -> Group | None:
    """Reads "one of them", "the others", "another one", "both" or "everything"."""
    word, after = self._word(), self._word(1)
    if word in _NUMBERS and after == 'of' and self._word(2) in _OF_SEVERAL:
      self.at += 3
      self._several = self._others = self._before() or self._current()
      return self._take(_NUMBERS[word])
    if word == 'the' and after in ('other', 'others', 'rest') and self._others:
      if not self._leads_to_noun(2):
        self.at += 3 if self._word(2) in ('one', 'ones') else 2
        return self._others
    if word in ('the', 'another') and after == 'one' and not self.lexicon.noun(self._rest(2)):
      return self._one_more(2, is_alike=word == 'another')
    if word == 'a' and after in _ORDINALS and self._word(2) == 'one':
      return self._one_more(3)
    if word in ('another', 'one') and after in _COPULAS:
      return self._one_more(1)
    if word == 'both' and self.lexicon.predicate(self._rest(1)):
      self.at += 1
      self._end_part()
      return self._before() if len(self._before()) > 1 else sum(self._heads[-2:], ())
    if word == 'everything':
      self.at += 1
      things = [i for i, name in enumerate(self.objects) if name not in SKY_THINGS]
      group = tuple(index for index in things if not self._is_mass((index,)))
      if not group:
        self._tell(word)
      return group
    return None

  def _one_more(self, length: int, is_alike: bool = False) -> Group | None:
    """Reads "another one" and "the one" after a single thing: one more of its kind, which is alike
    in attributes too or not.

    After several things it is not understood.
    """
    before = self._before() or sum(self._listed, ())
    if not before:
      return None
    one, *others = before
    if others:
      self._tell(' '.join(self.words[self.at : self.at + length]))  # which is not known
    self.at += length
    if others:
      return ()
    names = list(self.attributes[one]) if is_alike else []
    return self._objects_of(self.objects[one], False, 1, 'another', names)

  def _take(self, number: int) -> Group:
    """The next ones of several things."""
    taken, self._others = self._others[:number], self._others[number:]
    return taken

  def _share(self) -> bool:
    """Reads some of several things before: "one is red", "one red", "a red one"."""
    word, length = self._word(), 1
    number = 1 if word in ('a', 'an') else _NUMBERS.get(word)
    place = self._predicate(2)
    is_placed = self._word(1) == 'one' and place is not None and bool(place.pronoun)
    if word == 'the' and (is_placed or self._word(1) in _ORDINALS):
      number, length = 1, 2  # "the first", "the one on the left"
    groups = [group for group in (*self._heads, *self._listed) if len(group) > 1]
    is_begun = bool(groups) and set(groups[-1]) <= set(self._several)
    if word in _NUMBERS and self.problems and self.problems[-1].words == self._word(-1):
      return False  # "a bigger one"
    if number is None or not groups or not (is_begun or self._joined_by in ('', ',')):
      return False  # "two cars and a red one"
    names, ahead = self._attributes_at(length)
    is_noun = bool(names) and self._word(ahead) in ('one', 'ones')
    if is_noun and not is_begun and self._joined_by == ',' and self.attributes[groups[-1][0]]:
      return False  # "two black cars, a red one"
    says_more = self._word(length) in (*_COPULAS, 'with') or self._predicate(length) is not None
    is_subject = not names and says_more and word not in ('a', 'an')
    if not (is_noun or is_subject):
      if not names or word in ('a', 'an') or self._leads_to_noun(ahead):
        return False
    if number > len(self._others if is_begun else groups[-1]):
      return False
    if not is_begun:
      self._several = self._others = groups[-1]
    self._latest = self._take(number)
    self._describe(self._latest, names)
    if is_subject:
      latest = self._latest
      self._end_part()
      self._listed, self._latest = [latest], latest
    self.at += ahead + is_noun
    return True

  def _attributes_at(self, ahead: int) -> tuple[list[str], int]:
    """The attributes there, perhaps with "and" between them, and where they end."""
    names = []
    while found := self.lexicon.attribute(self._rest(ahead)):
      names.append(found.name)
      ahead += found.length
      if self._word(ahead) == 'and' and self.lexicon.attribute(self._rest(ahead + 1)):
        ahead += 1
    return names, ahead

  def _noun_phrase(self) -> Group | None:
    """Reads a thing; None if there is none, or if it is unknown or denied."""
    start, number, article = self.at, None, ''
    is_denied = is_amount = False
    while True:
      word = self._word()
      if word.isdecimal() or word in _NUMBERS:
        number = int(word[:9]) if word.isdecimal() else _NUMBERS[word]
        is_amount = word in _AMOUNTS
        article = 'both' if word == 'both' else article
      elif word in _NONE:
        is_denied = True
      elif word in (*_NEW, *_DEFINITE):
        article = word
      elif word in ('of', 'any', 'more', 'lot') and self.at > start:
        number = 4 if word == 'lot' else number
      else:
        break
      self.at += 1
    if article in ('a', 'an', 'another') and number is None and not is_denied:
      names, ahead = self._attributes_at(0)
      kind = self._subject or (self._listed[-1] if self._listed else self._before())
      if names and kind and self._word(ahead) == 'one':  # "a red car and a blue one"
        self.at += ahead + 1
        return self._objects_of(self.objects[kind[0]], False, 1, article, names)
    names, unknown, alternate = self._adjectives()
    noun = self.lexicon.noun(self._rest())
    if noun is None:
      return self._unknown_thing(start, unknown, is_denied)
    self.at += noun.length
    for word in unknown:
      self._tell(word)
    if is_denied:
      return None
    if is_amount and noun.name in MASSES:  # "lots of snow" is one
      number = None
    if number is not None and number > MOST:
      self._tell(f'{number} {noun.name}')
      number = MOST
    if alternate and noun.is_plural and number is None:
      number = len(names)
    place = self.lexicon.predicate(self._rest())
    side = place.name if place and place.pronoun else ''  # "the boat on the left"
    group = self._objects_of(
      noun.name, noun.is_plural, number, article, [] if alternate else names, side
    )
    if alternate and len(group) > 1:  # "red and blue cars": each has one of them
      for place, index in enumerate(group):
        self._describe((index,), [names[place % len(names)]])
    elif alternate:
      self._describe(group, names)
    return group

  def _adjectives(self) -> tuple[list[str], list[str], bool]:
    """Reads attributes before a noun: those that are known, words that are not, and whether an
    "and" was among them."""
    names, unknown, alternate = [], [], False
    while True:
      rest = self._rest()
      found = self.lexicon.attribute(rest)
      noun = self.lexicon.noun(rest)
      if noun and not (found and noun.length <= found.length and self._leads_to_noun(found.length)):
        return names, unknown, alternate
      if found and (noun or self._leads_to_noun(found.length)):
        names.append(found.name)
        self.at += found.length
      elif self._word() == ',' and names and self._leads_to_noun(1):
        self.at += 1
      elif (
        self._word() == 'and' and names and not unknown and self.lexicon.attribute(self._rest(1))
      ):
        alternate = True
        self.at += 1
      elif self._is_unknown() and self._leads_to_noun(1):
        if self._word() not in _ADVERBS:
          unknown.append(self._word())
        self.at += 1
      else:
        return names, unknown, alternate

  def _is_unknown(self, ahead: int = 0) -> bool:
    word = self._word(ahead)
    return bool(word) and not (
      word in (*_ENDS, ',', 'and', 'with', *_COPULAS, *_RELATIVES, *_PRONOUNS, *_TIME_WORDS)
      or word in (*_NEW, *_DEFINITE, *_NUMBERS, *_NONE, *_FILLERS_IN_FRONT)
      or self.lexicon.noun(self._rest(ahead))
      or self.lexicon.predicate(self._rest(ahead))
      or is_verb(word)
    )

  def _leads_to_noun(self, ahead: int) -> bool:
    """Whether attributes and at most two unknown words lead from there to a noun."""
    unknown = 0
    while ahead < 8:
      if self.lexicon.noun(self._rest(ahead)):
        return True
      found = self.lexicon.attribute(self._rest(ahead))
      if found:
        ahead += found.length
      elif (
        self._word(ahead) in (',', 'and')
        and not unknown
        and self.lexicon.attribute(self._rest(ahead + 1))
      ):
        ahead += 1
      elif self._is_unknown(ahead) and unknown < 2:
        unknown += 1
        ahead += 1
      else:
        return False
    return False

  def _unknown_thing(self, start: int, unknown: list[str], is_denied: bool) -> Group | None:
    """After an article and no noun: the word there is a thing that is unknown."""
    denied = self.lexicon.attribute(self._rest()) if is_denied else None
    if denied:  # "is not red"
      self.at += denied.length
      self._tell(' '.join(self.words[start : self.at]))
      return None
    if self.at == start or not self._is_unknown():
      self.at = start + (1 if is_denied else 0)
      return None
    words = unknown
    while self._is_unknown() and self._word() not in _FILLERS:
      words.append(self._word())
      self.at += 1
    if not words:
      self.at = start
      return None
    self._tell(' '.join(words))
    self._latest = ()
    return ()

  def _objects_of(
    self,
    name: str,
    is_plural: bool,
    number: int | None,
    article: str,
    names: list[str],
    side: str = '',
  ) -> Group:
    """Objects that are mentioned already, or new ones."""
    known = [index for index, other in enumerate(self.objects) if other == name]
    if side:
      known = [index for index in known if self._sides.get(index, side) == side]
    of_kind = [i for i in known if set(names) <= set(self.attributes[i])] if names else known
    is_mass = not article and number is None and name.split('-')[0] in MASSES
    if article in _DEFINITE or is_mass:
      if article in ('both', 'all') or is_plural or (number or 0) > 1:
        if of_kind:
          return tuple(of_kind)
      elif of_kind:
        if side:
          self._sides[of_kind[-1]] = side
        return (of_kind[-1],)
    count = number or (2 if is_plural else 1)
    group = tuple(range(len(self.objects), len(self.objects) + count))
    self.objects += [name] * count
    self.attributes += [[] for _ in group]
    if side:
      self._sides.update(dict.fromkeys(group, side))
    self._describe(group, names)
    return group

  def _describe(self, group: Group, names: Sequence[str]):
    for name in names:
      if name in OF_IMAGE:
        self._add_to_scene(name)
        continue
      for index in group:
        if name not in self.attributes[index]:
          self.attributes[index].append(name)

  # What is said of things.

  def _description(self) -> bool:
    """Reads an attribute after a thing: "is red", "facing left", "in red"."""
    ahead = 0
    while self._word(ahead) in (*_COPULAS, *_ADVERBS, 'both') and not self.lexicon.attribute(
      self._rest(ahead)
    ):
      ahead += 1
    is_said = self._word(ahead - 1) in _COPULAS if ahead else False
    is_said = is_said or self._word(ahead) in _FINITE
    if is_said and self._subject:  # "a bird over the sea is red": the bird is
      target = self._subject
    else:
      is_aside = self._word(-1) == ',' and self._word() in (*_FINITE, *_PARTICIPLES)
      target = self._latest or (self._current() if ahead or is_aside or not self._listed else ())
    if not target:
      return False
    whole = self.lexicon.attribute(self._rest(ahead))  # "in full bloom" is one
    if whole and len(target) > 1 and not (ahead or self._latest):
      if self._is_unknown(whole.length):
        return False  # of a thing that is unknown
    if self._word(ahead) in ('in', 'wearing') and self._word(ahead + 1) and not whole:
      found = self.lexicon.attribute(self._rest(ahead + 1))
      if found and not self.lexicon.noun(self._rest(ahead + 1 + found.length)):
        if found.name in OF_IMAGE:
          return False
        self._describe(target, [found.name])
        self.at += ahead + 1 + found.length
        return True
    names = self._attribute_series(ahead)
    if not names:
      return False
    is_each = any(set(names) <= set(kind) for kind in EXCLUSIVE)
    if len(names) == len(target) > 1 and is_each:  # "two boats: red and blue"
      for index, name in zip(target, names, strict=True):
        self._describe((index,), [name])
    else:
      self._describe(target, names)
    return True

  def _attribute_series(self, ahead: int) -> list[str]:
    """Reads attributes that belong to no noun after them, with commas and "and" between them."""
    names: list[str] = []
    while True:
      found = self.lexicon.attribute(self._rest(ahead))
      if not found or self._leads_to_noun(ahead + found.length):
        return names
      if self.lexicon.noun(self._rest(ahead)) and not ahead:
        return names
      names.append(found.name)
      self.at += ahead + found.length
      ahead = 0
      while self._word(ahead) in (',', 'and'):
        ahead += 1
      if not ahead:
        return names

  def _clause_of_thing(self) -> bool:
    """Reads "that", "which" or "who" after a thing, to which what follows belongs."""
    if self._word() not in _RELATIVES:
      return False
    if self._latest:
      subject = self._current()
      if self._word() not in _OF_PERSONS or not self._is_animate(subject):
        self._subject = self._latest
      elif self._is_animate(self._latest):
        self._subject = self._latest
    elif self._before_comma and self._word(-1) == ',' and self._word() != 'that':
      self._main = () if self._listed else self._before()  # "a dog next to a tree, which is red,"
      self._subject = self._before_comma
    else:
      return False
    self.at += 1
    return True

  def _relation(self) -> bool:
    """Reads a predicate and what it leads to."""
    ahead = 0
    while self._word(ahead) in (*_COPULAS, *_ADVERBS):
      if self.lexicon.predicate(self._rest(ahead)):
        break
      ahead += 1
    rest = self._rest(ahead)
    between = bool(rest) and (
      rest[0] == 'between' or (is_verb(rest[0]) and rest[1:2] == ['between'])
    )
    found = self._predicate(ahead)
    if found is None and not between:
      return False
    if not (self._subject or self._listed or self._heads) or self._describes(ahead):
      return False
    # "a sheep and a dog behind it": the dog is.
    of_last = found is not None and self._word(ahead + found.length) in _PRONOUNS
    if found and found.pronoun:
      of_last = found.pronoun != 'each other' and not self._heads
    is_of_unknown = self._subject == ()
    carrier = self._carrier_of(found) if not ahead else ()
    subject = carrier or self._current(of_last)
    start = self.at
    if between:
      self.at += ahead + rest.index('between') + 1
      self._relate_between(subject, self._things_between(subject))
      return True
    assert found is not None
    if is_of_unknown and is_verb(self._word()):
      self._tell(self._word())  # perhaps of another: "a house with a shep on it stands there"
    self.at += ahead + found.length
    others = self._things_of_relation(subject, found)
    if others is None:
      self._tell(' '.join(self.words[start : self.at]))
      return True
    if carrier and self._has_sky(others) and self.objects[carrier[0]] not in SKY_THINGS:
      subject = self._current()  # "stars above a house in the sky"
    self._relate(self._that_can_be(subject, others), found, others)
    self._carrier = self.at, found.name, sum(others, ())
    return True

  def _carrier_of(self, predicate: Match | None) -> Group:
    """The thing right before a predicate, where that is said of it and not of the subject: "on a
    rock beside the sea", "above a boat in the sea"."""
    at, said, things = self._carrier
    if at != self.at or is_verb(self._word()) or any(self._is_mass((one,)) for one in things):
      return ()
    is_placed = predicate is not None and predicate.name in _ON_GROUNDS
    return things if said in _ON_GROUNDS or (said == 'above' and is_placed) else ()

  def _predicate(self, ahead: int = 0) -> Match | None:
    found = self.lexicon.predicate(self._rest(ahead))
    if found and found.pronoun:
      end = ahead + found.length
      if self._word(end) not in (',', 'and') and self._leads_to_noun(end):
        return None  # "on the left side street"
    return found

  def _that_can_be(self, subject: Group, others: Sequence[Group]) -> Group:
    """Of "a cow and the sun in the sky" the sun; all if none of them belongs there."""
    if not self._has_sky(others):
      return subject
    return tuple(index for index in subject if self.objects[index] in SKY_THINGS) or subject

  def _has_sky(self, groups: Sequence[Group]) -> bool:
    return any('sky' in self.objects[index].split('-')[0] for index in sum(groups, ()))

  def _relation_in_front(self) -> bool:
    """Reads a predicate and what it leads to before its subject: "behind it there is a tree"."""
    if self._subject is not None or self._fronted is not None:
      return False
    if self._listed and self._word(-1) not in (',', 'and'):
      return False
    found, is_between = self._predicate(), self._word() == 'between'
    if (found is None and not is_between) or self._describes(0):
      return False
    mark, num_heads = self._mark(), len(self._heads)
    if self._listed:
      self._heads.append(sum(self._listed, ()) if self._listed[-1] else ())
    pronoun = ''
    if found is not None:
      after = self._word(found.length)
      pronoun = found.pronoun or (after if after in _PRONOUNS else '')
    if found is None:
      self.at += 1
      others = [self._things_between(())]
    else:
      self.at += found.length
      others = self._things_of_relation((), found)
    # "behind it, there is a tree"
    ahead = int(self._word() == ',' and self._word(1) != 'with')
    if ahead and self._listed and not pronoun:
      others = None  # "a boat, in the sea, a fish"
    while self._word(ahead) != 'with' and (
      self._word(ahead) in (*_FILLERS, *_COPULAS) or is_verb(self._word(ahead))
    ):
      ahead += 1
    ends = self._word(ahead) in (*_ENDS, ',', 'and', 'with', '')
    is_thing = self._word(ahead) in (*_NEW, *_DEFINITE, *_NUMBERS) or self._leads_to_noun(ahead)
    if not others or not any(others) or ends or not is_thing:
      self._return_to(mark)
      del self._heads[num_heads:]
      return False
    if is_verb(self._word()):  # "on the rock sits a bird"
      self.at += 1
    if pronoun:
      self._referent = (), pronoun, others[0]  # of the thing to come
    self._latest, self._listed, self._joined_by = (), [], ''
    if found is None:
      self._fronted = functools.partial(self._relate_between, others=others[0])
    else:
      self._fronted = functools.partial(self._relate, predicate=found, others=others)
    return True

  def _relate(self, subject: Group, predicate: Match, others: Sequence[Group]):
    """Adds a relation of each subject with each of the others."""
    for one in subject:
      for other in sum(others, ()):
        pair = (other, one) if predicate.is_converse else (one, other)
        if one != other:
          self.relations.append((pair[0], predicate.name, pair[1]))

  def _describes(self, ahead: int) -> bool:
    """Whether "in red" or the like is what looks like a relation."""
    attribute, predicate = (
      find(self._rest(ahead)) for find in (self.lexicon.attribute, self.lexicon.predicate)
    )
    if attribute and predicate and attribute.length > predicate.length:
      return True
    if self._word(ahead) != 'in':
      return False
    found = self.lexicon.attribute(self._rest(ahead + 1))
    return bool(found) and not self._leads_to_noun(ahead + 1 + found.length)

  def _things_between(self, subject: Group) -> Group:
    """Reads what follows "between"."""
    groups = self._things_of_relation(subject) or []
    while len(sum(groups, ())) < 2 and self._word() == 'and':
      self.at += 1
      groups += self._things_of_relation(subject) or []
    return sum(groups, ())

  def _relate_between(self, subject: Group, others: Group):
    """ "Between" two things: right of the first and left of the second."""
    sides = [self.lexicon.predicate(words) for words in (['right', 'of'], ['left', 'of'])]
    for side, other in zip(sides, others, strict=False):
      if side is None or len(others) < 2:
        self._tell('between')
        return
      self.relations += [(one, side.name, other) for one in subject]

  def _things_of_relation(
    self, subject: Group, predicate: Match | None = None
  ) -> list[Group] | None:
    """Reads what a predicate leads to; None if that is not understood."""
    if predicate and predicate.pronoun == 'each other':
      return [subject[1:2]]
    if self._word() in ('each', 'one') and self._word(1) in ('other', 'another'):
      self.at += 2
      return [subject[1:2]]
    start = self.at
    article = self._word()
    group = self._pronoun_after(subject, predicate)
    if group is not None:
      self._latest = subject
      return [group]
    group = self._noun_phrase()
    if self.at == start:  # nothing: as if it said "them"
      if self._is_unknown():
        return None
      return [tuple(index for index in self._before() if index not in subject)]
    self._latest = group or ()
    groups = [group or ()]
    # "above the grass and the sea": both are what it leads to, unless a new part begins there.
    while article == 'the' and self._word() == 'and' and self._word(1) == 'the':
      mark = self._mark()
      self.at += 1
      other = self._noun_phrase()
      goes_on = self._word() in _COPULAS or self.lexicon.predicate(self._rest()) is not None
      if not other or goes_on:
        self._return_to(mark)
        break
      groups.append(other)
      self._latest = other
    return groups

  def _pronoun_after(self, subject: Group, predicate: Match | None) -> Group | None:
    """Reads a pronoun in or after a predicate: what was before its subject; grounds only where one
    is in or on them, or if there is nothing else.

    After "a tree to the left of a house", "to the right of it" is of the house.
    """
    name = predicate.name if predicate else ''
    if predicate and predicate.pronoun:
      word = predicate.pronoun
      told = ' '.join(self.words[self.at - predicate.length : self.at])
    else:
      word = told = self._word()
      if word not in _PRONOUNS or (word in _POINTING and self._leads_to_noun(1)):
        return None
      self.at += 1
    heads = [head for head in reversed(self._heads) if head and set(head) != set(subject)]
    if word in _OF_ANIMATES:
      heads = [head for head in heads if self._is_animate(head)]
    if not heads:
      self._tell(told)
      return ()
    if predicate and predicate.pronoun == 'it' and self._owner and self._owner != subject:
      return self._owner  # "a house with a car in front, a tree on the left"
    related, as_word, group = self._referent
    is_same = related == heads[0] and as_word == word and name not in _ON_GROUNDS
    if not is_same:  # else "a dog behind it, a tree in front of it"
      group = self._referent_of(word, name, subject, heads)
    if subject:
      self._referent = subject, word, group
    return group

  def _referent_of(self, word: str, name: str, subject: Group, heads: list[Group]) -> Group:
    """Which of the things before its subject a pronoun after a predicate means."""
    if word != 'them' and self.relations:
      one, said, other = self.relations[-1]
      is_beside = said in ('left of', 'right of') or not self._is_mass((other,))
      if one in heads[0] and said == _OPPOSITES.get(name) and is_beside:
        return () if other in subject else (other,)
    if word in ('it', 'them'):
      heads = [head for head in heads if (len(head) == 1) == (word == 'it')] or (
        self._objects_of_relation(heads[0], word == 'it') or heads
      )
    if name in _ON_GROUNDS:
      return heads[0]
    things = [tuple(i for i in head if not self._is_mass((i,))) for head in heads]
    return next(filter(None, things), heads[0])

  def _objects_of_relation(self, subject: Group, is_one: bool) -> list[Group]:
    """What the last relation of a thing leads to, if that is one thing, or several."""
    related = [(said, other) for one, said, other in self.relations if one in subject]
    things = tuple(dict.fromkeys(other for said, other in related if said == related[-1][0]))
    fits = bool(things) and (len(things) == 1) == is_one and not self._is_mass(things)
    return [things] if fits else []

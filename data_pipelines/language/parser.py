"""English text as a scene graph, over the names that a model knows.

The grammar, in which `[x]` may be left out and `{x}` may be repeated:

    text       = sentence {"." sentence}                       also ";", ":", "!" and "?"
    sentence   = part {("," | "and" | "with") part}
    part       = things {relation} | time of day
    things     = thing {("," | "and") thing}                   a list that ends in "and" is one
    thing      = [number] {attribute} noun {attribute} [("that" | "which" | "who") relation]
               | "it" | "they" | "them" ...                    what the part before is about
    relation   = ["is" | "are"] predicate [things]             without things: as with "them"
               | ["is" | "are"] attribute
    number     = "a" | "the" | "another" | "two" | "some" | "a couple of" | "a flock of" | "no" ...

`The` and bare words for land, water and sky mean what has been mentioned, where it has been. A
plural without a number means two. A relation of several things holds for each of them.
What is not understood is left out and told.
"""

import dataclasses
import re
from collections.abc import Sequence

from data_pipelines.language.lexicon import (
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
_RELATIVES = ('that', 'which', 'who', "that's", "who's")
_COPULAS = (
  *('is', 'are', 'was', 'were', 'be', 'being', "it's", 'has', 'have'),
  *('turn', 'turns', 'turned', 'become', 'becomes', 'became'),
)
_FINITE = ('waves', 'wave', 'grazes', 'graze', 'eats', 'eat')  # verbs that are attributes
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
_ON_GROUNDS = ('in', 'on', 'standing on', 'inside')  # predicates
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
    told = '; '.join(map(str, parser.problems)) or 'it has no words'
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
    self.words: list[str] = _TOKEN.findall(text.lower().replace(_APOSTROPHE, "'"))
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
    self._others: Group = ()  # what "one of them" left
    self._fronted: tuple[Match, list[Group]] | None = None  # a relation of the thing to come

  def run(self):
    while self.at < len(self.words):
      word = self._word()
      if word in _ENDS:
        self._end_part()
        self.at += 1
      elif word == 'with' and self._description():
        pass
      elif word in (',', 'and', '&', 'with', 'plus', 'but', 'then'):
        self._separate(word)
      elif self._time() or self._relation_in_front() or self._relation():
        pass
      elif self._description() or self._clause_of_thing():
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
    self._subject, self._listed, self._latest, self._joined_by = None, [], (), ''
    self._fronted = None

  def _separate(self, word: str):
    """A comma, "and" or "with" between things, or between parts."""
    if self._subject is not None:
      self._end_part()
    elif word == 'with' and self._listed:
      self._end_part()
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

  def _before(self) -> Group:
    """What the part before was about."""
    return self._heads[-1] if self._heads else ()

  # Time of day and weather.

  def _time(self) -> bool:
    ahead = 0
    while self._word(ahead) in _TIME_WORDS and not self.lexicon.attribute(self._rest(ahead)):
      ahead += 1
    found = self.lexicon.attribute(self._rest(ahead))
    if found is None or found.name not in OF_IMAGE or self.lexicon.noun(self._rest(ahead)):
      return False
    after = self._word(ahead + found.length)
    is_before_noun = self.lexicon.noun(self._rest(ahead + found.length)) is not None
    if is_before_noun and (not ahead or self._word(ahead - 1) in ('a', 'an', 'the')):
      return False  # "a night sky", "on a misty road"
    if after == 'time':
      ahead += 1
    self._add_to_scene(found.name)
    self.at += ahead + found.length
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
      predicate, others = self._fronted
      self._fronted = None
      self._relate(group, predicate, others)
    return True

  def _pronoun(self) -> Group | None:
    word = self._word()
    if word in _NUMBERS and self._word(1) == 'of' and self._word(2) in ('them', 'these', 'those'):
      self.at += 3
      group, number = self._before() or self._current(), _NUMBERS[word]  # "one of them"
      self._others = group[number:]
      return group[:number]
    if word == 'the' and self._word(1) in ('other', 'others', 'rest') and self._others:
      if not self._leads_to_noun(2):
        self.at += 3 if self._word(2) in ('one', 'ones') else 2
        return self._others
    if (
      word in ('the', 'another') and self._word(1) == 'one' and not self.lexicon.noun(self._rest(2))
    ):
      return self._one_more(word)
    if word not in _PRONOUNS or self.lexicon.noun(self._rest(1)):
      return None
    if word in _RELATIVES and self._latest:
      return None
    group = self._before() or (self._listed[0] if len(self._listed) == 1 else ())
    self.at += 1
    if word == 'it' and len(group) > 1:
      group = next((head for head in reversed(self._heads) if len(head) == 1), group)
    if not group:
      self._tell(word)
      return None
    return group

  def _one_more(self, article: str) -> Group | None:
    """Reads "another one" and "the one" after a single thing: one more of its kind.

    After several things it is not understood.
    """
    before = self._before() or sum(self._listed, ())
    if not before:
      return None
    self.at += 2
    one, *others = before
    if others:
      self._tell(f'{article} one')  # of several: which is not known
      return ()
    attributes = self.attributes[one] if article == 'another' else []
    return self._objects_of(self.objects[one], False, 1, 'another', list(attributes))

  def _noun_phrase(self) -> Group | None:
    """Reads a thing; None if there is none, or if it is unknown or denied."""
    start, number, article = self.at, None, ''
    is_denied = is_amount = False
    while True:
      word = self._word()
      if word.isdigit() or word in _NUMBERS:
        number = int(word) if word.isdigit() else _NUMBERS[word]
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
    group = self._objects_of(noun.name, noun.is_plural, number, article, [] if alternate else names)
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
    self, name: str, is_plural: bool, number: int | None, article: str, names: list[str]
  ) -> Group:
    """Objects that are mentioned already, or new ones."""
    known = [index for index, other in enumerate(self.objects) if other == name]
    of_kind = [i for i in known if set(names) <= set(self.attributes[i])] if names else known
    is_mass = not article and number is None and name.split('-')[0] in MASSES
    if article in _DEFINITE or is_mass:
      if article in ('both', 'all') or is_plural or (number or 0) > 1:
        if of_kind:
          return tuple(of_kind)
      elif of_kind:
        return (of_kind[-1],)
    count = number or (2 if is_plural else 1)
    group = tuple(range(len(self.objects), len(self.objects) + count))
    self.objects += [name] * count
    self.attributes += [[] for _ in group]
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
      target = self._latest or (self._current() if ahead or not self._listed else ())
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
    if len(names) == len(target) > 1:  # "two boats: red and blue"
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
    if self._word() not in _RELATIVES or not self._latest:
      return False
    self._current()
    self._subject = self._latest
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
    found = self.lexicon.predicate(rest)
    if found is None and not between:
      return False
    if not (self._subject or self._listed or self._heads) or self._describes(ahead):
      return False
    # "a sheep and a dog behind it": the dog is.
    of_last = found is not None and self._word(ahead + found.length) in _PRONOUNS
    subject = self._current(of_last)
    if between:
      self.at += ahead + rest.index('between') + 1
      self._relate_between(subject)
      return True
    assert found is not None
    start = self.at
    self.at += ahead + found.length
    others = self._things_of_relation(subject, found.name)
    if others is None:
      self._tell(' '.join(self.words[start : self.at]))
      return True
    self._relate(self._that_can_be(subject, others), found, others)
    return True

  def _that_can_be(self, subject: Group, others: Sequence[Group]) -> Group:
    """Of "a cow and the sun in the sky" the sun; all if none of them belongs there."""
    if not any('sky' in self.objects[other].split('-')[0] for other in sum(others, ())):
      return subject
    return tuple(index for index in subject if self.objects[index] in SKY_THINGS) or subject

  def _relation_in_front(self) -> bool:
    """Reads a predicate and what it leads to before its subject: "behind it there is a tree"."""
    if self._subject is not None or self._listed or self._fronted is not None:
      return False
    found = self.lexicon.predicate(self._rest())
    if found is None or self._describes(0):
      return False
    mark = self._mark()
    self.at += found.length
    others = self._things_of_relation((), found.name)
    ahead = int(self._word() == ',' and self._word(1) != 'with')  # "behind it, there is a tree"
    while self._word(ahead) in (*_FILLERS, *_COPULAS) or is_verb(self._word(ahead)):
      ahead += 1
    ends = self._word(ahead) in (*_ENDS, ',', 'and', 'with', '')
    is_thing = self._word(ahead) in (*_NEW, *_DEFINITE, *_NUMBERS) or self._leads_to_noun(ahead)
    if not others or not any(others) or ends or not is_thing:
      self._return_to(mark)
      return False
    self._latest = ()
    self._fronted = found, others
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

  def _relate_between(self, subject: Group):
    """ "Between" two things: right of the first and left of the second."""
    groups = self._things_of_relation(subject) or []
    while len(sum(groups, ())) < 2 and self._word() == 'and':
      self.at += 1
      groups += self._things_of_relation(subject) or []
    others = sum(groups, ())
    sides = [self.lexicon.predicate(words) for words in (['right', 'of'], ['left', 'of'])]
    for side, other in zip(sides, others, strict=False):
      if side is None or len(others) < 2:
        self._tell('between')
        return
      self.relations += [(one, side.name, other) for one in subject]

  def _things_of_relation(self, subject: Group, predicate: str = '') -> list[Group] | None:
    """Reads what a predicate leads to; None if that is not understood."""
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

  def _pronoun_after(self, subject: Group, predicate: str) -> Group | None:
    """Reads a pronoun after a predicate: what was before its subject; grounds only where one is in
    or on them, or if there is nothing else."""
    word = self._word()
    if word not in _PRONOUNS or self.lexicon.noun(self._rest(1)):
      return None
    if word in _NEW and self._leads_to_noun(1):
      return None
    self.at += 1
    heads = [head for head in reversed(self._heads) if head and set(head) != set(subject)]
    if not heads:
      self._tell(word)
      return ()
    if word == 'it':
      heads = [head for head in heads if len(head) == 1] or heads
    if predicate in _ON_GROUNDS:
      return heads[0]
    things = [tuple(i for i in head if not self._is_mass((i,))) for head in heads]
    return next(filter(None, things), heads[0])

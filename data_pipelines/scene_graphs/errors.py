"""Errors that are mistakes of the user."""

import dataclasses
from collections.abc import Callable, Sequence


class UserError(ValueError):
  """A mistake of the user, in one line: what was found, what was expected, what to do."""


@dataclasses.dataclass(frozen=True)
class Fault:
  """What is wrong with one setting.

  Attributes:
    setting: its dotted name, such as `data.max_objects`.
    problem: what was found and what was expected; follows the name in a sentence, such as
      "is 0, expected 1 or more".
    value: a value that mends it, as text; None where there is no single one.
  """

  setting: str
  problem: str
  value: str | None = None

  def text(self, spell: Callable[[str], str]) -> str:
    """The fault as a sentence, with the setting as `spell` writes it."""
    name = spell(self.setting)
    return f'{name} {self.problem}' + ('' if self.value is None else f'; set {name}={self.value}')


class SettingsError(UserError):
  """One or more faults of settings.

  A library knows settings by their dotted names. A command words them as its flags: it catches this
  error and calls `text` with the spelling of its own.

  Attributes:
    faults: at least one.
    source: where the settings come from, or what they do not fit; precedes the faults. May be ''.
  """

  def __init__(self, faults: Sequence[Fault] | Fault, source: str = ''):
    self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
    self.source = source
    super().__init__(self.text(lambda name: name))

  def __reduce__(self):
    # By default exceptions are pickled by their message alone, which is no argument of this class.
    return type(self), (self.faults, self.source)

  def text(self, spell: Callable[[str], str]) -> str:
    """All faults in one line, each setting as `spell` writes it."""
    lines = [fault.text(spell) for fault in self.faults]
    faults = lines[0] if len(lines) == 1 else f'{len(lines)} settings are wrong: {"; ".join(lines)}'
    return f'{self.source}: {faults}' if self.source else faults

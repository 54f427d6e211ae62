"""Ctrl-C and SIGTERM as a wish to stop after the step under way."""

import os
import signal
from types import FrameType


class StopRequest:
  """A context in which SIGINT and SIGTERM are noted; a second one ends the process at once, as it would outside.

  Attributes:
    signal: the signal that came; None before.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None

  def __enter__(self) -> 'StopRequest':
    self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  @property
  def exit_status(self) -> int:
    """0, or as a shell reports a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + self.signal if self.signal else 0

  def _note(self, number: int, _: FrameType | None):
    self.signal = signal.Signals(number)
    for other in self._previous:
      signal.signal(other, signal.SIG_DFL)
    # Not print: a handler may have interrupted one.
    os.write(1, f'{self.signal.name}: saving after this step; once more to leave at once without saving\n'.encode())

"""SIGINT and SIGTERM as a request to stop, which all processes of a job agree on."""

import os
import signal
from types import FrameType

import jax

from sg2im_jax.runtime import hosts


class StopRequest:
  """A context in which SIGINT and SIGTERM request a stop; a second one ends the process at once.

  Attributes:
    signal: received by this process, or agreed on by all; None before.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None
    self._when = (
      'after this step'
      if jax.process_count() == 1
      else 'with the other processes after the next metrics'
    )

  def __enter__(self) -> 'StopRequest':
    self._previous = {
      number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
    }
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def agree(self) -> bool:
    """Whether any process was asked to stop; a collective: all must call it at the same step."""
    number = hosts.largest(self.signal or 0)
    if number:
      self.signal = signal.Signals(number)
    return bool(number)

  @property
  def exit_status(self) -> int:
    """0, or the status of a process that the signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + self.signal if self.signal else 0

  def _note(self, number: int, _: FrameType | None):
    self.signal = signal.Signals(number)
    for other in self._previous:
      signal.signal(other, signal.SIG_DFL)
    # os.write is safe in a signal handler; print is not.
    text = f'{self.signal.name}: saving {self._when}; once more to leave at once without saving\n'
    os.write(1, text.encode())

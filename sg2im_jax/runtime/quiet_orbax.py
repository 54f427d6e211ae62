"""Commands report a failed read or write of a checkpoint in one line; orbax would add its own."""

import logging
import os
import sys

import absl.logging


def enable():
  """Drops what orbax and its threads log and print when a read or a write fails; for commands."""
  # The stack trace of each thread that met the failure.
  absl.logging.get_absl_handler().addFilter(
    lambda record: f'{os.sep}orbax{os.sep}' not in record.pathname
  )
  logging.getLogger('asyncio').addFilter(
    lambda record: 'exception was never retrieved' not in record.getMessage()
  )
  sys.unraisablehook = _without_late_writes(sys.unraisablehook)


def _without_late_writes(report):
  def report_unless_late(unraisable):
    # After a failed save, each write that was still under way finds orbax's event loop gone.
    if str(unraisable.exc_value) != 'Event loop is closed':
      report(unraisable)

  return report_unless_late

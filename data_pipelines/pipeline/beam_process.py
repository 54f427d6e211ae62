"""A pipeline of DirectRunner with processes, in a process of its own, which ends if a worker does.

DirectRunner waits for ever for a worker that has ended before it was connected, or while it owed
nothing but the word that it is done.
"""

import json
import os
import pathlib
import pickle
import sys
import threading

from data_pipelines.pipeline import beam_map

_WORKERS = 'run_worker'  # the name of the threads of DirectRunner that wait for a worker's end


def main():
  """Runs the pipeline that stdin holds; writes its counters, or why it failed, to a file."""
  output = pathlib.Path(sys.argv[1])

  def end_with_worker(failed: threading.ExceptHookArgs):
    """Called for a thread that fails; those of the workers do when these have not ended well."""
    threading.__excepthook__(failed)
    if failed.thread is not None and failed.thread.name == _WORKERS:
      output.write_text(f'{failed.exc_value}')
      os._exit(1)

  threading.excepthook = end_with_worker
  pipeline: beam_map.Pipeline = pickle.load(sys.stdin.buffer)
  try:
    output.write_text(json.dumps(pipeline.run()))
  except Exception as error:
    output.write_text(beam_map.last_line(error))
    sys.exit(1)


if __name__ == '__main__':
  main()

"""How every command starts and how it reports a mistake of its user."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from data_pipelines.scene_graph import UserError
from sg2im_jax import config_flag


def run(main: Callable[[Sequence[str]], int | None]):
  """Parses the flags, runs `main(argv)` and exits with the status that it returns.

  A `UserError` becomes one line on stderr and exit status 2; Ctrl-C where nothing else handles it, status 130.
  """
  def checked(argv: Sequence[str]) -> int | None:
    if len(argv) > 1:
      raise UserError(f'unexpected argument {argv[1]!r}; every option is a flag, such as --config=configs/coco64.py')
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    return main(argv)

  try:
    app.run(checked, flags_parser=config_flag.parse_flags)
  except UserError as error:
    message = ' '.join(str(error).split())
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)

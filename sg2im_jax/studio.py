"""Serves the studio: a web page on which people draw scene graphs and see pictures of them.

  python -m sg2im_jax.studio
  python -m sg2im_jax.studio --workdir=runs/storybook --port=8301

prints its address and opens it in the browser. The page and the API behind it (/openapi.json
describes it) need nothing but this process, which listens on this machine alone unless --host says
otherwise. Compiled programs are kept, so that only the first start takes a minute. Ctrl-C ends it.
"""

import importlib.util
import os
import socket
import webbrowser
from typing import Annotated

from pydantic import Field

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import Section
from sg2im_jax.runtime import command_line, reporting

_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')
_MAX_CONNECTIONS = 500  # at a time; a process may have about 1000 files open
_KEEP_ALIVE = 20  # seconds of a connection without a request


class StudioOptions(Section):
  """The flags of the command."""

  workdir: str = Field('examples/storybook_model', description='Work directory of a training run.')
  host: str = Field(
    '127.0.0.1',
    description='Address to listen on, and the name by which browsers may reach it besides '
    'localhost.',
  )
  port: Annotated[int, Field(ge=0, le=65535)] = Field(
    8300, description='Port to listen on; 0 for any that is free.'
  )
  browser: bool = Field(True, description='Open the page in the browser if there is one.')


def studio(options: StudioOptions):
  missing = [name for name in ('fastapi', 'uvicorn') if importlib.util.find_spec(name) is None]
  if missing:
    raise UserError(f"the studio needs {' and '.join(missing)}: pip install -e '.[studio]'")
  with _listen(options.host, options.port) as listening:
    _serve(options, listening)


def _serve(options: StudioOptions, listening: socket.socket):
  import uvicorn  # after the options are checked, as all that takes time

  from sg2im_jax.sampling import validation_scenes
  from sg2im_jax.sampling.trained_model import TrainedModel
  from sg2im_jax.serving.api import make_app
  from sg2im_jax.serving.engine import Engine
  from sg2im_jax.serving.security import Protocol

  model, scenes = TrainedModel.load(options.workdir), validation_scenes.load(options.workdir)
  for sentence in model.limits:
    reporting.warning(sentence)
  port = listening.getsockname()[1]
  name = f'[{options.host}]' if ':' in options.host else options.host
  hosts = [f'{host}:{port}' for host in dict.fromkeys((*_LOOPBACK, name))]
  reporting.info('compiling the programs, which takes a minute when it is done for the first time')
  with Engine(model) as engine:
    config = uvicorn.Config(
      make_app(engine, hosts, scenes),
      http=Protocol,
      ws='none',
      log_level='error',
      server_header=False,
      limit_concurrency=_MAX_CONNECTIONS,
      timeout_keep_alive=_KEEP_ALIVE,
      timeout_graceful_shutdown=3,
    )
    address = f'http://{name}:{port}/'
    reporting.info(f'the studio is at {address} (Ctrl-C ends it)')
    if options.browser:
      _open_browser(address)
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
  """A socket that listens; the requests of early browsers wait until they can be answered."""
  try:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=2048)
  except OSError as error:
    reason = (error.strerror or str(error)).lower()
    raise UserError(
      f'--host={host} --port={port}: cannot listen there ({reason}); choose another --port, or end '
      'what uses it'
    ) from None


def _open_browser(address: str):
  """Opens a window; a browser in the terminal would take it away from the server."""
  try:
    browser = webbrowser.get()
  except webbrowser.Error:
    return
  if type(browser) is not webbrowser.GenericBrowser or 'BROWSER' in os.environ:
    browser.open(address)


def main():
  command_line.run(StudioOptions, studio, doc=__doc__)


if __name__ == '__main__':
  main()

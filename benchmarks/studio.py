"""The studio's server under load: many connections, each of which asks for pictures all the time.

  python -m sg2im_jax.studio --workdir=runs/storybook --nobrowser
  python -m benchmarks.studio --connections=200 --seconds=30

Every connection asks for --samples pictures of three objects with a seed of its own, over and over.
A server that is busy says so (503); after any other answer but pictures the benchmark fails. The
memory is that of the server's process, which must be on this machine. First one connection asks
alone, which shows what a person waits for.

  asked       requests that were answered
  pictures    requests that were answered by pictures
  busy        requests that were refused because too many waited
  median ...  milliseconds until the pictures were there, of those that got some
"""

import asyncio
import json
import pathlib
import time
from typing import Any

import numpy as np
from pydantic import Field

from benchmarks.tables import Table
from data_pipelines import command_line
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt, Section

_ALONE = 20  # requests of the one connection
_TABLE = Table(
  [
    ('connections', 11),
    ('asked', 7),
    ('pictures', 8),
    ('busy', 7),
    ('median ms', 9),
    ('p95 ms', 8),
    ('p99 ms', 8),
    ('MiB before', 10),
    ('MiB after', 9),
  ]
)


class StudioOptions(Section):
  """The flags of the command."""

  host: str = Field('127.0.0.1', description='Where the server listens.')
  port: PositiveInt = Field(8300, description='Where the server listens.')
  connections: PositiveInt = Field(200, description='Connections at a time.')
  seconds: PositiveInt = Field(30, description='How long they ask.')
  samples: PositiveInt = Field(4, description='Pictures of a request.')


class Answers:
  """What a server has answered.

  Attributes:
    milliseconds: of each request that got pictures.
    busy: requests that were refused.
  """

  def __init__(self):
    self.milliseconds: list[float] = []
    self.busy = 0


def measure(options: StudioOptions):
  try:
    asyncio.run(_measure(options))
  except OSError as error:
    raise UserError(
      f'http://{options.host}:{options.port}: {error.strerror or error}; start the server with '
      'python -m sg2im_jax.studio'
    ) from None


async def _measure(options: StudioOptions):
  process, graph = _listening_process(options.port), await _graph(options)
  print(_TABLE.header(), flush=True)
  for connections, seconds, requests in (
    (1, float('inf'), _ALONE),
    (options.connections, options.seconds, None),
  ):
    before = _memory(process)
    answers, deadline = Answers(), time.monotonic() + seconds
    asking = [
      _ask(options, graph, number, deadline, requests, answers) for number in range(connections)
    ]
    await asyncio.gather(*asking)
    print(_TABLE.row(_cells(connections, answers, before, _memory(process))), flush=True)


async def _graph(options: StudioOptions) -> dict[str, Any]:
  """A graph of names that the server's model knows."""
  reader, writer = await asyncio.open_connection(options.host, options.port)
  _, answer = await _answer(options, reader, writer, 'GET /api/model')
  writer.close()
  known = json.loads(answer)
  relationships = [[0, known['predicates'][0], 1]] if known['predicates'] else []
  return {'objects': (3 * known['objects'])[:3], 'relationships': relationships}


async def _ask(
  options: StudioOptions,
  graph: dict[str, Any],
  number: int,
  deadline: float,
  requests: int | None,
  answers: Answers,
):
  """Asks over one connection until the deadline, or so many times."""
  reader, writer = await asyncio.open_connection(options.host, options.port)
  count = 0
  while time.monotonic() < deadline and count != requests:
    start = time.monotonic()
    asked = {'graph': graph, 'seed': 1000 * number + count, 'samples': options.samples}
    status, answer = await _answer(options, reader, writer, 'POST /api/generate', asked)
    if status == 200:
      if len(json.loads(answer)['samples']) != options.samples:
        raise UserError('the server answered with another number of pictures')
      answers.milliseconds.append(1000 * (time.monotonic() - start))
    elif status == 503:
      answers.busy += 1
      await asyncio.sleep(1)  # as Retry-After says
    else:
      raise UserError(f'the server answered {status}: {answer[:200].decode(errors="replace")}')
    count += 1
  writer.close()
  await writer.wait_closed()


async def _answer(
  options: StudioOptions,
  reader: asyncio.StreamReader,
  writer: asyncio.StreamWriter,
  request: str,
  values: dict[str, Any] | None = None,
) -> tuple[int, bytes]:
  """The status and the body of the answer to one request."""
  body = b'' if values is None else json.dumps(values).encode()
  writer.write(
    f'{request} HTTP/1.1\r\nHost: {options.host}:{options.port}\r\n'
    f'Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    + body
  )
  await writer.drain()
  head = (await reader.readuntil(b'\r\n\r\n')).decode().lower()
  length = int(head.split('content-length:')[1].split('\r\n')[0])
  return int(head.split()[1]), await reader.readexactly(length)


def _cells(connections: int, answers: Answers, before: float | None, after: float | None):
  found = answers.milliseconds
  times = np.percentile(found, (50, 95, 99)) if found else [float('nan')] * 3
  return [
    str(connections),
    str(len(found) + answers.busy),
    str(len(found)),
    str(answers.busy),
    *(f'{one:.0f}' for one in times),
    *('-' if memory is None else f'{memory:.0f}' for memory in (before, after)),
  ]


def _listening_process(port: int) -> int | None:
  """The id of the process that listens on a port of this machine; None where /proc cannot tell."""
  wanted = {f'socket:[{inode}]' for inode in _listening_inodes(port)}
  for link in pathlib.Path('/proc').glob('[0-9]*/fd/*'):
    try:
      if str(link.readlink()) in wanted:
        return int(link.parts[2])
    except OSError:  # it has ended, or is of another user
      continue
  return None


def _listening_inodes(port: int) -> list[str]:
  listens = '0A'  # as Linux writes the state of a connection
  found = []
  for name in ('tcp', 'tcp6'):
    path = pathlib.Path('/proc/net') / name
    for line in path.read_text().splitlines()[1:] if path.exists() else ():
      fields = line.split()
      if fields[3] == listens and int(fields[1].split(':')[1], 16) == port:
        found.append(fields[9])
  return found


def _memory(process: int | None) -> float | None:
  """MiB of resident memory; None where it is not known."""
  if process is None:
    return None
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  return int(status.split('VmRSS:')[1].split()[0]) / 1024


def main():
  command_line.run(StudioOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()

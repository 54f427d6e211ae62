"""The studio's server as a process, with clients that are killed, silent, slow or too generous."""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import studio as benchmark
from tests.small_scenes import VOCABULARY, tiny_token_config
from tests.training_runs import start, write_untrained

pytest.importorskip('fastapi')
httpx = pytest.importorskip('httpx')
pytestmark = pytest.mark.slow

ASKED = {'graph': {'objects': ['sky', 'grass'], 'relationships': []}, 'samples': 4}
HALF = b'POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n'
# A client that never reads an answer, and asks until it is killed.
ASKING = """
import socket, sys, time
port, body = int(sys.argv[1]), sys.argv[2].encode()
head = (b'POST /api/generate HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n'
        b'Content-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n' % (port, len(body)))
clients = [socket.create_connection(('127.0.0.1', port)) for _ in range(8)]
print('asking', flush=True)
while True:
  for client in clients:
    client.sendall(head + body)
  time.sleep(0.05)
"""


@pytest.fixture(scope='module')
def port(tmp_path_factory):
  workdir = write_untrained(tmp_path_factory.mktemp('run'), tiny_token_config(), VOCABULARY)
  process = start('studio', f'--workdir={workdir}', '--port=0', '--nobrowser')
  lines = iter(process.stdout.readline, '')
  address = next(line for line in lines if 'the studio is at' in line).split()[4]
  yield int(address.rstrip('/').split(':')[-1])
  assert process.poll() is None
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  assert 'Traceback' not in errors and 'failed' not in errors, errors


class Visitor(threading.Thread):
  """Asks for pictures all the time, as a person does whom the others must not disturb."""

  def __init__(self, port):
    super().__init__()
    self.url = f'http://127.0.0.1:{port}/api/generate'
    self.statuses: list[int] = []
    self.slowest = 0.0
    self.ended = threading.Event()

  def run(self):
    with httpx.Client(timeout=60) as client:
      while not self.ended.is_set():
        began = time.monotonic()
        answer = client.post(self.url, json=ASKED)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.statuses.append(answer.status_code)
        if answer.status_code == 200:
          assert len(answer.json()['samples']) == 4
        time.sleep(0.02)


@contextlib.contextmanager
def visiting(port):
  """Somebody who gets pictures, now and then a "busy", and nothing else, while others do this."""
  visitor = Visitor(port)
  visitor.start()
  try:
    yield visitor
    count = visitor.statuses.count(200)
    end = time.monotonic() + 60
    while visitor.statuses.count(200) < count + 3:  # also afterwards
      assert time.monotonic() < end and visitor.is_alive(), visitor.statuses
      time.sleep(0.05)
  finally:
    visitor.ended.set()
    visitor.join(60)
  assert set(visitor.statuses) <= {200, 503}, visitor.statuses
  assert visitor.slowest < 30


def connect(port):
  return socket.create_connection(('127.0.0.1', port), timeout=60)


def test_clients_that_are_killed(port):
  with visiting(port):
    for _ in range(3):
      client = subprocess.Popen(
        [sys.executable, '-c', ASKING, str(port), json.dumps(ASKED)],
        stdout=subprocess.PIPE,
        text=True,
      )
      assert client.stdout is not None and client.stdout.readline() == 'asking\n'
      time.sleep(0.3)
      client.kill()
      client.wait()
      client.stdout.close()


def test_clients_that_are_silent_or_slow(port):
  with visiting(port), contextlib.ExitStack() as stack:
    silent = [stack.enter_context(contextlib.closing(connect(port))) for _ in range(40)]
    half = [stack.enter_context(contextlib.closing(connect(port))) for _ in range(40)]
    for client in half:
      client.sendall(HALF % port)
    slow = stack.enter_context(contextlib.closing(connect(port)))
    slow.sendall(HALF % port + b'Content-Length: 1000\r\n\r\n')
    for _ in range(20):
      slow.sendall(b' ')
      time.sleep(0.05)
    for client in (silent[0], half[0]):  # which the server lets go by itself
      assert client.recv(4096) == b''


def test_bodies_of_a_hundred_megabytes(port):
  process = benchmark._listening_process(port)
  spaces = b' ' * 2**20
  with visiting(port):
    before = benchmark._memory(process)
    for head, chunk in (
      (b'Content-Length: 100000000\r\n\r\n', spaces),
      (b'Transfer-Encoding: chunked\r\n\r\n', b'100000\r\n' + spaces + b'\r\n'),
    ):
      for _ in range(4):
        with contextlib.closing(connect(port)) as client:
          client.sendall(HALF % port + head)
          with contextlib.suppress(ConnectionError):  # it is refused before all of it is sent
            for _ in range(100):
              client.sendall(chunk)
          with contextlib.suppress(ConnectionError):
            answer = client.recv(4096)
            assert not answer or b' 413 ' in answer
    if before is not None:
      assert benchmark._memory(process) < before + 150  # MiB, of four hundred that were offered


def test_the_benchmark(port, capsys):
  benchmark.measure(benchmark.StudioOptions(port=port, connections=8, seconds=2, samples=2))
  header, alone, many = capsys.readouterr().out.splitlines()
  assert header.split()[0] == 'connections'
  assert alone.split()[:4] == ['1', '20', '20', '0']
  connections, asked, pictures, busy = map(int, many.split()[:4])
  assert connections == 8 and asked == pictures + busy and pictures > 0
  assert pathlib.Path('/proc').exists() == (many.split()[-1] != '-')

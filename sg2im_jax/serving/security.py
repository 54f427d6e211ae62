"""What the studio's server lets in and what it always sends: hosts, origins, limits, headers.

The server is for the person at this machine. A page of another site must not use it: the browser
names that site in the header Origin, and a name of another site that leads here (DNS rebinding) in
the header Host.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence

import pydantic_core
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from sg2im_jax.runtime import reporting

MAX_BODY = 8 * 2**20  # bytes
_MAX_BODIES = 32 * MAX_BODY  # bytes of all requests that are being answered
_BODY_SECONDS = 20.0  # within which a body has come
_ANSWER_SECONDS = 30.0  # for a request
_HEADER_SECONDS = 10.0  # within which the headers of a request have come

HEADERS = {
  'Content-Security-Policy': (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  ),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}
BUSY_HEADERS = {'Retry-After': '1'}


class Refusal(Exception):
  """An answer other than what was asked for.

  Attributes:
    status: of HTTP.
    headers: besides those of every answer.
  """

  def __init__(self, status: int, text: str, headers: dict[str, str] | None = None):
    super().__init__(text)
    self.status, self.headers = status, headers or {}


class Guard:
  """ASGI middleware: only requests that are allowed and whole reach the app, and every answer has
  the headers above; an answer that takes too long is a refusal.
  """

  def __init__(self, app: ASGIApp, *, hosts: Sequence[str], posts: Sequence[str]):
    """Wraps an app.

    Args:
      app: reads bodies of strict JSON.
      hosts: allowed in the header Host, such as "localhost:8300".
      posts: paths to which such bodies are sent; others get none.
    """
    self._app, self._hosts, self._posts = app, {host.lower() for host in hosts}, set(posts)
    self._held = 0  # bytes of bodies

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return
    if scope['type'] != 'http':  # there are no web sockets
      await send({'type': 'websocket.close', 'code': 1008})
      return
    started = False

    async def send_checked(message: Message):
      nonlocal started
      if message['type'] == 'http.response.start':
        started = True
        headers = MutableHeaders(scope=message)
        for name, value in HEADERS.items():
          headers[name] = value
      await send(message)

    try:
      headers = Headers(scope=scope)
      self._check_origin(headers)
      with self._holding() as held:
        if scope['method'] == 'POST' and scope['path'] in self._posts:
          _check_content(headers)
          body = await self._body(receive, held)
          _check_json(body)
          receive = _receive_of(body, receive)
        async with asyncio.timeout(_ANSWER_SECONDS):
          await self._app(scope, receive, send_checked)
    except Refusal as refusal:
      await _answer(send_checked, refusal)
    except Exception as error:
      refusal = Refusal(500, 'an internal error; the server reports it')
      if isinstance(error, TimeoutError):
        text = f'busy: no answer within {_ANSWER_SECONDS:.0f} s; try again'
        refusal = Refusal(503, text, BUSY_HEADERS)
      else:
        reporting.warning(f'{scope["path"]!r} failed: {" ".join(repr(error).split())[:500]}')
      if not started:
        await _answer(send_checked, refusal)

  def _check_origin(self, headers: Headers):
    hosts = headers.getlist('host')
    if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
      shown = ', '.join(sorted(self._hosts))
      raise Refusal(403, f'this host is not served; expected one of {shown}')
    for origin in headers.getlist('origin'):
      if origin.lower() != f'http://{hosts[0].lower()}':
        raise Refusal(403, "requests of other sites' pages are refused")

  @contextlib.contextmanager
  def _holding(self) -> Iterator[list[int]]:
    """A list of the bytes that a request holds, which are let go at the end."""
    held = [0]
    try:
      yield held
    finally:
      self._held -= held[0]

  async def _body(self, receive: Receive, held: list[int]) -> bytes:
    parts: list[bytes] = []
    try:
      async with asyncio.timeout(_BODY_SECONDS):
        while True:
          message = await receive()
          if message['type'] == 'http.disconnect':
            raise Refusal(400, 'the connection ended before the body', {'Connection': 'close'})
          part = message.get('body', b'')
          parts.append(part)
          held[0] += len(part)
          self._held += len(part)
          if held[0] > MAX_BODY:
            raise _too_large()
          if self._held > _MAX_BODIES:
            raise Refusal(503, 'busy: too much is being sent; try again', BUSY_HEADERS)
          if not message.get('more_body', False):
            return b''.join(parts)
    except TimeoutError:
      text = f'the body did not come within {_BODY_SECONDS:.0f} s'
      raise Refusal(400, text, {'Connection': 'close'}) from None


class Protocol(H11Protocol):
  """HTTP/1.1 of uvicorn, which by itself waits forever for the rest of a request's headers."""

  def connection_made(self, transport: asyncio.Transport):  # pyright: ignore
    super().connection_made(transport)
    self._check_again(None)

  def _check_again(self, before: object):
    self.loop.call_later(_HEADER_SECONDS, self._close_if_silent, before)

  def _close_if_silent(self, before: object):
    """Closes a connection without a request since the last time, when `before` was the latest."""
    answered = self.cycle is None or self.cycle.response_complete
    if self.transport.is_closing() or (answered and self.cycle is before):
      self.transport.close()
    else:
      self._check_again(self.cycle)


def _check_content(headers: Headers):
  kind = headers.get('content-type', '').split(';')[0].strip().lower()
  if kind != 'application/json':
    raise Refusal(400, 'the header Content-Type is not application/json; expected JSON')
  length = headers.get('content-length', '')
  if length.isdecimal() and int(length[:20]) > MAX_BODY:
    raise _too_large()


def _too_large() -> Refusal:
  text = f'the body is too large; expected at most {MAX_BODY >> 20} MiB'
  return Refusal(413, text, {'Connection': 'close'})


def _check_json(body: bytes):
  """Refuses what is no JSON, such as NaN, half surrogates and endless nesting."""
  try:
    pydantic_core.from_json(body, allow_inf_nan=False, cache_strings='none')
  except ValueError as error:
    raise Refusal(400, f'the body is not JSON: {error}') from None


def _receive_of(body: bytes, receive: Receive) -> Receive:
  """A `receive` that has the body, and after it what else comes."""
  messages: list[Message] = [{'type': 'http.request', 'body': body, 'more_body': False}]

  async def next_message() -> Message:
    return messages.pop() if messages else await receive()

  return next_message


async def _answer(send: Send, refusal: Refusal):
  body = json.dumps({'error': str(refusal)}).encode()
  headers = {
    'content-type': 'application/json',
    'content-length': str(len(body)),
    **refusal.headers,
  }
  encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
  await send({'type': 'http.response.start', 'status': refusal.status, 'headers': encoded})
  await send({'type': 'http.response.body', 'body': body})

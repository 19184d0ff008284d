"""HTTP/1.1 as a client, no more of it than engines speak: one request at a time on a kept connection.

A general client costs over a millisecond a request, most of what a gateway would add. This one is a protocol on the
loop itself: llhttp, the parser of Node.js in its strict mode, reads the answers, and what it does not take for HTTP/1.1
is a broken engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

#: Bytes of a head; and of a body that wait to be taken before the engine is made to wait.
_HEAD = 64 * 1024
_AHEAD = 256 * 1024


class Broken(Exception):
    """The connection ended, or what came is not HTTP/1.1. ``silent``: before a byte of the answer had come."""

    def __init__(self, why: str, *, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


class Head(NamedTuple):
    """The head of an answer. ``length`` is None where the body is chunked, or lasts until the end."""

    status: int
    content_type: str
    length: int | None
    chunked: bool


class Connection(asyncio.Protocol):
    """A connection to an engine. ``idle`` is True from the end of an answer that leaves it usable.

    While an answer is awaited, silence of ``silence`` seconds breaks it. An idle one that is closed from the other
    side, or idle for too long (:meth:`rest`), calls ``gone`` with itself.
    """

    def __init__(self, silence: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._silence = silence
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._paused = False
        self.gone: Callable[[Connection], None] | None = None
        self.idle = False
        self._fault: Broken | None = None
        self._begin()

    def _begin(self) -> None:
        self._head: Head | None = None
        self._headers: dict[bytes, bytes] = {}
        self._dry = 0  # bytes since the last one of the body
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._came = self._complete = self._keeps = False

    @classmethod
    async def open(cls, host: str, port: int, *, within: float, silence: float) -> Connection:
        """Connect ``within`` seconds; an answer may then be silent for ``silence``. Raises :class:`Broken`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                _, connection = await loop.create_connection(lambda: cls(silence), host, port)
        except OSError as error:
            raise Broken(f"no connection: {type(error).__name__}") from error
        return connection

    @property
    def _open(self) -> asyncio.Transport | None:
        """The transport, as long as it can be told something."""
        return None if self._transport is None or self._transport.is_closing() else self._transport

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the answer came to its end, and not a byte behind it."""
        return self.idle and self._fault is None and self._transport is not None

    def close(self) -> None:
        self.idle = False
        self.gone = None
        if self._transport is not None:
            self._transport.abort()

    def rest(self, seconds: float, gone: Callable[[Connection], None]) -> None:
        """Wait for the next request at most so long."""
        self.gone = gone
        self._arm(self._loop.time() + seconds)

    async def send(self, head: bytes, body: bytes) -> Head:
        """Send a whole request; returns the answer's head. Raises :class:`Broken`."""
        self.idle = False
        self.gone = None
        self._begin()
        if self._transport is None:
            raise self._fault or Broken("it hung up", silent=True)
        self._transport.write(head + body if len(body) < _HEAD else head)
        if len(body) >= _HEAD:
            self._transport.write(body)
        while self._head is None:
            await self._more()
        return self._head

    async def take(self) -> bytes:
        """The next piece of the body, as it came, and at its end nothing. Raises :class:`Broken`."""
        while not self._pieces:
            if self._complete:
                self.idle = self._keeps
                return b""
            await self._more()
        piece = self._pieces.popleft()
        self._held -= len(piece)
        self._read_on()
        return piece

    async def whole(self, most: int) -> bytes:
        """All of the body. Raises :class:`Broken`, for one over ``most`` bytes too."""
        if self._complete:
            self.idle = self._keeps
            pieces, self._pieces = self._pieces, deque()
            self._read_on()
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        parts, size = [], 0
        while piece := await self.take():
            size += len(piece)
            if size > most:
                raise Broken(f"an answer of more than {most} bytes")
            parts.append(piece)
        return b"".join(parts)

    def _read_on(self) -> None:
        """Let the engine go on, once all that came was taken: also when that was the end, for the next answer."""
        if self._paused and not self._pieces and self._open is not None:
            self._paused = False
            self._open.resume_reading()

    async def _more(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        self._arm(self._loop.time() + self._silence)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: Broken) -> None:
        if self._fault is None:
            self._fault = fault
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # One timer a connection, moved on only when it fires: arming one for each wait would cost more than the wait.

    def _arm(self, due: float) -> None:
        self._due = due
        if self._timer is None or self._timer.when() > due + 0.001:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._loop.time() + 0.001 < self._due:
            self._arm(self._due)
        elif self._waiter is not None:
            self._fail(Broken("TimeoutError"))
        elif self.idle and self.gone is not None:
            self.gone(self)
            self.close()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.idle or self._complete:
            # Nobody asked: what comes behind an answer is nobody's next answer.
            self._keeps = self.idle = False
            self._leave()
            return
        self._came = True
        self._dry += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._spoilt(f"it does not speak HTTP/1.1: {error}")
        if self._dry > _HEAD:
            self._spoilt("a head without an end")
        if self._held > _AHEAD and not self._paused and self._open is not None:
            self._paused = True
            self._open.pause_reading()
        self._wake()

    def _spoilt(self, why: str) -> None:
        if self._complete:
            self._keeps = False  # the answer is good, what came behind it is not
        else:
            self._fail(Broken(why))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        head = self._head
        if head is not None and head.length is None and not head.chunked and exc is None:
            self._complete = True  # the body lasts until the end, and this is it
        elif self._fault is None:
            why = "it hung up" if exc is None else type(exc).__name__
            self._fault = Broken(why, silent=not self._came)
        self._wake()
        if self.idle:
            self._leave()

    def _leave(self) -> None:
        gone, self.gone = self.gone, None
        self.close()
        if gone is not None:
            gone(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._head is not None:
            self._headers.clear()
            return
        length = self._headers.get(b"content-length")
        chunked = b"transfer-encoding" in self._headers
        if chunked and self._headers[b"transfer-encoding"].lower() != b"chunked":
            raise ValueError("an encoding that nobody asked for")
        self._head = Head(
            status=status,
            content_type=self._headers.get(b"content-type", b"application/json").decode("latin-1"),
            length=0 if status in (204, 304) else int(length) if length is not None else None,
            chunked=chunked,
        )

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._dry = 0
            self._pieces.append(body)
            self._held += len(body)

    def on_message_complete(self) -> None:
        if self._head is not None and not self._complete:
            self._complete = True
            self._keeps = bool(self._parser.should_keep_alive())

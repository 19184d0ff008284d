"""One HTTP exchange: the request's body in, the answer out, a client that may leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from ai_how.serving.gateway.head import Header, head_of
from ai_how.serving.gateway.model import Api, Refusal

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Bytes: what is written at once to a client that may be slow; what is taken of a body before somebody wants it.
_SLICE = 256 * 1024
_AHEAD = 256 * 1024
# Bytes a second that a client must send of a body, beside never being silent for long.
_SLOWEST = 1024


class ClientGone(Exception):
    """The client has hung up: nobody is left to answer."""


class Line(Protocol):
    """The connection under an exchange, as far as one needs it."""

    def write(self, data: bytes) -> None: ...

    async def drained(self, seconds: float) -> None:
        """Wait while the client is slower than we are. Raises :class:`ClientGone` when it takes nothing so long."""
        ...

    def hold(self, *, reading: bool) -> None:
        """Read on, or make the client wait."""
        ...

    def ended(self) -> None:
        """The answer is whole."""
        ...

    @property
    def closing(self) -> bool:
        """Whether this is to be the connection's last answer."""
        ...


class Exchange:
    """One request and its answer. ``status`` is 0 until an answer has begun.

    A client that neither sends nor takes anything for ``patience`` seconds while it is its turn is given up.
    ``fault`` is why the request cannot be taken at all, whoever sent it.
    """

    def __init__(
        self, line: Line, method: str, path: str, headers: list[Header], request_id: str, patience: float
    ) -> None:
        self.method = method
        self.path = path
        self.api: Api = "ollama" if path.startswith("/api/") else "openai"
        self.headers = headers
        self.request_id = request_id
        self.status = 0
        self.model = "-"
        self.user = "-"
        self.job = "-"
        self.fault: Refusal | None = None
        self.began = time.perf_counter()
        #: When the first byte of the answer was given to the connection, by the same clock.
        self.answered = 0.0
        #: Set by the connection: bytes of the body that were promised; whether the client waits to be asked for
        #: it; whether it speaks HTTP/1.1, and so knows chunks.
        self.length: int | None = None
        self.expects = False
        self.modern = True
        self.complete = False
        self.ended = False
        self._line = line
        self._patience = patience
        self._gone = False
        self._parts: list[bytes] = []
        self._size = 0
        self._limit: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._head = b""
        self._chunked = False

    # What the connection tells.

    def feed(self, part: bytes) -> None:
        """A part of the body has come."""
        self._size += len(part)
        if self._limit is None or self._size <= self._limit:
            self._parts.append(part)
        if self._limit is None and self._size > _AHEAD:
            self._line.hold(reading=False)
        self._wake()

    def end_of_body(self, fault: Refusal | None = None) -> None:
        """The body is whole; or ``fault`` says why it never will be."""
        self.complete = fault is None
        self.fault = fault or self.fault
        self._wake()

    def hang_up(self) -> None:
        """The client has gone."""
        self._gone = True
        self._wake()
        if self._task is not None:
            self._task.cancel()

    def _left(self) -> bool:
        return self._gone

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the gateway asks.

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises :class:`Refusal` over ``limit`` bytes or when nothing comes, :class:`ClientGone` if it is cut off.
        """
        self._limit = limit
        if not self.complete:
            await self._receive(limit)
        if self._size > limit:
            raise _too_large(limit)
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _receive(self, limit: int) -> None:
        if (self.length or 0) > limit:
            raise _too_large(limit)
        if self.expects and not self._size:
            self._line.write(CONTINUE)
        self._line.hold(reading=True)
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._patience
        while not self.complete and self._size <= limit:
            if self._gone:
                raise ClientGone
            if self.fault:
                raise self.fault
            self._waiter = loop.create_future()
            # Neither silence nor a trickle: somebody who sends a byte a minute holds the connection no longer.
            until = min(loop.time() + self._patience, latest + self._size / _SLOWEST)
            try:
                async with asyncio.timeout_at(until):
                    await self._waiter
            except TimeoutError as error:
                raise Refusal(
                    408, "The body does not come.", "invalid_request_error", "request_timeout"
                ) from error
            finally:
                self._waiter = None

    async def begin(self, status: int, content_type: str, extra: tuple[Header, ...] = ()) -> None:
        """Send the head of an answer that comes in pieces: at once, or with a piece that follows at once."""
        self._start(status, content_type, extra, None)
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._head and not self._gone:
            head, self._head = self._head, b""
            self._line.write(head)

    def _start(self, status: int, content_type: str, extra: tuple[Header, ...], length: int | None) -> None:
        if not self.status:
            self.answered = time.perf_counter()
        self.status = status
        if length is None:
            self._chunked = self.modern
        self._head = head_of(
            status,
            content_type,
            self.request_id,
            extra,
            length,
            chunked=self._chunked,
            close=self._line.closing or (length is None and not self.modern),
        )

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the answer at once; waits while the client is slower than the engine.

        Raises :class:`ClientGone` when the client takes nothing at all.
        """
        if self._gone:
            raise ClientGone
        while len(chunk) > _SLICE:
            await self._put(self._framed(chunk[:_SLICE]))
            chunk = chunk[_SLICE:]
        last = b"" if more or not self._chunked else b"0\r\n\r\n"
        await self._put(self._framed(chunk) + last)
        if not more:
            self.ended = True
            self._line.ended()

    def _framed(self, chunk: bytes) -> bytes:
        if self._chunked and chunk:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        if self._head:
            chunk, self._head = self._head + chunk, b""
        return chunk

    async def _put(self, data: bytes) -> None:
        if data:
            self._line.write(data)
            await self._line.drained(self._patience)
        if self._gone:
            raise ClientGone

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json", *extra: Header
    ) -> None:
        """Send a whole answer."""
        self._start(status, content_type, extra, len(body))
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error."""
        extra: list[Header] = []
        if refusal.retry_after is not None:
            extra.append((b"retry-after", str(refusal.retry_after).encode()))
        if refusal.allow is not None:
            extra.append((b"allow", refusal.allow.encode()))
        if refusal.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        await self.answer(refusal.status, refusal.body(self.api), "application/json", *extra)

    async def while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``; when the client hangs up first, cancel it and raise :class:`ClientGone`."""
        if self._gone:
            work.close()
            raise ClientGone
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        self._task = task
        try:
            await work
        except asyncio.CancelledError:
            if not self._left() or task.uncancel():
                raise
            raise ClientGone from None
        finally:
            self._task = None


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"The body is larger than {limit} bytes.", "invalid_request_error", "too_large")

"""HTTP/1.1 as a server: connections of clients, read by llhttp, the parser of Node.js, in its strict mode.

Whatever two readers of HTTP could take two ways (lengths that contradict each other, a line that ends in LF alone, a
blank before a colon) is refused and the connection ends with it, so that nothing can hide behind a request.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

from ai_how.serving.gateway.exchange import ClientGone, Exchange
from ai_how.serving.gateway.head import HEAD_BYTES, Header, bad, head_too_large, path_of, said
from ai_how.serving.gateway.model import Refusal

log = logging.getLogger("ai_how.gateway")

#: Requests that a client may send before the first is answered.
AHEAD = 32
#: Seconds that a connection may rest between requests, and that a client is listened to after its last answer.
_IDLE = 75.0
_LINGER = 5.0

Serve = Callable[[Exchange], Awaitable[None]]
_NEVER = float("inf")


class Door:
    """Every connection of this process. ``serve`` answers an exchange, and raises nothing it could answer itself."""

    def __init__(self, serve: Serve, patience: float) -> None:
        self.serve = serve
        self.patience = patience
        self.closing = False
        self.connections: set[Client] = set()
        # Ids are for finding a line in a log: nothing follows from guessing one.
        self._ids = random.SystemRandom().getrandbits(64)
        self._count = 0
        self._quiet: asyncio.Event | None = None

    def protocol(self) -> Client:
        """For ``create_server``."""
        return Client(self)

    def next_id(self) -> str:
        self._count += 1
        return f"{(self._ids + self._count * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF:016x}"

    def forget(self, client: Client) -> None:
        self.connections.discard(client)
        if self._quiet is not None and not self.connections:
            self._quiet.set()

    async def close(self, within: float) -> int:
        """Let what is being answered end ``within`` seconds, then cut it off. Returns how many were cut off."""
        self.closing = True
        self._quiet = asyncio.Event()
        for client in list(self.connections):
            client.retire()
        try:
            async with asyncio.timeout(within):
                while self.connections:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            pass
        left = list(self.connections)
        for client in left:
            client.abort()
        if left:
            await asyncio.wait([task for client in left if (task := client.task)] or [_nothing()], timeout=1)
        return len(left)


def _nothing() -> asyncio.Task[None]:
    return asyncio.ensure_future(asyncio.sleep(0))


class Client(asyncio.Protocol):
    """One connection of a client: its requests are answered one after the other, in the order in which they came."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._now: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._reading: Exchange | None = None  # whose body is being read
        self._deaf = False  # what comes is thrown away
        self._raw = 0  # bytes of a body that the parser does not read
        self._last = False  # no request is taken after the ones that are here
        self._held = False
        self._drain: asyncio.Future[None] | None = None
        self._slow = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = _NEVER
        self._clear()

    def _clear(self) -> None:
        """Ready for another head."""
        self._url = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._dry = 0  # bytes since the last one of a body
        self._in_head = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._door.connections.add(self)
        self._arm(self._loop.time() + self._door.patience)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._raw:
            self._feed_raw(data)
            return
        if self._in_head:
            self._head_bytes += len(data)
        self._dry += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._last = True
            self._feed_raw(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            self._malformed(error)
        if self._reading is not None and self._dry > 2 * HEAD_BYTES:
            self._malformed()  # lengths of chunks and trailers without end, and never a body
        if self._in_head:
            self._head_bytes = self._head_bytes or len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(head_too_large())
            elif self._now is None and self._due - self._loop.time() > self._door.patience:
                self._arm(self._loop.time() + self._door.patience)

    def _feed_raw(self, data: bytes) -> None:
        """What comes behind an offer to speak something else, which is declined by answering the request that made it.

        The parser leaves its body to whoever takes the offer.
        """
        if self._reading is not None and self._raw:
            part = data[: self._raw]
            self._raw -= len(part)
            self._reading.feed(part)
        if not self._raw:
            if self._reading is not None:
                self._reading.end_of_body()
                self._reading = None
            self._deaf = True

    def eof_received(self) -> None:
        return None  # closes: who sends no more is taken to have gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deaf = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        if self._now is not None:
            self._now.hang_up()
        self._door.forget(self)

    def pause_writing(self) -> None:
        self._slow = True

    def resume_writing(self) -> None:
        self._slow = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # One timer a connection, moved on only when it fires.

    def _arm(self, due: float) -> None:
        self._due = due
        if due is not _NEVER and (self._timer is None or self._timer.when() > due + 0.001):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._loop.time() + 0.001 < self._due:
            self._arm(self._due)
        elif self._in_head and not self._deaf:
            self._refuse(
                Refusal(408, "The request does not come.", "invalid_request_error", "request_timeout")
            )
        elif self._now is None:
            self.abort() if self._deaf else self._close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._clear()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deaf:
            return
        self._reading = exchange = self._exchange()
        version = self._parser.get_http_version()
        exchange.modern = version == "1.1"
        found = said(version, self._url, self._headers)
        # HTTP/1.0 knows no answer before the answer.
        exchange.length, exchange.expects = found.length, found.expects and exchange.modern
        exchange.fault = found.fault or exchange.fault
        if self._parser.should_upgrade():
            self._raw = found.length or 0
            if found.length is None and self._parser.get_method() == b"POST":
                exchange.fault = bad("Send the length of the body with such an offer.")
        if exchange.fault or not exchange.modern or not self._parser.should_keep_alive():
            self._last = True
        if self._now is None:
            self._begin(exchange)
        else:
            self._queue(exchange)

    def on_body(self, body: bytes) -> None:
        self._dry = 0
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        if self._reading is not None and not self._raw:
            self._reading.end_of_body()
            self._reading = None

    # Requests.

    def _exchange(self) -> Exchange:
        path = path_of(self._url)
        method = self._parser.get_method().decode("ascii", "replace") if self._url else "-"
        made = Exchange(self, method, path or "", self._headers, self._door.next_id(), self._door.patience)
        if path is None:
            made.fault = bad("The target of the request cannot be read.")
        return made

    def _malformed(self, error: httptools.HttpParserError | None = None) -> None:
        """What came is not HTTP. Its text is the client's and goes nowhere."""
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a fault of the gateway in reading a request", exc_info=error.__context__)
        fault = bad("That is not HTTP/1.1, or could be read two ways.")
        if self._reading is not None:
            self._reading.end_of_body(fault)
            self._reading = None
            self._last = self._deaf = True
        elif self._last and not self._in_head:
            self._deaf = True  # more came behind what was said to be the last request
        else:
            self._refuse(fault)

    def _refuse(self, fault: Refusal) -> None:
        """Answer what is no request, after those before it, and hear no more."""
        self._in_head = False
        self._deaf = self._last = True
        exchange = self._exchange()
        exchange.fault, exchange.complete = fault, True
        if self._now is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)

    def _queue(self, exchange: Exchange) -> None:
        if len(self._waiting) >= AHEAD:
            exchange.fault = bad(f"Send at most {AHEAD} requests ahead.")
            self._deaf = self._last = True
        self._waiting.append(exchange)
        self.hold(reading=False)

    def _begin(self, exchange: Exchange) -> None:
        self._now = exchange
        self._due = _NEVER
        self.task = self._loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._door.serve(exchange)
        except ClientGone:
            pass
        except Exception:
            log.exception("request=%s failed by a fault of the gateway", exchange.request_id)
        finally:
            self._after(exchange)

    def _after(self, exchange: Exchange) -> None:
        """The answer has ended: on to the next request, or to the end of the connection."""
        self._now = self.task = None
        if self._transport is None:
            return
        if not exchange.ended:
            self.abort()  # an answer without its end must not look like a whole one
        elif not exchange.complete:
            self._linger()
        elif self._waiting and not self._door.closing:
            self._begin(self._waiting.popleft())
        elif self._last or self._door.closing:
            self._linger() if self._deaf else self._close()
        else:
            self.hold(reading=True)
            self._arm(self._loop.time() + (self._door.patience if self._in_head else _IDLE))

    def _linger(self) -> None:
        """Hang up so that the answer arrives: closing at once would take it back from who is still sending."""
        self._deaf = True
        if self._transport is None:
            return
        self.hold(reading=True)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._arm(self._loop.time() + _LINGER)

    def _close(self) -> None:
        self._deaf = True
        if self._transport is not None:
            self._transport.close()
            # Who does not take the rest of the answer does not keep the connection.
            self._arm(self._loop.time() + self._door.patience)

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def retire(self) -> None:
        """Take no more requests, and end with the answer that is being given."""
        self._last = True
        if self._now is None and not self._in_head:
            self._close()

    # What an exchange asks of its line.

    @property
    def closing(self) -> bool:
        now = self._now
        broken = now is not None and not now.complete
        return (self._last and not self._waiting) or broken or self._door.closing

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self, seconds: float) -> None:
        if not self._slow or self._transport is None:
            return
        self._drain = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._drain
        except TimeoutError as error:
            self.abort()
            raise ClientGone from error
        finally:
            self._drain = None

    def hold(self, *, reading: bool) -> None:
        if self._transport is None or self._transport.is_closing() or self._held is not reading:
            return
        self._held = not reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def ended(self) -> None:
        """Nothing to be done: the task of the answer ends by itself."""

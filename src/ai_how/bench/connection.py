"""Connections that are kept open, and the requests that wait for one. No framework: bytes out, bytes in."""

from __future__ import annotations

import asyncio
import resource
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from ai_how.bench.exchange import Exchange
from ai_how.bench.parse import ResponseParser, Rubbish
from ai_how.bench.work import Address
from ai_how.errors import AiHowError

#: Seconds between two looks for requests that have taken too long.
_SWEEP = 0.05
#: Files that a process has open beside its connections.
_OTHER_FILES = 64


class Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    __slots__ = ("_parser", "_pool", "_request", "_stays", "_transport", "_untouched", "_whole", "exchange")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = ResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._stays = True
        self._untouched = False
        self._whole = False
        self._request = b""
        self.exchange: Exchange | None = None

    def send(self, exchange: Exchange, request: bytes) -> None:
        assert self._transport is not None
        # Only an answer before this request makes it one that the target may not have seen when it closed.
        self._untouched = bool(self._request)
        self.exchange, self._request = exchange, request
        exchange.sent = time.monotonic()
        self._transport.write(request)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do and are none of them.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._untouched = False
        try:
            if self.exchange is None:
                raise Rubbish("an answer that nobody asked for")
            self._parser.feed(data)
            if self._whole and not self._parser.between:
                raise Rubbish("more than the answer")
        except Rubbish:
            self._whole = False
            self._fail("no HTTP")
            self.abort()
            return
        if self._whole:
            self._over()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        exchange = self.exchange
        if exchange is not None and self._untouched and not exchange.resent:
            self.exchange = None
            self._pool.lost(self)
            self._pool.again(exchange, self._request)
            return
        if exchange is not None and error is None and self._parser.closed():
            self._over()
        elif exchange is not None:
            self._fail("closed by the target")
        self._pool.lost(self)

    def on_head(self, status: int, stays: bool) -> None:
        if self._whole:
            raise Rubbish("a second answer to one request")
        self._stays = stays
        if self.exchange is not None:
            self.exchange.status = status

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.body(data, time.monotonic())

    def on_end(self) -> None:
        self._whole = True

    def _over(self) -> None:
        """The answer is whole, and nothing came behind it."""
        exchange, self.exchange, self._whole = self.exchange, None, False
        if exchange is None:
            return
        exchange.end(time.monotonic())
        if self._stays and self._transport is not None:
            self._pool.idle(self)
        else:
            self.abort()
        self._pool.ended(exchange)

    def _fail(self, error: str) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.error = exchange.error or error
            self._pool.ended(exchange)


def allow_files(connections: int) -> None:
    """Let this process have that many open. Raises :class:`AiHowError` when the system does not allow so many."""
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise AiHowError(
            f"{connections:,} connections are asked for, and this process may have {hard:,} files open",
            todo="Raise the limit (`ulimit -Hn`), or lower 'connections' in the recipe.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return "connection timed out" if isinstance(error, TimeoutError) else "connection refused"


class Pool:
    """Connections to one target, ``most`` at most. ``ended`` is told of every exchange, good or not.

    A request takes the connection that was used last, so that few are in use where few are enough. Where none is free
    and no more may be opened, it waits its turn.
    """

    def __init__(
        self, address: Address, most: int, timeout: float, ended: Callable[[Exchange], None]
    ) -> None:
        allow_files(most)
        self._address, self._most, self._timeout = address, most, timeout
        self._tls = address.context
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[Exchange, bytes]] = deque()
        self._there: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self.ended = ended
        self._sweep()

    def submit(self, exchange: Exchange, request: bytes) -> None:
        """Send it on a free connection, or as soon as there is one."""
        if self._idle:
            self._idle.pop().send(exchange, request)
            return
        exchange.queued = len(self._there) + len(self._opening) >= self._most
        self._waiting.append((exchange, request))
        if len(self._opening) < len(self._waiting):
            self._open()

    def again(self, exchange: Exchange, request: bytes) -> None:
        """Send it once more, before all others: the target closed a kept connection before it saw the request.

        Engines do so that say ``keep-alive`` and close after a stream. Every client asks again then; its time goes on.
        """
        exchange.resent = True
        self._waiting.appendleft((exchange, request))
        self._open()

    async def warm(self, count: int) -> None:
        """Open that many beforehand: a request need not wait for one. Raises :class:`OSError` when none is taken."""
        await self._connect()
        for _ in range(min(count, self._most) - len(self._there)):
            self._open()
        while self._opening:
            await asyncio.wait(self._opening)

    def idle(self, connection: Connection) -> None:
        """It has nothing to do: the request that has waited longest goes out on it."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._there.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if len(self._opening) < len(self._waiting):
            self._open()

    def drop_waiting(self) -> None:
        """Those who wait are not sent any more."""
        self._waiting.clear()

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._waiting.clear()
        for task in self._opening:
            task.cancel()
        for connection in tuple(self._there):
            connection.exchange = None
            connection.abort()

    def _open(self) -> None:
        if len(self._there) + len(self._opening) < self._most:
            task = self._loop.create_task(self._opened())
            self._opening.add(task)
            task.add_done_callback(self._tried)

    def _tried(self, task: asyncio.Task[None]) -> None:
        """One was opened, or none: of a target that is gone, those who still wait have to learn it, too."""
        self._opening.discard(task)
        if len(self._opening) < len(self._waiting):
            self._open()

    async def _opened(self) -> None:
        try:
            await self._connect()
        except OSError as error:
            if self._waiting:
                exchange, _ = self._waiting.popleft()
                exchange.error = _why(error)
                self.ended(exchange)

    async def _connect(self) -> None:
        async with asyncio.timeout(self._timeout):
            host, port, _ = self._address
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), host, port, ssl=self._tls
            )
        self._there.add(connection)
        self.idle(connection)

    def _sweep(self) -> None:
        """Fail what was sent too long ago."""
        latest = time.monotonic() - self._timeout
        for connection in tuple(self._there):
            exchange = connection.exchange
            if exchange is not None and exchange.sent < latest:
                exchange.error = "timed out"
                connection.exchange = None
                connection.abort()
                self.ended(exchange)
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

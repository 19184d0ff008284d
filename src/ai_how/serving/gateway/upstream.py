"""Asks a replica. The request goes on as it came, the answer comes back as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import NamedTuple, Protocol

from ai_how.serving.gateway.http1 import Broken, Connection, Head
from ai_how.serving.gateway.model import Replica

# llama.cpp closes an idle connection after 5 s; ours are given up before, lest a request meet the closing.
_KEEP_IDLE = 3.0
_KEEP_MOST = 256
_CONNECT_SECONDS = 3.0
#: Bytes of an answer that does not stream.
_MOST = 256 * 1024 * 1024


class Unreachable(Exception):
    """The replica gave no answer. The text says why, for the log."""


class Body:
    """The body of an answer as it comes. Reading raises :class:`Unreachable`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._connection.take()
        except Broken as error:
            raise Unreachable(str(error)) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read(self) -> bytes:
        try:
            return await self._connection.whole(_MOST)
        except Broken as error:
            raise Unreachable(str(error)) from error


class Answer(NamedTuple):
    """An answer whose head has arrived; ``chunks`` brings the rest. Reading raises :class:`Unreachable`."""

    status: int
    content_type: str
    chunks: AsyncIterator[bytes] | Body

    async def read(self) -> bytes:
        if isinstance(self.chunks, Body):
            return await self.chunks.read()
        return b"".join([chunk async for chunk in self.chunks])


class Upstream(Protocol):
    """What the gateway needs of the way to its replicas."""

    def ask(
        self, replica: Replica, path: str, body: bytes, method: str = "POST"
    ) -> AbstractAsyncContextManager[Answer]:
        """Send ``body``. Raises :class:`Unreachable` when no answer begins; leaving it early hangs up."""
        ...

    async def close(self) -> None: ...


def request_head(replica: Replica, path: str, length: int, method: str) -> bytes:
    """The head of a request: what the replica needs, and nothing of the client's."""
    heads = replica.heads
    begin = heads.get((method, path))
    if begin is None:
        record = replica.record
        host = f"[{record.host}]" if ":" in record.host else record.host
        begin = heads[method, path] = (
            f"{method} {path} HTTP/1.1\r\nhost: {host}:{record.port}\r\nauthorization: Bearer {replica.secret}\r\n"
            "content-type: application/json\r\naccept-encoding: identity\r\nuser-agent: ai-how-gateway\r\n"
            "content-length: "
        ).encode()
    return b"%b%d\r\n\r\n" % (begin, length)


class Pool:
    """Connections to replicas, kept for a moment after an answer. ``answer_timeout`` is in seconds."""

    def __init__(self, *, answer_timeout: float) -> None:
        self._silence = answer_timeout
        self._kept: dict[str, list[Connection]] = {}

    def ask(self, replica: Replica, path: str, body: bytes, method: str = "POST") -> _Asking:
        return _Asking(self, replica, request_head(replica, path, len(body), method), body)

    async def begin(self, replica: Replica, head: bytes, body: bytes) -> tuple[Connection, Head]:
        """Send a request. Raises :class:`Unreachable`."""
        try:
            if kept := self._take(replica.url):
                try:
                    return kept, await _send(kept, head, body)
                except Broken as error:
                    # The engine may have closed the kept connection just then: that is no fault of the replica.
                    # If it has died instead, a new one fails at the door.
                    if not error.silent:
                        raise
            record = replica.record
            fresh = await Connection.open(
                record.host, record.port, within=_CONNECT_SECONDS, silence=self._silence
            )
            return fresh, await _send(fresh, head, body)
        except Broken as error:
            raise Unreachable(str(error)) from error

    def _take(self, url: str) -> Connection | None:
        kept = self._kept.get(url)
        while kept:
            connection = kept.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def keep(self, url: str, connection: Connection) -> None:
        """Take a connection back after its answer."""
        kept = self._kept.setdefault(url, [])
        if not connection.usable or len(kept) >= _KEEP_MOST:
            connection.close()
            return
        kept.append(connection)
        connection.rest(_KEEP_IDLE, self._forget)

    def _forget(self, connection: Connection) -> None:
        for url, kept in list(self._kept.items()):
            if connection in kept:
                kept.remove(connection)
            if not kept:
                del self._kept[url]

    async def close(self) -> None:
        for kept in self._kept.values():
            for connection in kept:
                connection.close()
        self._kept.clear()


class _Asking:
    """One request, as a context: at its end the connection goes back, or is closed where the answer was left early."""

    __slots__ = ("_body", "_connection", "_head", "_pool", "_replica")

    def __init__(self, pool: Pool, replica: Replica, head: bytes, body: bytes) -> None:
        self._pool, self._replica, self._head, self._body = pool, replica, head, body
        self._connection: Connection | None = None

    async def __aenter__(self) -> Answer:
        self._connection, head = await self._pool.begin(self._replica, self._head, self._body)
        return Answer(head.status, head.content_type, Body(self._connection))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._pool.keep(self._replica.url, self._connection)


async def _send(connection: Connection, head: bytes, body: bytes) -> Head:
    try:
        return await connection.send(head, body)
    except BaseException:
        connection.close()
        raise

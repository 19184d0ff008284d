"""Asks a replica. The request goes on as it came, the answer comes back as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from ai_how.serving.gateway.http1 import Broken, Connection, Head
from ai_how.serving.gateway.model import Replica

# llama.cpp closes an idle connection after 5 s; ours are given up before, lest a request meet the closing.
_KEEP_IDLE = 3.0
_KEEP_MOST = 256
_CONNECT_SECONDS = 3.0


class Unreachable(Exception):
    """The replica gave no answer. The text says why, for the log."""


@dataclass(frozen=True)
class Answer:
    """An answer whose head has arrived; ``chunks`` brings the rest. Reading raises :class:`Unreachable`."""

    status: int
    content_type: str
    chunks: AsyncIterator[bytes]

    async def read(self) -> bytes:
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
    record = replica.record
    host = f"[{record.host}]" if ":" in record.host else record.host
    return (
        f"{method} {path} HTTP/1.1\r\nhost: {host}:{record.port}\r\nauthorization: Bearer {replica.secret}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\naccept-encoding: identity\r\n"
        "user-agent: ai-how-gateway\r\n\r\n"
    ).encode()


class Pool:
    """Connections to replicas, kept for a moment after an answer. ``answer_timeout`` is in seconds."""

    def __init__(self, *, answer_timeout: float) -> None:
        self._silence = answer_timeout
        self._kept: dict[str, list[tuple[Connection, asyncio.TimerHandle]]] = {}

    @asynccontextmanager
    async def ask(
        self, replica: Replica, path: str, body: bytes, method: str = "POST"
    ) -> AsyncIterator[Answer]:
        connection, head = await self._begin(replica, request_head(replica, path, len(body), method) + body)
        try:
            yield Answer(head.status, head.content_type, _chunks(connection, head))
        finally:
            self._keep(replica.url, connection)

    async def _begin(self, replica: Replica, request: bytes) -> tuple[Connection, Head]:
        try:
            if kept := self._take(replica.url):
                try:
                    return kept, await _send(kept, request)
                except Broken as error:
                    # The engine may have closed the kept connection just then: that is no fault of the replica.
                    # If it has died instead, a new one fails at the door.
                    if not error.silent:
                        raise
            record = replica.record
            fresh = await Connection.open(
                record.host, record.port, within=_CONNECT_SECONDS, silence=self._silence
            )
            return fresh, await _send(fresh, request)
        except Broken as error:
            raise Unreachable(str(error)) from error

    def _take(self, url: str) -> Connection | None:
        kept = self._kept.get(url, [])
        while kept:
            connection, timer = kept.pop()
            timer.cancel()
            if connection.usable:
                return connection
            connection.close()
        return None

    def _keep(self, url: str, connection: Connection) -> None:
        kept = self._kept.setdefault(url, [])
        if not connection.usable or len(kept) >= _KEEP_MOST:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(_KEEP_IDLE, self._expire, url)
        kept.append((connection, timer))

    def _expire(self, url: str) -> None:
        """Close the connection that has been idle longest: the first one, since the last is taken first."""
        kept = self._kept.get(url, [])
        if kept:
            kept.pop(0)[0].close()
        if not kept:
            self._kept.pop(url, None)

    async def close(self) -> None:
        for kept in self._kept.values():
            for connection, timer in kept:
                timer.cancel()
                connection.close()
        self._kept.clear()


async def _send(connection: Connection, request: bytes) -> Head:
    try:
        return await connection.send(request)
    except BaseException:
        connection.close()
        raise


async def _chunks(connection: Connection, head: Head) -> AsyncIterator[bytes]:
    try:
        async for chunk in connection.body(head):
            yield chunk
    except Broken as error:
        raise Unreachable(str(error)) from error

"""Asks a replica. The request goes on as it came, the answer comes back as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from ai_how.serving.gateway.model import Replica

# llama.cpp closes an idle connection after 5 s; ours are given up before, lest a request meet the closing.
_KEEP_IDLE = 3.0
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


class Upstream:
    """A pool of connections to replicas."""

    def __init__(self, *, answer_timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            # Straight to the replica, whatever proxy this machine uses.
            trust_env=False,
            transport=transport,
            timeout=httpx.Timeout(answer_timeout, connect=_CONNECT_SECONDS, pool=_CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=256, keepalive_expiry=_KEEP_IDLE
            ),
        )

    @asynccontextmanager
    async def ask(
        self, replica: Replica, path: str, body: bytes, method: str = "POST"
    ) -> AsyncIterator[Answer]:
        """Send ``body``. Raises :class:`Unreachable` when no answer begins; leaving it early hangs up."""
        headers = {
            "authorization": f"Bearer {replica.secret}",
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "ai-how-gateway",
        }
        request = self._client.build_request(method, replica.url + path, content=body, headers=headers)
        response = await self._begin(request)
        try:
            content_type = response.headers.get("content-type", "application/json")
            yield Answer(response.status_code, content_type, _chunks(response))
        finally:
            await response.aclose()

    async def _begin(self, request: httpx.Request) -> httpx.Response:
        try:
            try:
                return await self._client.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # The engine may have closed the kept connection just then: that is no fault of the replica.
                # If it has died instead, this second time fails at the door.
                return await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise Unreachable(type(error).__name__) from error

    async def close(self) -> None:
        await self._client.aclose()


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.TransportError as error:
        raise Unreachable(type(error).__name__) from error

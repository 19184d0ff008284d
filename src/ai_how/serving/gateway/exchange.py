"""One HTTP exchange by the rules of ASGI: the request's body in, the answer out, a client that may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from ai_how.serving.gateway.model import Api, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client has hung up: nobody is left to answer."""


class Exchange:
    """One request and its answer. ``status`` is 0 until an answer has begun.

    A client that neither sends nor takes anything for ``patience`` seconds while it is its turn is given up.
    """

    def __init__(
        self, scope: Message, receive: Receive, send: Send, request_id: str, patience: float
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.api: Api = "ollama" if self.path.startswith("/api/") else "openai"
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.request_id = request_id
        self.status = 0
        self.model = "-"
        self.user = "-"
        self.job = "-"
        self._receive = receive
        self._send = send
        self._patience = patience

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises :class:`Refusal` over ``limit`` bytes or when nothing comes, :class:`ClientGone` if it is cut off.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    message = await self._receive()
            except TimeoutError as error:
                raise Refusal(
                    408, "The body does not come.", "invalid_request_error", "request_timeout"
                ) from error
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise Refusal(
                    413, f"The body is larger than {limit} bytes.", "invalid_request_error", "too_large"
                )
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def begin(
        self, status: int, content_type: str, extra: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Send the head of the answer."""
        self.status = status
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"x-request-id", self.request_id.encode()),
            (b"cache-control", b"no-store"),
            *extra,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the answer at once; waits while the client is slower than the engine.

        Raises :class:`ClientGone` when the client takes nothing at all.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        except TimeoutError as error:
            raise ClientGone from error

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json", *extra: tuple[bytes, bytes]
    ) -> None:
        """Send a whole answer."""
        length = (b"content-length", str(len(body)).encode())
        await self.begin(status, content_type, (length, *extra))
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error."""
        extra: list[tuple[bytes, bytes]] = []
        if refusal.retry_after is not None:
            extra.append((b"retry-after", str(refusal.retry_after).encode()))
        if refusal.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        await self.answer(refusal.status, refusal.body(self.api), "application/json", *extra)

    async def while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``; when the client hangs up first, cancel it and raise :class:`ClientGone`."""
        doing = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._hang_up())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ClientGone
            await doing
        finally:
            doing.cancel()
            leaving.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)

    async def _hang_up(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

"""The typed client of the gateway, asynchronous: the same requests, the same answers, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import httpx

from ai_how.client import parse, plan, render
from ai_how.client.conversation import AsyncConversation
from ai_how.client.model import ChatAnswer, Embeddings, Messages, Piece
from ai_how.client.plan import Patience
from ai_how.client.render import Ask
from ai_how.client.settings import OnWait, Settings, request
from ai_how.errors import AiHowError
from ai_how.wire import ModelList

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class AsyncSiteClient:
    """Asks the gateway at ``url`` with a token, from a coroutine. Close it, or use `async with`.

    What its arguments mean, and what its methods raise, is told by :class:`SiteClient`. A task that is cancelled, and a
    stream that is left, cancel the request at the engine.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 600.0,
        patience: Patience | None = None,
        ca: Path | None = None,
        on_wait: OnWait | None = None,
        on_close: Callable[[], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = Settings.of(url, token, timeout, patience, ca, on_wait)
        self._http = httpx.AsyncClient(**self.settings.http(), transport=transport)
        self._on_close = on_close
        self._sleep = sleep

    @property
    def url(self) -> str:
        """The gateway's address, without ``/v1``."""
        return self.settings.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()
        if self._on_close:
            # It may wait for ssh to end.
            await asyncio.to_thread(self._on_close)

    async def healthy(self) -> bool:
        """Whether the gateway answers; no token is needed."""
        try:
            return (await self._http.get(render.HEALTH.path)).status_code == 200
        except httpx.TransportError:
            return False

    async def models(self) -> ModelList:
        """The models that can be asked. Raises like :meth:`chat`."""
        return parse.models(await self._send(render.MODELS))

    async def wake(self, model: str) -> None:
        """Wait until a model answers, and have it started where it sleeps. Raises like :meth:`chat`."""
        await self._send(render.wake(model))

    @overload
    def chat(
        self, model: str, messages: None = None, stream: Literal[False] = False, **options: Any
    ) -> AsyncConversation: ...
    @overload
    def chat(
        self, model: str, messages: str | Messages, stream: Literal[False] = False, **options: Any
    ) -> Awaitable[ChatAnswer]: ...
    @overload
    def chat(
        self, model: str, messages: str | Messages, stream: Literal[True], **options: Any
    ) -> AsyncIterator[str]: ...
    def chat(
        self, model: str, messages: str | Messages | None = None, stream: bool = False, **options: Any
    ) -> AsyncConversation | Awaitable[ChatAnswer] | AsyncIterator[str]:
        """Ask a model: ``await`` it, or with ``stream`` go through it with ``async for``.

        Without messages a :class:`AsyncConversation` begins. Raises like :meth:`SiteClient.chat`.
        """
        if messages is None:
            return AsyncConversation(self, model, options)
        if stream:
            return _texts(self.pieces(model, messages, **options))
        return self._chat(render.chat(model, messages, False, options))

    def pieces(self, model: str, messages: str | Messages, **options: Any) -> AsyncGenerator[Piece]:
        """The answer as it comes. Raises like :meth:`chat`."""
        return self._stream(render.chat(model, messages, True, options))

    async def complete(self, model: str, prompt: str, **options: Any) -> ChatAnswer:
        """Go on with a text, without a chat template. Raises like :meth:`chat`."""
        return parse.completion(await self._send(render.completion(model, prompt, False, options)))

    def complete_pieces(self, model: str, prompt: str, **options: Any) -> AsyncGenerator[Piece]:
        """Go on with a text, piece by piece. Raises like :meth:`chat`."""
        return self._stream(render.completion(model, prompt, True, options))

    async def embed(self, model: str, texts: str | Sequence[str], **options: Any) -> Embeddings:
        """A vector for each text. Raises like :meth:`chat`."""
        return parse.embeddings(await self._send(render.embeddings(model, texts, options)))

    # --- asking -----------------------------------------------------------------------------------

    async def _chat(self, ask: Ask) -> ChatAnswer:
        return parse.chat(await self._send(ask))

    async def _send(self, ask: Ask) -> bytes:
        async def once() -> bytes:
            response = await self._open(ask)
            try:
                with self._transport():
                    return await response.aread()
            finally:
                await response.aclose()

        return await self._patiently(once)

    async def _stream(self, ask: Ask) -> AsyncGenerator[Piece]:
        response = await self._patiently(lambda: self._open(ask))
        try:
            with self._transport(begun=True):
                reader = parse.PieceReader(self.url)
                async for chunk in response.aiter_bytes():
                    for piece in reader.feed(chunk):
                        yield piece
                reader.end()
        finally:
            await response.aclose()

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Ask, and ask again as long as that is of use; nothing of an answer has come until then."""
        loop = asyncio.get_running_loop()
        tries = plan.Tries(self.settings.patience, loop.time())
        while True:
            try:
                return await once()
            except AiHowError as error:
                seconds = tries.pause(error, loop.time())
                self.settings.on_wait(error, seconds)
                await self._sleep(seconds)
                tries.again(loop.time())

    async def _open(self, ask: Ask) -> httpx.Response:
        """The answer, once its head is here and says that all is well; whoever gets it closes it."""
        with self._transport():
            response = await self._http.send(request(self._http, ask), stream=True)
            if response.status_code < 400:
                return response
            try:
                raise self.settings.refusal(response, await response.aread())
            finally:
                await response.aclose()

    @contextmanager
    def _transport(self, *, begun: bool = False) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise self.settings.no_answer(error, begun=begun) from error


async def _texts(pieces: AsyncGenerator[Piece]) -> AsyncIterator[str]:
    async with aclosing(pieces):
        async for piece in pieces:
            if piece.text:
                yield piece.text

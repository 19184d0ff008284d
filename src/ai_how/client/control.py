"""The typed client of the gateway, synchronous. Its transport can be passed in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import httpx

from ai_how.client import parse, plan, render
from ai_how.client.asynchronous import AsyncSiteClient
from ai_how.client.conversation import Conversation
from ai_how.client.model import ChatAnswer, Embeddings, Messages, Piece
from ai_how.client.plan import Patience
from ai_how.client.render import Ask
from ai_how.client.settings import OnWait, Settings, request
from ai_how.errors import AiHowError
from ai_how.run import Clock, SystemClock
from ai_how.wire import ModelList

T = TypeVar("T")


class SiteClient:
    """Asks the gateway at ``url``, such as ``http://127.0.0.1:8080``, with a token. Close it, or use `with`.

    ``timeout`` is the longest silence of an answer, in seconds. A model that is on its way is waited for as long as
    ``patience`` says; ``on_wait`` is told each time. ``close`` also does ``on_close``: a tunnel ends with its client.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 600.0,
        patience: Patience | None = None,
        ca: Path | None = None,
        on_wait: OnWait | None = None,
        on_close: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = Settings.of(url, token, timeout, patience, ca, on_wait)
        self._http = httpx.Client(**self.settings.http(), transport=transport)
        self._on_close = on_close
        self._clock = clock or SystemClock()

    @property
    def url(self) -> str:
        """The gateway's address, without ``/v1``."""
        return self.settings.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        if self._on_close:
            self._on_close()

    @property
    def asynchronous(self) -> AsyncSiteClient:
        """A new asynchronous client with the same settings, to be closed by itself; the tunnel stays this one's."""
        one = self.settings
        return AsyncSiteClient(
            one.url, one.token, timeout=one.timeout, patience=one.patience, ca=one.ca, on_wait=one.on_wait
        )

    def healthy(self) -> bool:
        """Whether the gateway answers; no token is needed."""
        try:
            return self._http.get(render.HEALTH.path).status_code == 200
        except httpx.TransportError:
            return False

    def models(self) -> ModelList:
        """The models that can be asked. Raises like :meth:`chat`."""
        return parse.models(self._send(render.MODELS))

    def wake(self, model: str) -> None:
        """Wait until a model answers, and have it started where it sleeps. Raises like :meth:`chat`."""
        self._send(render.wake(model))

    @overload
    def chat(
        self, model: str, messages: None = None, stream: Literal[False] = False, **options: Any
    ) -> Conversation: ...
    @overload
    def chat(
        self, model: str, messages: str | Messages, stream: Literal[False] = False, **options: Any
    ) -> ChatAnswer: ...
    @overload
    def chat(
        self, model: str, messages: str | Messages, stream: Literal[True], **options: Any
    ) -> Iterator[str]: ...
    def chat(
        self, model: str, messages: str | Messages | None = None, stream: bool = False, **options: Any
    ) -> Conversation | ChatAnswer | Iterator[str]:
        """Ask a model; with ``stream``, the answer's text in the pieces in which it comes.

        ``messages`` are in OpenAI's shape, or one text; without any, a :class:`Conversation` begins. ``options``
        (``temperature``, ``max_tokens``, ``tools`` ...) go to the engine. A model that sleeps is woken and waited for.

        Raises :class:`NotFound` for a model that does not exist, :class:`NoAnswer` when the gateway does not answer,
        :class:`TimedOut` when the model does not come, :class:`Refused` for any other refusal.
        """
        if messages is None:
            return Conversation(self, model, options)
        if stream:
            return _texts(self.pieces(model, messages, **options))
        return parse.chat(self._send(render.chat(model, messages, False, options)))

    def pieces(self, model: str, messages: str | Messages, **options: Any) -> Generator[Piece]:
        """The answer as it comes, with tool calls, and with usage where ``stream_options`` asks for it.

        A stream that is left (the iterator is closed) is cancelled at the engine. Raises like :meth:`chat`.
        """
        return self._stream(render.chat(model, messages, True, options))

    def complete(self, model: str, prompt: str, **options: Any) -> ChatAnswer:
        """Go on with a text, without a chat template. Raises like :meth:`chat`."""
        return parse.completion(self._send(render.completion(model, prompt, False, options)))

    def complete_pieces(self, model: str, prompt: str, **options: Any) -> Generator[Piece]:
        """Go on with a text, piece by piece. Raises like :meth:`chat`."""
        return self._stream(render.completion(model, prompt, True, options))

    def embed(self, model: str, texts: str | Sequence[str], **options: Any) -> Embeddings:
        """A vector for each text. Raises like :meth:`chat`."""
        return parse.embeddings(self._send(render.embeddings(model, texts, options)))

    # --- asking -----------------------------------------------------------------------------------

    def _send(self, ask: Ask) -> bytes:
        def once() -> bytes:
            with self._transport(), closing(self._open(ask)) as response:
                return response.read()

        return self._patiently(once)

    def _stream(self, ask: Ask) -> Generator[Piece]:
        response = self._patiently(lambda: self._open(ask))
        with closing(response), self._transport(begun=True):
            reader = parse.PieceReader(self.url)
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)
            reader.end()

    def _patiently(self, once: Callable[[], T]) -> T:
        """Ask, and ask again as long as that is of use; nothing of an answer has come until then."""
        tries = plan.Tries(self.settings.patience, self._clock.monotonic())
        while True:
            try:
                return once()
            except AiHowError as error:
                seconds = tries.pause(error, self._clock.monotonic())
                self.settings.on_wait(error, seconds)
                self._clock.sleep(seconds)
                tries.again(self._clock.monotonic())

    def _open(self, ask: Ask) -> httpx.Response:
        """The answer, once its head is here and says that all is well; whoever gets it closes it."""
        with self._transport():
            response = self._http.send(request(self._http, ask), stream=True)
            if response.status_code < 400:
                return response
            with closing(response):
                raise self.settings.refusal(response, response.read())

    @contextmanager
    def _transport(self, *, begun: bool = False) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise self.settings.no_answer(error, begun=begun) from error


def _texts(pieces: Generator[Piece]) -> Iterator[str]:
    with closing(pieces):
        for piece in pieces:
            if piece.text:
                yield piece.text

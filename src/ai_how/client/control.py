"""A small typed client of the gateway. Its transport can be passed in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, overload

import httpx
from pydantic import ValidationError

from ai_how.errors import AiHowError, CouldNotTell, NotFound
from ai_how.wire import ErrorBody, ErrorEnvelope, ModelList

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ChatAnswer:
    """A whole answer. ``raw`` is the engine's JSON with everything in it."""

    text: str
    model: str
    finish_reason: str
    raw: Mapping[str, Any]


class SiteClient:
    """Asks the gateway at ``url``, such as ``http://127.0.0.1:8080``, with a token. Close it, or use `with`."""

    def __init__(
        self, url: str, token: str, *, transport: httpx.BaseTransport | None = None, timeout: float = 600.0
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            transport=transport,
            trust_env=False,  # the gateway is on loopback or behind a tunnel: no proxy leads there
            timeout=httpx.Timeout(timeout, connect=5.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether the gateway answers; no token is needed."""
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def models(self) -> ModelList:
        """The models that can be asked right now. Raises like :meth:`chat`."""
        return ModelList.model_validate_json(self._send("GET", "/v1/models"))

    @overload
    def chat(
        self, model: str, messages: Messages, stream: Literal[False] = False, **options: Any
    ) -> ChatAnswer: ...
    @overload
    def chat(
        self, model: str, messages: Messages, stream: Literal[True], **options: Any
    ) -> Iterator[str]: ...
    def chat(
        self, model: str, messages: Messages, stream: bool = False, **options: Any
    ) -> ChatAnswer | Iterator[str]:
        """Ask a model; with ``stream``, the answer's text in the pieces in which it comes.

        ``options`` (``temperature``, ``max_tokens`` ...) go to the engine. Raises :class:`NotFound` for a model
        that does not exist, :class:`CouldNotTell` when the gateway does not answer, :class:`AiHowError` for any
        other refusal.
        """
        body = {"model": model, "messages": list(messages), "stream": stream, **options}
        if stream:
            return self._stream(body)
        return _whole(json.loads(self._send("POST", "/v1/chat/completions", body)))

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise self._no_answer(error) from error
        if response.status_code >= 400:
            raise self._refused(response.status_code, response.content)
        return response.content

    def _stream(self, body: Mapping[str, Any]) -> Iterator[str]:
        try:
            with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code >= 400:
                    raise self._refused(response.status_code, response.read())
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield from self._piece(line.removeprefix("data:").strip())
        except httpx.TransportError as error:
            raise self._no_answer(error) from error

    def _piece(self, data: str) -> Iterator[str]:
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise self._refused(502, data.encode())
        for choice in event.get("choices", ()):
            text = (choice.get("delta") or {}).get("content")
            if text:
                yield text

    def _no_answer(self, error: httpx.TransportError) -> CouldNotTell:
        return CouldNotTell(
            "the gateway does not answer",
            where=self.url,
            cause=f"{type(error).__name__}: {error}",
            todo="`ai-how status` shows whether it runs; `ai-how up` starts it.",
        )

    def _refused(self, status: int, body: bytes) -> AiHowError:
        try:
            error = ErrorEnvelope.model_validate_json(body).error
        except ValidationError:
            error = ErrorBody(message=f"status {status} without an explanation", type="unknown")
        if error.code == "model_not_found":
            return NotFound(error.message, where=self.url, todo="`ai-how ps` shows what is served.")
        if status == 401:
            todo = "`ai-how token create` makes a token."
        elif status == 403:
            todo = "`ai-how token list` shows what each token opens."
        elif status in (502, 503):
            todo = "`ai-how ps` shows how the replicas are."
        else:
            todo = None
        return AiHowError(f"the {error.source} refused: {error.message}", where=self.url, todo=todo)


def _whole(answer: dict[str, Any]) -> ChatAnswer:
    try:
        choice = answer["choices"][0]
        return ChatAnswer(
            text=choice["message"].get("content") or "",
            model=str(answer.get("model", "")),
            finish_reason=str(choice.get("finish_reason") or ""),
            raw=answer,
        )
    except (KeyError, IndexError, AttributeError) as error:
        raise CouldNotTell(
            "the engine's answer has no choice in it", cause=f"{type(error).__name__}"
        ) from error

"""The gateway's answers, read into types. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ai_how.client.model import ChatAnswer, Embeddings, Piece, Refused, ToolCall, ToolCallPart, Usage
from ai_how.errors import AiHowError, CouldNotTell, NotFound
from ai_how.wire import ErrorBody, ErrorEnvelope, ModelList
from ai_how.wire.events import DONE, EventReader
from ai_how.wire.ollama import OllamaError

_BAD = (KeyError, IndexError, AttributeError, TypeError, ValueError)


def models(body: bytes) -> ModelList:
    """The list of models. Raises :class:`CouldNotTell` for what is none."""
    try:
        return ModelList.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable("list of models", error) from error


def chat(body: bytes) -> ChatAnswer:
    """A whole chat answer. Raises :class:`CouldNotTell` when there is none in it."""
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        message = choice["message"]
        return ChatAnswer(
            text=message.get("content") or "",
            model=str(answer.get("model", "")),
            finish_reason=str(choice.get("finish_reason") or ""),
            raw=answer,
            tool_calls=tuple(_call(one) for one in message.get("tool_calls") or ()),
            usage=_usage(answer),
            reasoning=message.get("reasoning_content") or "",
        )
    except _BAD as error:
        raise _unreadable("choice", error) from error


def completion(body: bytes) -> ChatAnswer:
    """A whole answer without a chat template. Raises :class:`CouldNotTell` when there is none in it."""
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        return ChatAnswer(
            text=str(choice["text"]),
            model=str(answer.get("model", "")),
            finish_reason=str(choice.get("finish_reason") or ""),
            raw=answer,
            usage=_usage(answer),
        )
    except _BAD as error:
        raise _unreadable("choice", error) from error


def embeddings(body: bytes) -> Embeddings:
    """Vectors, in the order of the texts. Raises :class:`CouldNotTell` when they are not in it."""
    try:
        answer = json.loads(body)
        found = sorted(answer["data"], key=lambda one: int(one["index"]))
        vectors = tuple(tuple(float(value) for value in one["embedding"]) for one in found)
        return Embeddings(vectors, str(answer.get("model", "")), _usage(answer))
    except _BAD as error:
        raise _unreadable("vector", error) from error


class PieceReader:
    """Takes the bytes of a stream as they come, cut anywhere, and gives its pieces."""

    def __init__(self, where: str) -> None:
        self._events = EventReader()
        self._where = where
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """The pieces that end in ``chunk``. Raises what the stream itself says went wrong."""
        for data in self._events.feed(chunk):
            if data == DONE:
                self._ended = True
            elif data:
                yield from self._pieces(data)

    def end(self) -> None:
        """The connection has ended. Raises :class:`CouldNotTell` when the answer has not."""
        if not self._ended:
            raise CouldNotTell(
                "the answer broke off without an end",
                where=self._where,
                cause="the connection ended in the middle of a stream",
                todo="Ask again; `ai-how ps` shows how the replicas are.",
            )

    def _pieces(self, data: str) -> Iterator[Piece]:
        try:
            event = json.loads(data)
            if "error" in event:
                raise refusal(502, data.encode(), self._where)
            if usage := _usage(event):
                yield Piece(usage=usage)
            for choice in event.get("choices") or ():
                piece = _piece(choice)
                self._ended = self._ended or piece.finish_reason is not None
                if piece != Piece():
                    yield piece
        except _BAD as error:
            raise _unreadable("piece", error) from error


def _piece(choice: Mapping[str, Any]) -> Piece:
    delta = choice.get("delta") or {}
    calls = tuple(
        ToolCallPart(
            index=int(one.get("index") or 0),
            id=one.get("id"),
            name=(one.get("function") or {}).get("name"),
            arguments=(one.get("function") or {}).get("arguments") or "",
        )
        for one in delta.get("tool_calls") or ()
    )
    return Piece(
        text=delta.get("content") or choice.get("text") or "",
        finish_reason=choice.get("finish_reason"),
        tool_calls=calls,
        reasoning=delta.get("reasoning_content") or "",
    )


def _call(one: Mapping[str, Any]) -> ToolCall:
    function = one["function"]
    return ToolCall(str(one.get("id") or ""), str(function["name"]), str(function.get("arguments") or "{}"))


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    found = answer.get("usage")
    if not found:
        return None
    return Usage(int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0))


def _unreadable(what: str, error: Exception) -> CouldNotTell:
    return CouldNotTell(f"the engine's answer has no {what} in it", cause=f"{type(error).__name__}")


def refusal(status: int, body: bytes, where: str, headers: Mapping[str, str] | None = None) -> AiHowError:
    """What the gateway says went wrong, as an error with what to do next."""
    error = _told(status, body)
    if error.code == "model_not_found":
        return NotFound(error.message, where=where, todo="`ai-how ps` shows what is served.")
    headers = headers or {}
    return Refused(
        f"the {error.source} refused: {error.message}",
        status=status,
        code=error.code,
        source=error.source,
        retry_after=_seconds(headers.get("retry-after")),
        request_id=headers.get("x-request-id"),
        where=where,
        todo=_todo(status),
    )


def _told(status: int, body: bytes) -> ErrorBody:
    """The error in OpenAI's shape or in Ollama's."""
    try:
        return ErrorEnvelope.model_validate_json(body).error
    except ValidationError:
        pass
    try:
        told = OllamaError.model_validate_json(body)
        return ErrorBody.model_validate(
            {"message": told.error, "type": "", "code": told.code, "source": told.source}
        )
    except ValidationError:
        return ErrorBody(message=f"status {status} without an explanation", type="unknown")


def _todo(status: int) -> str | None:
    if status == 401:
        return "`ai-how token create` makes a token."
    if status == 403:
        return "`ai-how token list` shows what each token opens."
    if status in (502, 503):
        return "`ai-how ps` shows how the replicas are."
    return None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None  # a date: nobody here sends one

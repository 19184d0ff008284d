"""How a request is put to a replica, and how its answer is put to the client. Pure.

Replicas speak OpenAI's API. A client that speaks it too is passed on byte by byte; one that speaks another
API is translated, both ways, by a dialect of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from ai_how.serving.gateway.model import Refusal
from ai_how.wire import ChatRequest, CompletionRequest, EmbeddingsRequest, ResponsesRequest

Request = TypeVar("Request", bound=BaseModel)


class Malformed(Exception):
    """The engine's answer is not what its API promises."""


class Answering(Protocol):
    """Puts one answer into the client's words.

    ``stream_type`` is the content type of a stream; None where nothing is translated and the engine's own stands.
    """

    @property
    def stream_type(self) -> str | None: ...

    def whole(self, body: bytes) -> bytes:
        """A whole answer. Raises :class:`Malformed`."""
        ...

    def piece(self, chunk: bytes) -> bytes:
        """What can be sent now that this much of a stream has come. Raises :class:`Malformed`."""
        ...

    def end(self) -> bytes:
        """What is to be sent at a stream's end. Raises :class:`Malformed` when it ended too early."""
        ...

    def broken(self, refusal: Refusal) -> bytes:
        """How a stream says that it failed after it had begun."""
        ...


class Unchanged:
    """OpenAI's answers, which need no translation."""

    stream_type = None

    def whole(self, body: bytes) -> bytes:
        return body

    def piece(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""

    def broken(self, refusal: Refusal) -> bytes:
        return b"data: " + refusal.body() + b"\n\n"


@dataclass(frozen=True)
class Asked:
    """A request as replicas are asked it. With ``at_once``, that is the answer, and no replica is asked."""

    model: str
    path: str
    body: bytes
    answering: Answering
    stream: bool = False
    method: Literal["GET", "POST"] = "POST"
    at_once: bytes | None = None


#: OpenAI's paths that are asked of replicas, and what the gateway reads of each.
OPENAI: dict[str, type[ChatRequest | CompletionRequest | EmbeddingsRequest | ResponsesRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/responses": ResponsesRequest,
}


def openai(path: str, body: bytes) -> Asked:
    """A request in OpenAI's words. Raises :class:`Refusal`."""
    request = parse(body, OPENAI[path])
    return Asked(request.model, path, body, Unchanged(), stream=bool(getattr(request, "stream", False)))


def parse(body: bytes, kind: type[Request]) -> Request:
    """A request's fields. Raises :class:`Refusal`, which never repeats its text."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        what = "The body is not valid JSON" if first["type"] == "json_invalid" else first["msg"]
        raise Refusal(
            status=400,
            message=f"{place}: {what}." if place else f"{what}.",
            kind="invalid_request_error",
            code="invalid_request",
            param=place or None,
        ) from error


def compact(facts: object) -> bytes:
    """JSON in as few bytes as it takes."""
    return json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")

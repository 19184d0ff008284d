"""What the client gives back: answers, pieces of answers, vectors, and refusals. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_how.errors import AiHowError, CouldNotTell

#: Messages in OpenAI's shape: ``{"role": "user", "content": "hi"}``.
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Usage:
    """Tokens that the engine counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called. ``arguments`` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any]:
        """The arguments as an object. Raises :class:`CouldNotTell` where the model wrote none."""
        try:
            found = json.loads(self.arguments or "{}")
        except ValueError as error:
            raise CouldNotTell(
                f"the model's arguments for {self.name} are no JSON", cause=str(error)
            ) from error
        if not isinstance(found, dict):
            raise CouldNotTell(f"the model's arguments for {self.name} are no object")
        return found


@dataclass(frozen=True)
class ToolCallPart:
    """A part of a tool call in a stream: the first part of a call has its ``id`` and ``name``."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class ChatAnswer:
    """A whole answer. ``raw`` is the engine's JSON with everything in it.

    ``finish_reason`` is ``stop``, ``length``, ``tool_calls`` or another word of the engine's; ``reasoning`` is what a
    model that thinks aloud has thought.
    """

    text: str
    model: str
    finish_reason: str
    raw: Mapping[str, Any] = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    reasoning: str = ""


@dataclass(frozen=True)
class Piece:
    """A piece of an answer that streams. The last ones have the reason of the end, and the usage."""

    text: str = ""
    finish_reason: str | None = None
    tool_calls: tuple[ToolCallPart, ...] = ()
    usage: Usage | None = None
    reasoning: str = ""


@dataclass(frozen=True)
class Embeddings:
    """A vector for each text, in the order of the texts."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    model: str
    usage: Usage | None = None


class Refused(AiHowError):
    """The gateway, the scheduler or the engine (``source``) did not do what was asked.

    ``status`` is that of HTTP, ``code`` stands in the reference of the gateway's API. ``retry_after`` is the seconds
    until it is worth asking again, where anybody can tell; ``request_id`` finds the request in the gateway's log.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        source: str = "gateway",
        retry_after: float | None = None,
        request_id: str | None = None,
        where: str | None = None,
        todo: str | None = None,
    ) -> None:
        cause = f"request {request_id} in the gateway's log" if request_id else None
        super().__init__(message, where=where, todo=todo, cause=cause)
        self.status = status
        self.code = code
        self.source = source
        self.retry_after = retry_after
        self.request_id = request_id


class NoAnswer(CouldNotTell):
    """Nobody answers where the gateway should be, or the connection broke.

    ``begun``: a part of an answer had come. ``dropped``: there was a connection, and it was closed without an answer.
    """

    def __init__(self, where: str, cause: str, *, begun: bool = False, dropped: bool = False) -> None:
        super().__init__(
            "the gateway's answer broke off" if begun else "the gateway does not answer",
            where=where,
            cause=cause,
            todo="`ai-how status` shows whether it runs; `ai-how up` starts it.",
        )
        self.begun = begun
        self.dropped = dropped

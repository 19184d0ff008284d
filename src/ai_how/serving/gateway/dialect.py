"""How a request is put to a replica, and how its answer is put to the client. Pure.

Replicas speak OpenAI's API. A client that speaks it too is passed on byte by byte; one that speaks another
API is translated, both ways, by a dialect of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from ai_how.serving.gateway.model import Refusal
from ai_how.wire import ChatRequest, CompletionRequest, EmbeddingsRequest, ResponsesRequest

Request = TypeVar("Request", bound=BaseModel)

# The engine whose words translated requests are in.
_USUAL = "llama.cpp"
# Of text in most languages; of pictures, whose bytes tell nothing, no more than this is thought to be read.
_BYTES_A_TOKEN = 4
_MOST_READ = 32_768
# What is thought to be written where a request does not say; and at most, whatever it says.
_WRITTEN = 256
_MOST_WRITTEN = 1_048_576


class Malformed(Exception):
    """The engine's answer is not what its API promises."""


class Answering(Protocol):
    """Puts one answer into the client's words.

    ``stream_type`` is the content type of a stream; None where nothing is translated and the engine's own stands.
    ``breath`` is what may be sent of a stream while its first word is awaited, and means nothing to the client.
    """

    @property
    def stream_type(self) -> str | None: ...

    @property
    def breath(self) -> bytes: ...

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
    breath = b": waiting for a replica\n\n"

    def whole(self, body: bytes) -> bytes:
        return body

    def piece(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""

    def broken(self, refusal: Refusal) -> bytes:
        # A line without text first: an event whose own has not come yet must not become one with this.
        return b"\ndata: " + refusal.body() + b"\n\n"


# Not frozen: that would make it as long in the making as everything else that is read of a request.
@dataclass(slots=True)
class Asked:
    """A request as replicas are asked it. With ``at_once``, that is the answer, and no replica is asked.

    ``prompt`` is its messages, or its text, perhaps as the client wrote them (:meth:`said`); ``most`` the tokens that
    it wants written at most, where it says.
    ``suited`` puts it into the words of an engine other than llama.cpp, where that is not the same.
    ``strips``: the engine is asked for its count of tokens at a stream's end, which the client did not ask for.
    """

    model: str
    path: str
    body: bytes
    answering: Answering
    stream: bool = False
    method: Literal["GET", "POST"] = "POST"
    at_once: bytes | None = None
    #: With ``at_once``: whether a model without a replica is woken first.
    wakes: bool = True
    prompt: object = None
    most: int | None = None
    strips: bool = False
    suited: Callable[[str], bytes] | None = None

    def body_for(self, engine: str) -> bytes:
        """What a replica of this engine is asked."""
        return self.body if self.suited is None or engine == _USUAL else self.suited(engine)

    def said(self) -> object:
        """The prompt as Python's objects."""
        return msgspec.json.decode(self.prompt) if isinstance(self.prompt, msgspec.Raw) else self.prompt

    @property
    def writes(self) -> int:
        """An estimate of the tokens that will be written."""
        return _WRITTEN if self.most is None else min(self.most, _MOST_WRITTEN)

    @property
    def tokens(self) -> int:
        """An estimate of the tokens that it will take, read and written."""
        return min(len(self.body) // _BYTES_A_TOKEN, _MOST_READ) + self.writes


#: OpenAI's paths that are asked of replicas, and what the gateway reads of each.
OPENAI: dict[str, type[ChatRequest | CompletionRequest | EmbeddingsRequest | ResponsesRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/responses": ResponsesRequest,
}

# Where a stream ends with a count of tokens only when that was asked for.
_CHAT, _EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
_COUNTED_WHEN_ASKED = (_CHAT, "/v1/completions")
_PROMPTS = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
}


class _Fields(msgspec.Struct, gc=False):
    """What the gateway reads of a request in OpenAI's words; all else is passed over, not even made into objects."""

    model: str
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    stream: bool | None = False
    stream_options: msgspec.Raw = msgspec.Raw()
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None


_READ = msgspec.json.Decoder(_Fields)


def openai(path: str, body: bytes) -> Asked:
    """A request in OpenAI's words. Raises :class:`Refusal`.

    Most requests are plain, and read in a microsecond or two, however long they are. Whatever is not plain is read by
    the types of the API: they say what is wrong, and decide about all that could be taken two ways.
    """
    return _plain(path, body) or _by_its_type(path, body)


def _plain(path: str, body: bytes) -> Asked | None:
    try:
        if not body.isascii():
            body.decode()  # strings that are passed over are not looked into
        request = _READ.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    prompt: msgspec.Raw = getattr(request, _PROMPTS[path])
    said = bytes(memoryview(prompt)[:1])
    if not said or (path == _CHAT and said != b"["):
        return None
    stream = bool(request.stream)
    strips = stream and path in _COUNTED_WHEN_ASKED
    if strips and bytes(request.stream_options):
        return None
    most = _first(request.max_completion_tokens, request.max_tokens, request.max_output_tokens)
    return Asked(
        request.model,
        path,
        with_usage(body, {}) if strips else body,
        Unchanged(),
        stream=stream,
        prompt=prompt,
        most=0 if path == _EMBEDDINGS else most,
        strips=strips,
    )


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None and number >= 0), None)


def _by_its_type(path: str, body: bytes) -> Asked:
    request = parse(body, OPENAI[path])
    extra: Mapping[str, Any] = request.model_extra or {}
    stream = bool(getattr(request, "stream", False))
    strips = stream and path in _COUNTED_WHEN_ASKED and not _asks_for_usage(extra.get("stream_options"))
    return Asked(
        request.model,
        path,
        with_usage(body, extra) if strips else body,
        Unchanged(),
        stream=stream,
        prompt=getattr(request, _PROMPTS[path]),
        most=0 if path == "/v1/embeddings" else _most(extra),
        strips=strips,
    )


def _asks_for_usage(options: object) -> bool:
    return isinstance(options, dict) and options.get("include_usage") is True


def with_usage(body: bytes, extra: Mapping[str, Any]) -> bytes:
    """A request for a stream that asks for the count of tokens at its end; all else stays as it was, byte by byte."""
    if "stream_options" not in extra:
        return b'{"stream_options":{"include_usage":true},' + body[body.index(b"{") + 1 :]
    facts = json.loads(body)
    options = facts["stream_options"]
    facts["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return compact(facts)


def _most(fields: Mapping[str, object]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        most = fields.get(name)
        if isinstance(most, int) and most >= 0:
            return most
    return None


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

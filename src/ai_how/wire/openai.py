"""The part of OpenAI's API that the gateway and the client both speak.

Requests are passed on byte by byte, so these types name only what the gateway has to read; every other field
reaches the engine as the caller wrote it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

#: How a model is: asked right now; on its way; with no replica until somebody asks; given up, with a reason.
ModelState = Literal["ready", "starting", "asleep", "failed"]
FaultSource = Literal["gateway", "scheduler", "engine"]


class ErrorBody(BaseModel):
    """One error in OpenAI's shape, with ``source`` added: gateway, scheduler or engine, whoever failed.

    llama.cpp writes its codes as numbers; they are read as text.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    source: FaultSource = "gateway"


class ErrorEnvelope(BaseModel):
    """The body of every answer whose status is 400 or more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    error: ErrorBody


class ModelCard(BaseModel):
    """One model that can be had. ``created`` is when its oldest replica became ready, 0 where there is none.

    ``state`` is ours: ``ready`` is asked right now; a request for a model that is ``starting`` or ``asleep`` waits
    until a replica is ready.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "ai-how"
    state: ModelState = "ready"


class ModelList(BaseModel):
    """The answer to ``GET /v1/models``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...] = ()


class ChatMessage(BaseModel):
    """One message as the client sends it. Engines know more fields than these; they are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: str
    content: str | None = None


class ChatRequest(BaseModel):
    """What the gateway reads of a chat request. It never writes the request anew, so nothing is lost."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    messages: list[Any]
    stream: bool | None = False


class CompletionRequest(BaseModel):
    """What the gateway reads of ``/v1/completions``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    prompt: Any
    stream: bool | None = False


class EmbeddingsRequest(BaseModel):
    """What the gateway reads of ``/v1/embeddings``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    input: Any


class ResponsesRequest(BaseModel):
    """What the gateway reads of ``/v1/responses``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    input: Any
    stream: bool | None = False

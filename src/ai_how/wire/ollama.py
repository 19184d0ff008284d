"""The part of Ollama's API that the gateway reads: what a client sends, with Ollama's own names and defaults.

Source: Ollama's ``docs/api.md`` and ``api/types.go``. Fields that are not named here have no meaning for an
engine that speaks OpenAI's API and are left out.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field


class OllamaRequest(BaseModel):
    """What every request has. ``name`` is what older clients call ``model``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str = Field(validation_alias=AliasChoices("model", "name"))


class OllamaAsking(OllamaRequest):
    """What every request for text has. Ollama streams unless it is told not to."""

    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None

    @property
    def unloads(self) -> bool:
        """Whether the model is to be kept not a moment: 0, in whatever unit."""
        kept = self.keep_alive
        return kept == 0 if isinstance(kept, (int, float)) else kept is not None and kept.strip("smh") == "0"

    @property
    def streams(self) -> bool:
        return self.stream is not False


class OllamaCall(BaseModel):
    """A function that the model called: its arguments are an object here, and text in OpenAI's API."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    arguments: dict[str, Any] = {}


class OllamaToolCall(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    function: OllamaCall


class OllamaMessage(BaseModel):
    """One message. ``images`` are base64; a message of a tool names its function in ``tool_name``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: str
    content: str | None = None
    thinking: str | None = None
    images: tuple[str, ...] | None = None
    tool_calls: tuple[OllamaToolCall, ...] | None = None
    tool_name: str | None = None


class OllamaChat(OllamaAsking):
    """``POST /api/chat``. Without messages it asks to load the model."""

    messages: tuple[OllamaMessage, ...] = ()
    tools: list[Any] | None = None


class OllamaGenerate(OllamaAsking):
    """``POST /api/generate``. Without a prompt it asks to load the model; ``raw`` leaves the template out."""

    prompt: str | None = None
    system: str | None = None
    images: tuple[str, ...] | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None


class OllamaEmbed(OllamaRequest):
    """``POST /api/embed``: one text or several."""

    input: str | list[str]
    dimensions: int | None = None


class OllamaEmbeddings(OllamaRequest):
    """``POST /api/embeddings``, the older form: one text, one vector."""

    prompt: str


class OllamaPull(OllamaRequest):
    """``POST /api/pull``."""

    stream: bool | None = None


class OllamaError(BaseModel):
    """The body of every answer whose status is 400 or more, and the last line of a stream that failed.

    Ollama has ``error`` alone; ``code`` and ``source`` are ours, as in OpenAI's shape.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    error: str
    code: str | None = None
    source: str = "gateway"

"""Requests, as the gateway wants them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_how.client.model import Messages


@dataclass(frozen=True)
class Ask:
    """One request: its method, its path, and its body as an object."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


MODELS = Ask("GET", "/v1/models")
HEALTH = Ask("GET", "/healthz")


def as_messages(said: str | Messages) -> list[Mapping[str, Any]]:
    """Messages; a plain text is the user's only one."""
    return [{"role": "user", "content": said}] if isinstance(said, str) else list(said)


def chat(model: str, said: str | Messages, stream: bool, options: Mapping[str, Any]) -> Ask:
    body = {"model": model, "messages": as_messages(said), "stream": stream, **options}
    return Ask("POST", "/v1/chat/completions", body)


def completion(model: str, prompt: str, stream: bool, options: Mapping[str, Any]) -> Ask:
    return Ask("POST", "/v1/completions", {"model": model, "prompt": prompt, "stream": stream, **options})


def embeddings(model: str, texts: str | Sequence[str], options: Mapping[str, Any]) -> Ask:
    every = [texts] if isinstance(texts, str) else list(texts)
    return Ask("POST", "/v1/embeddings", {"model": model, "input": every, **options})


def wake(model: str) -> Ask:
    """Ollama's way to have a model loaded: a request for nothing. It is answered when the model is ready."""
    return Ask("POST", "/api/generate", {"model": model, "stream": False})

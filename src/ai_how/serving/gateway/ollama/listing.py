"""Ollama's lists of models: those that can be asked now, which for a gateway are those that run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ai_how.serving.gateway.model import Replica
from ai_how.serving.gateway.ollama.answer import details, stamp
from ai_how.serving.gateway.plan import since

#: The version of Ollama whose API is spoken here; clients compare it to learn what they may ask.
VERSION = "0.12.0"


def tags(replicas: Iterable[Replica]) -> dict[str, Any]:
    """The answer of ``/api/tags``."""
    return {"models": [_entry(name, started) for name, started in since(replicas).items()]}


def running(replicas: Iterable[Replica]) -> dict[str, Any]:
    """The answer of ``/api/ps``. It names no time of unloading: Slurm's time limit decides, not the client."""
    return {"models": [_entry(name, started) | {"size_vram": 0} for name, started in since(replicas).items()]}


def _entry(name: str, started: float) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": stamp(started),
        # The file is on a node, and not the gateway's to look at.
        "size": 0,
        "digest": "",
        "details": details(),
    }

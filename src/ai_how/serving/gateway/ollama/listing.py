"""Ollama's lists of models: those that can be had, and those that run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ai_how.serving.gateway.ollama.answer import details, stamp
from ai_how.wire import ModelCard

#: The version of Ollama whose API is spoken here; clients compare it to learn what they may ask.
VERSION = "0.12.0"


def tags(cards: Iterable[ModelCard]) -> dict[str, Any]:
    """The answer of ``/api/tags``: ``state`` is ours, and tells those that a request would have to wait for."""
    return {"models": [_entry(card) | {"state": card.state} for card in cards]}


def running(cards: Iterable[ModelCard]) -> dict[str, Any]:
    """The answer of ``/api/ps``: those that are ready. It names no time of unloading: no client decides."""
    return {"models": [_entry(card) | {"size_vram": 0} for card in cards if card.state == "ready"]}


def _entry(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.id,
        "model": card.id,
        "modified_at": stamp(card.created),
        # The file is on a node, and not the gateway's to look at.
        "size": 0,
        "digest": "",
        "details": details(),
    }

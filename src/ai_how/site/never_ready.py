"""Why a model that somebody asked for did not become ready, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ai_how.errors import JobFailed

Facts = Mapping[str, Any]


def never_ready(model: Facts, replicas: Sequence[Facts]) -> JobFailed:
    """The error for a model of which `ps` says ``model`` and ``replicas``."""
    refused = " refused: " in model["reason"]
    ended = bool(model["log_tail"]) and model["state"] != "failed"
    # The next replica may be on its way already, and then the reason is its.
    why = "its engine ended" if ended and not refused else model["reason"]
    wrong = (
        "what Slurm refuses (--time, --partition, --gres, --cpus, --memory ...)"
        if refused
        else "what the engine says"
    )
    return JobFailed(
        f"{model['model']} did not become ready: {why}",
        where=_log_of(replicas),
        detail=model["log_tail"],
        todo=f"It is as it was before. Correct {wrong}, and serve it again.",
    )


def _log_of(replicas: Sequence[Facts]) -> str | None:
    return next((one["log"] for one in reversed(replicas) if one["log"]), None)

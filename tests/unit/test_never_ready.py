"""What is said of a model that did not become ready, and how `ps` counts replicas."""

from __future__ import annotations

from typing import Any

import pytest

from ai_how.cli.ps import _count
from ai_how.site.never_ready import never_ready


def told(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "state": "starting", "reason": "", "log_tail": None, **changes}


@pytest.mark.parametrize(
    ("model", "says", "todo"),
    [
        (
            told(reason="sbatch refused: Invalid --mem specification"),
            "sbatch refused",
            "what Slurm refuses (--time",
        ),
        # The reason is that of the next replica, which is on its way.
        (
            told(reason="it is being submitted", log_tail="no such file"),
            "its engine ended",
            "what the engine says",
        ),
        (
            told(state="failed", reason="its job ended: OUT_OF_MEMORY", log_tail="killed"),
            "OUT_OF_MEMORY",
            "the engine",
        ),
    ],
)
def test_why_it_did_not_become_ready(model: dict[str, Any], says: str, todo: str) -> None:
    error = never_ready(model, [{"log": None}, {"log": "/site/serve-tiny-2.log"}])
    assert says in error.message and "submitted" not in error.message
    assert todo in (error.todo or "") and error.where == "/site/serve-tiny-2.log"


def test_a_canary_is_counted_beside_the_others() -> None:
    model = {
        "version": "a",
        "min": 1,
        "max": 1,
        "replicas_wanted": 1,
        "canary": {"weight": 10, "source": "x"},
    }
    replicas = [{"version": "a"}, {"version": "b"}]
    assert _count(model, replicas) == "1 of 1 + 1"
    # In an upgrade those of the version before count: they answer.
    assert _count({**model, "canary": None}, [{"version": "b"}]) == "1 of 1"

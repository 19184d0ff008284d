"""Results in the site's MLflow: the recipe as parameters, trusted figures as metrics, the files as artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ai_how.bench.model import Figure, Result
from ai_how.client.tracking import Tracking
from ai_how.errors import AiHowError
from ai_how.run import undisturbed

EXPERIMENT = "bench"
#: What no MLflow takes in a name: the '=' of a point among it.
_OTHERS = re.compile(r"[^A-Za-z0-9_.\-/]+")
#: The longest value of a parameter that every MLflow takes.
_LONGEST = 500


def track(tracking: Tracking, result: Result, path: Path) -> str:
    """Record it with its files; returns the run's id. Raises :class:`AiHowError` when MLflow does not take it: then it
    has none of it.
    """
    tags = {"kind": "bench", "target": result.recipe.target.api, "address": result.address}
    run_id = tracking.new_run(EXPERIMENT, result.recipe.name, tags)
    try:
        _record(tracking, run_id, result, path)
    except BaseException:
        with suppress(AiHowError), undisturbed():
            tracking.discard(run_id)
        raise
    return run_id


def _record(tracking: Tracking, run_id: str, result: Result, path: Path) -> None:
    tracking.params(run_id, dict(flat(result.recipe.model_dump(mode="json"))))
    for file in (path, *([path.with_name(result.samples)] if result.samples else [])):
        if file.exists():
            tracking.artifacts(run_id, file)
    metrics = {metric(one): one.value for one in result.figures if one.ok}
    failed = [one.key for one in result.figures if not one.ok]
    more = {"not_trusted": ", ".join(failed)[:_LONGEST], "partial": result.partial or ""}
    state = "CANCELLED" if result.partial else "COMPLETED"
    tracking.close(run_id, state, metrics, {key: text for key, text in more.items() if text})


def metric(figure: Figure) -> str:
    """A figure's name as MLflow takes it. Pure."""
    side = f"{figure.side}/" if figure.side else ""
    return _OTHERS.sub(" ", f"{side}{figure.key}").strip()


def flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Parameters of one level: ``load.rate``. What is None is left out. Pure."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        elif value is not None and value != [] and value != "":
            yield f"{above}{key}", str(value)[:_LONGEST]

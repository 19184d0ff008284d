"""A run in files, in the form of MLflow's own file store: for jobs that cannot reach the tracking server.

Whatever a script tracks by, the recipes' own module or MLflow's client, it finds a store with its run in it. Written
here before the job begins, read here while it runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The one experiment of such a store.
EXPERIMENT = "0"


@dataclass(frozen=True)
class Recorded:
    """What a job has recorded: metrics as (key, value, milliseconds since the epoch, step), in their order."""

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[str, float, int, int], ...] = ()
    artifacts: tuple[Path, ...] = ()


def folders(root: Path, run_id: str) -> tuple[Path, ...]:
    """The folders without which MLflow's client takes a run for none."""
    return tuple(root / EXPERIMENT / run_id / part for part in ("metrics", "params", "artifacts"))


def meta_files(root: Path, run_id: str) -> Mapping[str, str]:
    """The files, by their names under ``root``, that make a store with one run under way."""
    now = int(time.time() * 1000)
    experiment = {
        "artifact_location": f"file://{root / EXPERIMENT}", "creation_time": now, "experiment_id": EXPERIMENT,
        "last_update_time": now, "lifecycle_stage": "active", "name": "Default",
    }  # fmt: skip
    run: dict[str, Any] = {
        "artifact_uri": f"file://{root / EXPERIMENT / run_id / 'artifacts'}", "end_time": None,
        "entry_point_name": "", "experiment_id": EXPERIMENT, "lifecycle_stage": "active", "run_id": run_id,
        "run_name": run_id, "run_uuid": run_id, "source_name": "", "source_type": 4, "source_version": "",
        "start_time": now, "status": 1, "tags": [], "user_id": "ai-how",
    }  # fmt: skip
    # JSON is YAML.
    return {
        f"{EXPERIMENT}/meta.yaml": json.dumps(experiment) + "\n",
        f"{EXPERIMENT}/{run_id}/meta.yaml": json.dumps(run) + "\n",
        f"{EXPERIMENT}/{run_id}/tags/mlflow.runName": run_id,
    }


def recorded(root: Path, run_id: str) -> Recorded:
    """What stands in a store. A line that is being written at this moment counts the next time."""
    run = root / EXPERIMENT / run_id
    metrics: list[tuple[str, float, int, int]] = []
    for path in _files(run / "metrics"):
        key = str(path.relative_to(run / "metrics"))
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines():
            metrics += [(key, *found) for found in _metric(line)]
    return Recorded(
        params={
            str(path.relative_to(run / "params")): path.read_text(encoding="utf-8", errors="replace")
            for path in _files(run / "params")
        },
        metrics=tuple(metrics),
        artifacts=tuple(_files(run / "artifacts")),
    )


def _metric(line: str) -> list[tuple[float, int, int]]:
    """``1795903339000 0.5 3`` is 0.5 at step 3; what is no such line is nothing."""
    try:
        stamp, value, *more = line.split()
        return [(float(value), int(stamp), int(more[0]) if more else 0)]
    except ValueError:
        return []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))

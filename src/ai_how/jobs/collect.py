"""What a job far away has recorded, brought over into MLflow: while it runs, and whole at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_how.client.tracking import Tracking
from ai_how.jobs.far import Far
from ai_how.jobs.model import JobFolder, JobRecord
from ai_how.jobs.run_files import Recorded
from ai_how.run import write_whole

_STATE = "collected.json"


@dataclass(frozen=True)
class News:
    """What stands in the job's files and was not brought over yet, and what is counted once it has been."""

    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int, int]]
    counts: Mapping[str, int]


def news(found: Recorded, counts: Mapping[str, int]) -> News:
    """What is new, where ``counts`` values of each metric were brought over before. Pure."""
    seen: Counter[str] = Counter()
    fresh = []
    for metric in found.metrics:
        seen[metric[0]] += 1
        if seen[metric[0]] > counts.get(metric[0], 0):
            fresh.append(metric)
    return News(found.params, fresh, dict(seen))


def collect(
    far: Far, tracking: Tracking, folder: JobFolder, record: JobRecord, *, ended: bool = False
) -> None:
    """Bring over what is new; at the job's end its artifacts, its output and its log as well.

    A metric that was sent and not counted, because this process died in between, is sent again: MLflow keeps one of
    two values of a step that are alike.
    """
    log = record.log.replace("%j", str(record.job_id))
    if ended:
        far.bring_output(folder)
        far.bring_log(Path(log))
    if not record.run_id:
        return
    state = folder.path / _STATE
    counts: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {}
    found = far.bring_run(folder, record.run_id, artifacts=ended)
    fresh = news(found, counts)
    if fresh.params:
        tracking.params(record.run_id, fresh.params)
    tracking.metrics(record.run_id, fresh.metrics)
    if fresh.counts != counts:
        write_whole(state, json.dumps(fresh.counts) + "\n")
    for path in found.artifacts:
        tracking.artifacts(record.run_id, path)

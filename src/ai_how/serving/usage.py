"""Who used which model, joined to the hours that its jobs held of the cluster. Pure.

A job's hours are shared out among those who used it in the period, by their tokens: whoever lets a replica of four GPUs
run for a hundred words pays for it, however many stand by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ai_how.serving.gateway.usage import Row
from ai_how.slurm.model import Life

#: What usage can be summed up by, and how a row says it.
BY: Mapping[str, Callable[[Row], str]] = {
    "user": lambda row: row.owner,
    "token": lambda row: row.token,
    "model": lambda row: row.model,
    "job": lambda row: row.job,
    "hour": lambda row: time.strftime("%Y-%m-%d %H:00", time.localtime(row.hour)),
    "day": lambda row: time.strftime("%Y-%m-%d", time.localtime(row.hour)),
    "month": lambda row: time.strftime("%Y-%m", time.localtime(row.hour)),
}


@dataclass(frozen=True)
class Held:
    """The hours of GPUs and of CPUs that a job held within a period."""

    gpu: float
    cpu: float


@dataclass(frozen=True)
class Sum:
    """What is used by one of those that were asked for (``key``, in the order of what was asked by).

    Tokens: ``prompt`` were read, of which ``cached`` came from an engine's cache, ``completion`` written. The hours are
    None where Slurm does not know any of the jobs, or did not answer. ``estimated`` and ``failed`` are among
    ``requests``.
    """

    key: tuple[str, ...]
    requests: int = 0
    failed: int = 0
    estimated: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    gpu_hours: float | None = None
    cpu_hours: float | None = None

    @property
    def gpu_hours_per_million(self) -> float | None:
        """GPU-hours for a million tokens, read and written; None where there are none."""
        tokens = self.prompt + self.completion
        return self.gpu_hours / tokens * 1e6 if self.gpu_hours is not None and tokens else None

    def as_json(self, by: Sequence[str]) -> dict[str, object]:
        """The facts for ``--json``."""
        names = (
            "requests",
            "failed",
            "estimated",
            "prompt",
            "completion",
            "cached",
            "gpu_hours",
            "cpu_hours",
        )
        facts: dict[str, object] = dict(zip(by, self.key, strict=False))
        facts |= {name: getattr(self, name) for name in names}
        return facts | {"gpu_hours_per_million_tokens": self.gpu_hours_per_million}


def held(lives: Iterable[Life], since: float, until: float, now: float) -> dict[str, Held]:
    """The hours of each job, by its id, within a period. All in seconds since the epoch."""
    found: dict[str, Held] = {}
    for life in lives:
        seconds = max(min(life.end or now, until) - max(life.start, since), 0.0)
        before = found.get(str(life.job_id), Held(0.0, 0.0))
        found[str(life.job_id)] = Held(
            before.gpu + life.gpus * seconds / 3600, before.cpu + life.cpus * seconds / 3600
        )
    return found


def shares(rows: Sequence[Row], hours: Mapping[str, Held], by: Sequence[str]) -> tuple[Sum, ...]:
    """What each used, the one who used most first. ``rows`` are all those of the period, for all have a share."""
    weights: dict[str, float] = {}
    for row in rows:
        weights[row.job] = weights.get(row.job, 0.0) + _weight(row)
    sums: dict[tuple[str, ...], Sum] = {}
    for row in rows:
        key = tuple(BY[name](row) for name in by)
        job = hours.get(row.job)
        part = _weight(row) / weights[row.job]
        one = Sum(
            key, row.requests, row.failed, row.estimated, row.prompt, row.completion, row.cached,
            gpu_hours=job.gpu * part if job else None, cpu_hours=job.cpu * part if job else None,
        )  # fmt: skip
        sums[key] = added(sums[key], one) if key in sums else one
    timed = {"hour", "day", "month"} & set(by)
    if timed:
        return tuple(sums[key] for key in sorted(sums))
    return tuple(sorted(sums.values(), key=lambda one: (-(one.prompt + one.completion), one.key)))


def _weight(row: Row) -> float:
    """Tokens; where nobody got any, requests, so that hours are never lost. Small enough to matter only then."""
    return row.prompt + row.completion + row.requests * 1e-6


def added(one: Sum, other: Sum) -> Sum:
    """Two sums as one, under the first one's key."""
    return replace(
        one,
        requests=one.requests + other.requests,
        failed=one.failed + other.failed,
        estimated=one.estimated + other.estimated,
        prompt=one.prompt + other.prompt,
        completion=one.completion + other.completion,
        cached=one.cached + other.cached,
        gpu_hours=_plus(one.gpu_hours, other.gpu_hours),
        cpu_hours=_plus(one.cpu_hours, other.cpu_hours),
    )


def _plus(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other

"""What a bench run leaves behind: one versioned record, the same for every target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ai_how.bench.histogram import Histogram
from ai_how.bench.statistics import Better
from ai_how.spec.bench import BenchRecipe

VERSION: Literal["1.0"] = "1.0"
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Kept(BaseModel):
    """Frozen, and forgiving towards keys of a newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Calibration(Kept):
    """What the generator itself can do here and now, against a server that answers at once.

    ``ceiling`` is in requests a second, by one process and that server together: a lower bound. ``lag_*`` tell how late
    requests went out at ``rate``, ``floor_ms`` what an answer takes that takes no time.
    """

    ceiling: float
    events_per_second: float | None = None
    rate: float | None = None
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    floor_ms: float


class RunRecord(Kept):
    """One run. ``cut`` requests at its beginning were warm-up and are in no histogram of latencies.

    ``achieved`` is the rate at which requests went out as a share of the rate intended; ``waited`` the share of
    requests that had to wait since all connections were in use; ``resent`` how many were sent again, because the target
    closed a connection that it had said it would keep; ``busy`` the share of a core that the generator used.
    Histograms hold nanoseconds.
    """

    number: int
    started: float
    seconds: float
    intended: int | None
    sent: int
    good: int
    errors: Mapping[str, int]
    cut: int
    steady: bool
    steady_why: str
    busy: float
    achieved: float | None
    waited: float
    resent: int = 0
    tokens_known: float | None = None
    stopped: str | None = None
    histograms: Mapping[str, Mapping[str, Any]]
    rates: Mapping[str, float]

    def histogram(self, name: str) -> Histogram:
        """One of its histograms; empty when there is none."""
        facts = self.histograms.get(name)
        return Histogram.of_json(dict(facts)) if facts else Histogram()


class Figure(Kept):
    """One figure over all runs, and whether it can be trusted; ``reasons`` say why not.

    ``value`` is of all runs together, ``runs`` of each; ``low`` and ``high`` bound the mean over runs.
    """

    name: str
    unit: str
    value: float
    low: float | None
    high: float | None
    runs: tuple[float, ...]
    better: Better
    ok: bool
    reasons: tuple[str, ...] = ()


class Result(Kept):
    """Everything about one `bench run`: enough to compare it, to judge it, and to run it again."""

    version: Literal["1.0"]
    kind: Literal["bench-result"]
    ai_how: str
    started: float
    seconds: float
    recipe: BenchRecipe
    address: str
    environment: Mapping[str, Any]
    calibration: Calibration | None
    runs: tuple[RunRecord, ...]
    figures: tuple[Figure, ...]
    partial: str | None = None

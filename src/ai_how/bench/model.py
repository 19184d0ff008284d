"""What a bench run leaves behind: one versioned record, the same for every target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ai_how.bench.histogram import Histogram
from ai_how.bench.statistics import Better
from ai_how.errors import AiHowError
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_load import Setting

VERSION: Literal["2.0"] = "2.0"
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Kept(BaseModel):
    """Frozen, and forgiving towards keys of a newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(Kept):
    """A number that is no latency: a rate, a size, a recall."""

    value: float
    unit: str
    better: Better = "higher"


class Series(Kept):
    """What was sampled over a run: ``times`` in seconds from its beginning.

    ``where`` is a node, a device or a service.
    """

    name: str
    unit: str
    times: tuple[float, ...]
    values: tuple[float, ...]
    where: str = ""


class Generator(Kept):
    """One process of the load.

    ``offset_ms`` is how far its clock was from the first one's, give or take ``error_ms``.
    """

    node: str
    process: int
    sent: int
    busy: float
    lag_p99_ms: float | None
    offset_ms: float = 0.0
    error_ms: float = 0.0


class Calibration(Kept):
    """What the generator itself can do here and now, against a server that answers at once.

    ``ceiling`` is in requests a second, by one process and that server together: a lower bound. ``lag_*`` tell how
    late requests went out at ``rate``, ``floor_ms`` what an answer takes that takes no time.
    """

    ceiling: float
    events_per_second: float | None = None
    rate: float | None = None
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    floor_ms: float


class RunRecord(Kept):
    """One run, at one ``point`` of the sweep, of one ``side`` where two are measured in turns.

    ``purpose`` is ``run``, or ``probe`` where a search tried a load: probes are in no figure. ``cut`` requests at its
    beginning were warm-up and are in no histogram of latencies. ``achieved`` is the rate at which requests went out
    as a share of the rate intended; ``waited`` the share of requests that had to wait since all connections were in
    use; ``resent`` how many were sent again, because the target closed a connection that it had said it would keep;
    ``busy`` the share of a core that the busiest generator used; ``yardstick_ms`` what a fixed piece of work took on
    this machine just before. ``examples`` are some requests as (due, sent, first, last, done) in seconds from the
    run's beginning. Histograms hold nanoseconds.
    """

    number: int
    started: float
    seconds: float
    point: Mapping[str, Setting] = {}
    side: str = ""
    purpose: Literal["run", "probe"] = "run"
    intended: int | None
    sent: int
    good: int
    kept: float | None = None
    errors: Mapping[str, int]
    cut: int
    steady: bool
    steady_why: str
    busy: float | None
    achieved: float | None
    waited: float
    resent: int = 0
    tokens_known: float | None = None
    tokens_agree: float | None = None
    cache: str | None = None
    yardstick_ms: float | None = None
    stopped: str | None = None
    reasons: tuple[str, ...] = ()
    doubts: Mapping[str, str] = {}
    notes: Mapping[str, Any] = {}
    calibration: Calibration | None = None
    generators: tuple[Generator, ...] = ()
    histograms: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Value]
    series: tuple[Series, ...] = ()
    examples: tuple[tuple[float, ...], ...] = ()

    def histogram(self, name: str) -> Histogram:
        """One of its histograms; empty when there is none."""
        facts = self.histograms.get(name)
        try:
            return Histogram.of_json(dict(facts)) if facts else Histogram()
        except ValueError as error:
            raise AiHowError(
                f"the histogram '{name}' of run {self.number} is damaged",
                cause=str(error),
                todo="Measure it again.",
            ) from error


class Figure(Kept):
    """One figure over all runs of a point, and whether it can be trusted; ``reasons`` say why not.

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
    point: Mapping[str, Setting] = {}
    side: str = ""

    @property
    def key(self) -> str:
        """Its name, and its point where there are several: ``latency.p99 at load.rate=20``."""
        return f"{self.name} at {spot(self.point)}" if self.point else self.name


class Probe(Kept):
    """One load that a search tried: the share of requests that kept the objective, and whether that was enough."""

    load: float
    share: float
    met: bool
    reasons: tuple[str, ...] = ()


class Saturation(Kept):
    """What a search found: the highest load that ``met`` the objective, and the lowest that ``missed`` it.

    ``share`` is that of each confirming run at ``met``. Either end is None where the search did not come to it.
    """

    key: str
    met: float | None
    missed: float | None
    share: tuple[float, ...] = ()
    probes: tuple[Probe, ...] = ()
    side: str = ""


class Result(Kept):
    """Everything about one `bench run`: enough to compare it, to judge it, and to run it again.

    ``spoilt`` runs are those during which this machine sent too late, and which were measured again.
    """

    version: Literal["2.0"]
    kind: Literal["bench-result"]
    ai_how: str
    started: float
    seconds: float
    recipe: BenchRecipe
    address: str
    service: Mapping[str, Any] = {}
    environment: Mapping[str, Any]
    calibration: Calibration | None
    runs: tuple[RunRecord, ...]
    figures: tuple[Figure, ...]
    saturation: tuple[Saturation, ...] = ()
    spoilt: tuple[RunRecord, ...] = ()
    samples: str | None = None
    partial: str | None = None


def spot(point: Mapping[str, Setting]) -> str:
    """A point in words: ``load.rate=20, workload.prompts.words=64``."""
    return ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                     for key, value in point.items())  # fmt: skip

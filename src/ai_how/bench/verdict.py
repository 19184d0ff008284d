"""Whether a figure can be trusted, and if not, why. Pure.

A figure that fails one check is shown struck through with the reason and is in no comparison: what it tells is a
mixture of the target and of something else.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_how.bench.model import RunRecord
from ai_how.spec.bench import BenchRecipe

#: The generator must be able to do this many times the load, or it may be what is measured.
HEADROOM = 1.5
#: It may use so much of its core: beyond, its own queue is in every figure.
BUSY = 0.85
#: How far the rate at which requests went out may be from the one intended.
LOAD = 0.02
#: How late requests may go out at the 99th percentile: milliseconds, or a share of the median latency if that is more.
LAG_MS = 1.0
LAG_SHARE = 0.01
#: Shares of requests that may fail, or wait for a connection.
ERRORS = 0.01
WAITED = 0.01
#: How far two counts of the same tokens may be apart.
TOKENS = 0.02
#: By how much a fixed piece of work may take longer before one run than before another.
DRIFT = 0.25
#: So many requests must lie beyond a percentile, or it is told by chance.
BEYOND = 10


def reasons_of_run(recipe: BenchRecipe, run: RunRecord) -> tuple[str, ...]:
    """Why no figure of a run can be trusted; nothing when all can. What the client said against itself comes first."""
    found = [
        *run.reasons,
        *_of_generator(recipe, run),
        *_of_load(run),
        f"the run ended early: {run.stopped}" if run.stopped else "",
        "" if run.steady else f"no steady state: {run.steady_why}",
        "the load rises during a ramp: a percentile over all of it is one of no load" * (
            recipe.load.arrivals == "ramp"
        ),
    ]  # fmt: skip
    failed, all_ = sum(run.errors.values()), run.good + sum(run.errors.values())
    if failed > ERRORS * all_:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(run.errors.items()))
        found.append(f"{failed / all_:.1%} of the requests failed ({kinds})")
    return tuple(reason for reason in found if reason)


def _of_generator(recipe: BenchRecipe, run: RunRecord) -> list[str]:
    """Nothing of a program that brings its own load: its client says what there is against it."""
    if run.busy is None:
        return []
    found = []
    reached = run.values.get("throughput")
    wanted = recipe.load.peak or (reached.value if reached else 0.0)
    calibration = run.calibration
    if calibration is None:
        found.append("the generator was not calibrated")
    elif calibration.ceiling < HEADROOM * wanted:
        found.append(
            f"no headroom: the generator can do {calibration.ceiling:,.0f} requests a second here, "
            f"{calibration.ceiling / wanted:.2f} times the load; {HEADROOM} is wanted"
        )
    if run.busy > BUSY:
        found.append(f"the generator used {run.busy:.0%} of its core; {BUSY:.0%} is the most")
    lag = run.histogram("lag")
    if recipe.load.arrivals != "closed" and len(lag):
        latency = run.histogram("latency")
        middle = latency.percentile(0.5) / 1e6 if len(latency) else 0.0
        limit, late = max(LAG_MS, LAG_SHARE * middle), lag.percentile(0.99) / 1e6
        if late > limit:
            found.append(f"requests went out up to {late:.2f} ms late (p99); {limit:.2f} ms is the most")
    return found


def _of_load(run: RunRecord) -> list[str]:
    found = []
    if run.achieved is not None and abs(run.achieved - 1) > LOAD:
        found.append(f"requests went out at {run.achieved:.1%} of the rate intended")
    if run.waited > WAITED and run.intended is not None:
        found.append(f"{run.waited:.1%} of the requests had to wait for a connection")
    return found


def reasons_of_figure(
    name: str, share: float | None, samples: int, runs: Sequence[RunRecord]
) -> tuple[str, ...]:
    """Why one figure cannot be trusted although its runs can."""
    found = []
    if share is not None and samples * (1 - share) < BEYOND - 1e-6:
        needed = round(BEYOND / (1 - share))
        found.append(f"{samples:,} samples; {needed:,} are needed for this percentile")
    if name in ("token", "tokens"):
        known = min((run.tokens_known for run in runs if run.tokens_known is not None), default=1.0)
        if known < 1:
            found.append(f"the server told its tokens for {known:.0%} of the answers; events are no tokens")
        counted = [run.tokens_agree for run in runs if run.tokens_agree is not None]
        worst = max(counted, key=lambda share: abs(share - 1), default=1.0)
        if abs(worst - 1) > TOKENS:
            found.append(f"the model's own tokenizer counts {worst:.1%} of the tokens that the server tells")
    return tuple(found)


def drift(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Whether the machine itself changed between the runs: by a fixed piece of work, done before each."""
    times = [run.yardstick_ms for run in runs if run.yardstick_ms is not None]
    if len(times) < 2 or max(times) <= (1 + DRIFT) * min(times):
        return ()
    return (
        f"the machine changed: a fixed piece of work took {min(times):.1f} ms before one run and {max(times):.1f} ms "
        f"before another; {DRIFT:.0%} more is the most",
    )

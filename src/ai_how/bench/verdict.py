"""Whether a figure can be trusted, and if not, why. Pure.

A figure that fails one check is shown struck through with the reason and is in no comparison: what it tells is a
mixture of the target and of something else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Check:
    """One check of a run: what was found in words, and why its figures fail by it; an empty reason is a pass.

    ``told`` is empty where there was nothing to check.
    """

    name: str
    told: str
    reason: str = ""


def reasons_of_run(recipe: BenchRecipe, run: RunRecord) -> tuple[str, ...]:
    """Why no figure of a run can be trusted; nothing when all can. What the client said against itself comes first."""
    return (*run.reasons, *(check.reason for check in checks(recipe, run) if check.reason))


def reasons_of_generator(recipe: BenchRecipe, run: RunRecord) -> list[str]:
    """Those that are about the generator alone."""
    return [check.reason for check in _of_generator(recipe, run) if check.reason]


def reasons_of_load(recipe: BenchRecipe, run: RunRecord) -> list[str]:
    """Those that are about how it was asked: the generator, and the load that went out. Nothing of the target."""
    found = (*_of_generator(recipe, run), *_of_load(recipe, run))
    return [check.reason for check in found if check.reason]


def spoilt(recipe: BenchRecipe, run: RunRecord) -> str:
    """Why a run should be measured again: this machine had no time for the generator. Empty when it had.

    That says nothing of the target, so measuring again chooses no better target; what was spoilt stays in the record.
    """
    if run.stopped or run.busy is None:
        return ""
    return _busy(run).reason or _lag(recipe, run).reason


def checks(recipe: BenchRecipe, run: RunRecord) -> tuple[Check, ...]:
    """Every check of one run, those that it passed too."""
    return (
        *_of_generator(recipe, run),
        *_of_load(recipe, run),
        Check("cache", run.cache or ""),
        _of_tokens(run),
        Check("steady state", run.steady_why, "" if run.steady else f"no steady state: {run.steady_why}"),
        _of_errors(run),
        Check(
            "end",
            f"ended early: {run.stopped}" if run.stopped else "came to its end",
            f"the run ended early: {run.stopped}" if run.stopped else "",
        ),
    )


def _of_generator(recipe: BenchRecipe, run: RunRecord) -> list[Check]:
    """Nothing of a program that brings its own load: its client says what there is against it."""
    if run.busy is None:
        return [Check("headroom", ""), Check("generator's core", ""), Check("lag", "")]
    return [
        _headroom(recipe, run),
        _busy(run),
        _lag(recipe, run),
    ]


def _busy(run: RunRecord) -> Check:
    busy = run.busy or 0.0
    reason = f"the generator used {busy:.0%} of its core; {BUSY:.0%} is the most"
    return Check("generator's core", f"{busy:.0%} used", reason if busy > BUSY else "")


def _headroom(recipe: BenchRecipe, run: RunRecord) -> Check:
    reached = run.values.get("throughput")
    wanted = recipe.load.peak or (reached.value if reached else 0.0)
    if run.calibration is None:
        return Check("headroom", "not calibrated", "the generator was not calibrated")
    ceiling = run.calibration.ceiling
    if not wanted or ceiling >= HEADROOM * wanted:
        return Check("headroom", f"{ceiling / wanted:,.1f} times the load" if wanted else "")
    return Check(
        "headroom",
        f"{ceiling / wanted:.2f} times the load",
        f"no headroom: the generator can do {ceiling:,.0f} requests a second here, "
        f"{ceiling / wanted:.2f} times the load; {HEADROOM} is wanted",
    )


def _lag(recipe: BenchRecipe, run: RunRecord) -> Check:
    lag = run.histogram("lag")
    if recipe.load.arrivals == "closed" or not len(lag):
        return Check("lag", "")
    latency = run.histogram("latency")
    middle = latency.percentile(0.5) / 1e6 if len(latency) else 0.0
    limit, late = max(LAG_MS, LAG_SHARE * middle), lag.percentile(0.99) / 1e6
    reason = f"requests went out up to {late:.2f} ms late (p99); {limit:.2f} ms is the most"
    return Check("lag", f"{late:.2f} ms at p99", reason if late > limit else "")


def _of_load(recipe: BenchRecipe, run: RunRecord) -> list[Check]:
    found = [Check("load", "")]
    if run.achieved is not None:
        # A program counts what it has done in its time, and of random arrivals that is as chance has it.
        most = LOAD if run.busy is not None else max(LOAD, 3 / math.sqrt(max(1, run.sent)))
        off = abs(run.achieved - 1) > most
        reason = f"requests went out at {run.achieved:.1%} of the rate intended"
        found = [Check("load", f"{run.achieved:.1%} of the rate intended", reason if off else "")]
    if run.waited > WAITED and run.intended is not None:
        said = f"{run.waited:.1%} of the requests had to wait for a connection"
        found.append(Check("connections", said, said))
    if recipe.load.arrivals == "ramp":
        reason = "the load rises during a ramp: a percentile over all of it is one of no load"
        found.append(Check("ramp", "the load rises", reason))
    return found


def _of_tokens(run: RunRecord) -> Check:
    """In words alone: what fails by it is told with the figures that count tokens."""
    if run.tokens_known is None:
        return Check("tokens", "")
    told = f"told for {run.tokens_known:.0%} of the answers"
    if run.tokens_agree is not None:
        told += f"; the tokenizer counts {run.tokens_agree:.1%} of them"
    elif why := run.notes.get("tokens_not_counted"):
        told += f"; they were not counted again: {why}"
    if left := run.notes.get("tokens_no_text"):
        told += f"; {left}"
    return Check("tokens", told)


def _of_errors(run: RunRecord) -> Check:
    failed, all_ = sum(run.errors.values()), run.good + sum(run.errors.values())
    if not failed:
        return Check("errors", "none")
    kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(run.errors.items()))
    said = f"{failed / all_:.1%} of the requests failed ({kinds})"
    return Check("errors", said, said if failed > ERRORS * all_ else "")


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

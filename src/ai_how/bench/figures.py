"""From samples to histograms, and from histograms to figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.histogram import Histogram
from ai_how.bench.model import PERCENTILES, Calibration, Figure, RunRecord
from ai_how.bench.statistics import Better, interval
from ai_how.bench.steady import Steady, judge
from ai_how.bench.verdict import reasons_of_figure, reasons_of_run
from ai_how.bench.work import Taken
from ai_how.spec.bench import BenchRecipe, Objective

#: Histograms that percentiles are told of, in the order in which they are shown.
LATENCIES = ("latency", "latency_sent", "first_token", "first_token_sent", "token", "gap")
_UNITS = {"throughput": "1/s", "goodput": "1/s", "tokens": "tokens/s"}


def record(recipe: BenchRecipe, number: int, started: float, intended: int | None, taken: Taken) -> RunRecord:
    """What is kept of one run. Failed requests are counted by kind and are in no histogram of latencies."""
    ordered = sorted(taken.exchanges, key=lambda one: one.due)
    good = [one for one in ordered if one.good]
    steady = judge([one.done - one.due for one in good])
    cut = steady.cut if recipe.warmup == "test" else 0
    kept = good[cut:]
    sent = [one for one in ordered if one.sent]
    chats = [one for one in kept if isinstance(one, ChatExchange)]
    return RunRecord(
        number=number,
        started=started,
        seconds=taken.seconds,
        intended=intended,
        sent=len(sent),
        good=len(good),
        errors=dict(Counter(one.error for one in ordered if one.error)),
        cut=cut,
        steady=steady.ok,
        steady_why=_without_cut(steady, recipe),
        busy=taken.busy,
        achieved=_achieved(sent) if intended is not None else None,
        waited=sum(one.queued for one in ordered) / len(ordered) if ordered else 0.0,
        resent=sum(one.resent for one in ordered),
        tokens_known=sum(one.tokens is not None for one in chats) / len(chats) if chats else None,
        stopped=taken.stopped,
        histograms={name: found.as_json() for name, found in _histograms(sent, kept) if len(found)},
        rates=_rates(kept, chats, recipe.objective),
    )


def _without_cut(steady: Steady, recipe: BenchRecipe) -> str:
    return (
        steady.why
        if recipe.warmup == "test" or not steady.ok
        else "taken as it came: the recipe cuts nothing"
    )


def _histograms(sent: Sequence[Exchange], kept: Sequence[Exchange]) -> Iterator[tuple[str, Histogram]]:
    chats = [one for one in kept if isinstance(one, ChatExchange)]
    yield "lag", _histogram(one.woke - one.due for one in sent)
    yield "wait", _histogram(one.sent - one.woke for one in sent)
    yield "latency", _histogram(one.done - one.due for one in kept)
    yield "latency_sent", _histogram(one.done - one.sent for one in kept)
    yield "first_token", _histogram(one.first - one.due for one in chats)
    yield "first_token_sent", _histogram(one.first - one.sent for one in chats)
    yield "token", _histogram(time for one in chats if (time := token_time(one)) is not None)
    yield "gap", _histogram(gap for one in chats for gap in one.gaps)


def _histogram(seconds: Iterator[float]) -> Histogram:
    return Histogram(round(value * 1e9) for value in seconds)


def token_time(one: ChatExchange) -> float | None:
    """Seconds a token after the first, in the mean: by the server's count of tokens, since events are not tokens."""
    return (one.last - one.first) / (one.tokens - 1) if one.tokens and one.tokens > 1 else None


def _achieved(sent: Sequence[Exchange]) -> float | None:
    """The rate at which requests went out, as a share of the rate at which they were due."""
    if len(sent) < 2:
        return None
    times = [one.sent for one in sent]
    due = sent[-1].due - sent[0].due
    return due / max(max(times) - min(times), 1e-9)


def _rates(kept: Sequence[Exchange], chats: Sequence[ChatExchange], objective: Objective) -> dict[str, float]:
    if len(kept) < 2:
        return {}
    seconds = max(max(one.done for one in kept) - kept[0].due, 1e-9)
    found = {"throughput": len(kept) / seconds}
    if any(limit is not None for limit in objective.model_dump().values()):
        found["goodput"] = sum(keeps(objective, one) for one in kept) / seconds
    if chats:
        found["tokens"] = sum(one.tokens or 0 for one in chats) / seconds
    return found


def keeps(objective: Objective, one: Exchange) -> bool:
    """Whether a good exchange kept every limit of the objective; one that cannot be told of is not kept."""
    if objective.latency_ms is not None and (one.done - one.due) * 1e3 > objective.latency_ms:
        return False
    if objective.first_token_ms is not None and (one.first - one.due) * 1e3 > objective.first_token_ms:
        return False
    if objective.token_ms is not None:
        time = token_time(one) if isinstance(one, ChatExchange) else None
        return time is not None and time * 1e3 <= objective.token_ms
    return True


def figures(
    recipe: BenchRecipe, calibration: Calibration | None, runs: Sequence[RunRecord]
) -> tuple[Figure, ...]:
    """Every figure with its interval and its verdict, latencies in milliseconds."""
    shared = tuple(
        f"run {run.number}: {reason}" for run in runs for reason in reasons_of_run(recipe, calibration, run)
    )
    found = []
    for name in LATENCIES:
        whole, each = Histogram(), [run.histogram(name) for run in runs]
        for one in each:
            whole.merge(one)
        if not len(whole):
            continue
        for label, share in PERCENTILES.items():
            of_runs = [one.percentile(share) / 1e6 for one in each if len(one)]
            value = whole.percentile(share) / 1e6
            own = reasons_of_figure(name, share, len(whole), runs)
            found.append(_figure(f"{name}.{label}", "ms", value, of_runs, "lower", shared + own))
    for name, unit in _UNITS.items():
        of_runs = [run.rates[name] for run in runs if name in run.rates]
        if of_runs:
            own = reasons_of_figure(name, None, 0, runs)
            found.append(_figure(name, unit, fmean(of_runs), of_runs, "higher", shared + own))
    return tuple(found)


def _figure(
    name: str, unit: str, value: float, runs: Sequence[float], better: Better, reasons: tuple[str, ...]
) -> Figure:
    low, high = interval(runs) or (None, None)
    return Figure(
        name=name, unit=unit, value=value, low=low, high=high, runs=tuple(runs), better=better,
        ok=not reasons, reasons=reasons,
    )  # fmt: skip

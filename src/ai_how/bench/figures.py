"""From samples to histograms, and from histograms to figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Measured
from ai_how.bench.model import PERCENTILES, Figure, RunRecord, Value
from ai_how.bench.statistics import Better, interval
from ai_how.bench.steady import Steady, judge
from ai_how.bench.timeline import examples, timeline
from ai_how.bench.verdict import drift, reasons_of_figure, reasons_of_run
from ai_how.spec.bench import BenchRecipe, Objective, override
from ai_how.spec.bench_load import Setting

#: Histograms that percentiles are told of, in the order in which they are shown; others of a target's own come behind.
LATENCIES = ("latency", "latency_sent", "first_token", "first_token_sent", "token", "gap")
#: What a request failed by whose times are in no order: a clock that goes back measures nothing.
BACKWARDS = "the clock went back"
#: Histograms that are about the generator and no figures.
_OURS = ("lag", "wait")


def record(recipe: BenchRecipe, number: int, started: float, measured: Measured) -> RunRecord:
    """What is kept of one run. Failed requests are counted by kind and are in no histogram of latencies."""
    return (_of_requests if measured.exchanges else _of_program)(recipe, number, started, measured)


def _of_program(recipe: BenchRecipe, number: int, started: float, found: Measured) -> RunRecord:
    """Of a client with a load of its own: what it says, with what it says against itself."""
    return RunRecord(
        number=number,
        started=started,
        seconds=found.seconds,
        intended=found.intended,
        sent=found.sent,
        good=found.good,
        errors=dict(found.errors),
        cut=found.cut,
        steady=found.steady is not False,
        steady_why=found.steady_why,
        busy=found.busy,
        achieved=found.achieved,
        waited=0.0,
        tokens_agree=found.tokens_agree,
        cache=found.cache,
        stopped=found.stopped,
        reasons=tuple(found.reasons),
        doubts=dict(found.doubts),
        notes=dict(found.notes),
        generators=tuple(found.generators),
        histograms={name: one.as_json() for name, one in found.histograms.items() if len(one)},
        values=dict(found.values),
        series=tuple(found.series),
    )


def _of_requests(recipe: BenchRecipe, number: int, started: float, found: Measured) -> RunRecord:
    ordered = sorted(found.exchanges, key=lambda one: one.due)
    for one in ordered:
        if _backwards(one):
            one.error = BACKWARDS
    good = [one for one in ordered if one.good]
    steady = judge([one.done - one.due for one in good])
    cut = steady.cut if recipe.warmup == "test" else 0
    kept = good[cut:]
    sent = [one for one in ordered if one.sent and one.error != BACKWARDS]
    chats = [one for one in kept if isinstance(one, ChatExchange)]
    histograms = dict(_histograms(sent, kept)) | dict(found.histograms)
    asks = recipe.objective.asks
    return _of_program(recipe, number, started, found).model_copy(update={
        "sent": sum(one.sent > 0 for one in ordered),
        "good": len(good),
        "kept": sum(keeps(recipe.objective, one) for one in good) / len(ordered) if asks else None,
        "errors": dict(Counter(one.error for one in ordered if one.error)),
        "cut": cut,
        "steady": steady.ok if found.steady is None else found.steady,
        "steady_why": _without_cut(steady, recipe) if found.steady is None else found.steady_why,
        "achieved": _achieved(sent) if found.intended is not None else None,
        "waited": sum(one.queued for one in ordered) / len(ordered),
        "resent": sum(one.resent for one in ordered),
        "tokens_known": sum(one.tokens is not None for one in chats) / len(chats) if chats else None,
        "histograms": {name: one.as_json() for name, one in histograms.items() if len(one)},
        "values": _rates(kept, chats, recipe.objective) | dict(found.values),
        "series": (*timeline(ordered), *found.series),
        "examples": examples(ordered),
    })  # fmt: skip


def _backwards(one: Exchange) -> bool:
    """Whether its times are in no order; one that failed is asked for those that it came to. Pure."""
    last = one.last if isinstance(one, ChatExchange) else 0.0
    # An answer without a body has no first piece of one.
    times = [time for time in (one.due, one.woke, one.sent, one.first, last, one.done) if time]
    gaps = one.gaps if isinstance(one, ChatExchange) else ()
    return times != sorted(times) or any(gap < 0 for gap in gaps)


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


def _rates(kept: Sequence[Exchange], chats: Sequence[ChatExchange], objective: Objective) -> dict[str, Value]:
    if len(kept) < 2:
        return {}
    seconds = max(max(one.done for one in kept) - kept[0].due, 1e-9)
    found = {"throughput": Value(value=len(kept) / seconds, unit="1/s")}
    if objective.asks:
        good = sum(keeps(objective, one) for one in kept)
        found["goodput"] = Value(value=good / seconds, unit="1/s")
    if chats:
        tokens = sum(one.tokens or 0 for one in chats)
        found["tokens"] = Value(value=tokens / seconds, unit="tokens/s")
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


def figures(recipe: BenchRecipe, runs: Sequence[RunRecord]) -> tuple[Figure, ...]:
    """Every figure of every side and point, with its interval and its verdict; latencies in milliseconds."""
    groups: dict[tuple[str, tuple[tuple[str, Setting], ...]], list[RunRecord]] = {}
    for run in runs:
        if run.purpose == "run":
            groups.setdefault((run.side, tuple(run.point.items())), []).append(run)
    changed = drift([run for run in runs if run.purpose == "run"])
    found: list[Figure] = []
    for (side, point), own in groups.items():
        where = {"point": dict(point), "side": side}
        at = override(recipe, recipe.against if side == "b" else {})
        at = override(at, dict(point))
        found += [one.model_copy(update=where) for one in _of_point(at, own, changed)]
    return tuple(found)


def _of_point(recipe: BenchRecipe, runs: Sequence[RunRecord], shared: tuple[str, ...]) -> Iterator[Figure]:
    shared += tuple(f"run {run.number}: {reason}" for run in runs for reason in reasons_of_run(recipe, run))
    names = dict.fromkeys([*LATENCIES, *(name for run in runs for name in run.histograms)])
    for name in (name for name in names if name not in _OURS):
        whole, each = Histogram(), [run.histogram(name) for run in runs]
        for one in each:
            whole.merge(one)
        if not len(whole):
            continue
        for label, share in PERCENTILES.items():
            of_runs = [one.percentile(share) / 1e6 for one in each if len(one)]
            value = whole.percentile(share) / 1e6
            own = reasons_of_figure(name, share, len(whole), runs) + doubts_of(name, runs)
            yield _figure(f"{name}.{label}", "ms", value, of_runs, "lower", shared + own)
    values: dict[str, list[Value]] = {}
    for run in runs:
        for name, value_of_run in run.values.items():
            values.setdefault(name, []).append(value_of_run)
    for name, measured in values.items():
        numbers = [one.value for one in measured]
        own = reasons_of_figure(name, None, 0, runs) + doubts_of(name, runs)
        yield _figure(name, measured[0].unit, fmean(numbers), numbers, measured[0].better, shared + own)


def doubts_of(name: str, runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What clients said against the figures of one name. Pure."""
    return tuple(f"run {run.number}: {run.doubts[name]}" for run in runs if name in run.doubts)


def _figure(
    name: str, unit: str, value: float, runs: Sequence[float], better: Better, reasons: tuple[str, ...]
) -> Figure:
    low, high = interval(runs) or (None, None)
    if unit == "share" and high is not None:
        high = min(high, max(1.0, *runs))
    return Figure(
        name=name, unit=unit, value=value, low=low, high=high, runs=tuple(runs), better=better,
        ok=not reasons, reasons=reasons,
    )  # fmt: skip

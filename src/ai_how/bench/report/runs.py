"""What happened during a run: what was asked and answered, what the machines did meanwhile, some requests singly.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ai_how.bench.answers import best
from ai_how.bench.model import Result, RunRecord, Series, spot
from ai_how.bench.report.numbers import KINDS, milliseconds, number, reading, sides
from ai_how.draw.charts import Scale, scale
from ai_how.draw.markup import Markup, element
from ai_how.draw.page import chart_card, key, section
from ai_how.draw.plot import Axes, Curve, Span, plot, spans

#: Series of the client, which are drawn first; the machine's come beneath.
_CLIENT = ("due", "answered", "latency.p50", "tokens")
_RESOURCES = {
    "cpu": "Processor", "gpu": "GPU", "memory": "Memory", "power": "Power", "network in": "Network in",
    "network out": "Network out", "disk read": "Disk read", "disk write": "Disk write",
}  # fmt: skip
#: A network or disk that never moved more than this many bytes a second shows nothing.
_QUIET = 10_000


def told_run(result: Result) -> RunRecord | None:
    """The run that is shown: the first at the best point, of the last side."""
    side = sides(result)[-1]
    _, point = best(result, side)
    runs = [run for run in result.runs if run.side == side and run.purpose == "run"]
    here = [run for run in runs if dict(run.point) == dict(point)]
    return next(iter(here or runs[-1:]), None)


def over_time(result: Result) -> Iterator[Markup]:
    """Load, latency and tokens over a run, with the machine beneath, all on the same time."""
    run = told_run(result)
    if run is None or not run.series:
        return
    end = max((max(one.times) for one in run.series if one.times), default=0.0)
    if end <= 0:
        return
    across = Scale(0.0, end, tuple(t for t in scale([0.0, end], logarithmic=False).ticks if t <= end))
    charts = [*_client(run, across), *_resources(run, across)]
    where = f" at {spot(run.point)}" if run.point else ""
    yield section(
        "Over time",
        f"Run {run.number}{where}: what was asked and what came back, and beneath it what the machines did meanwhile. "
        "Across are the seconds of the run.",
        element("div", *charts, class_="charts small"),
    )


def _axes(across: Scale, read: object, height: int = 150, **more: object) -> Axes:
    return Axes("", lambda value: f"{value:g}", read, x=across, height=height, **more)  # type: ignore[arg-type]


def _client(run: RunRecord, across: Scale) -> Iterator[Markup]:
    known = {one.name: one for one in run.series if not one.where}
    asked = [
        Curve(words, kind, _points(known[name]), dots=False, area=name == "answered")
        for name, words, kind in (("due", "due", "c6"), ("answered", "answered", "c1"))
        if name in known and known[name].values
    ]
    if asked:
        axes = _axes(across, number, y=_from_zero(asked))
        yield chart_card("Requests", "a second", plot(asked, axes, "Requests a second over time"))
    if "latency.p50" in known and known["latency.p50"].values:
        curve, values = (
            Curve("", "c2", _points(known["latency.p50"]), dots=False),
            known["latency.p50"].values,
        )
        # A flat line is to look flat.
        axes = _axes(across, milliseconds, y=_from_zero([curve]) if max(values) < 1.5 * min(values) else None)
        yield chart_card("Latency", "median", plot([curve], axes, "Median latency over time"))
    if "tokens" in known:
        curve = Curve("", "c3", _points(known["tokens"]), dots=False, area=True)
        axes = _axes(across, number, y=_from_zero([curve]))
        yield chart_card("Output tokens", "a second", plot([curve], axes, "Tokens a second over time"))
    for one in run.series:
        if not one.where and one.name not in _CLIENT and one.values:
            curve = Curve("", "c4", _points(one), dots=False)
            read = _reader(one.unit)
            yield chart_card(one.name.capitalize(), one.unit, plot([curve], _axes(across, read), one.name))


def _resources(run: RunRecord, across: Scale) -> Iterator[Markup]:
    for name, title in _RESOURCES.items():
        units = dict.fromkeys(one.unit for one in run.series if one.where and one.name == name)
        for unit in units:
            own = [
                one
                for one in run.series
                if one.where and one.name == name and one.unit == unit and one.values
            ]
            if not own or (unit == "B/s" and max(max(one.values) for one in own) < _QUIET):
                continue
            curves = [
                Curve(one.where, KINDS[index % 6], _points(one), dots=False, area=len(own) == 1)
                for index, one in enumerate(own)
            ]
            y = Scale(0.0, 100.0, (0.0, 50.0, 100.0)) if unit == "%" else _from_zero(curves)
            note = ", ".join(f"{one.where} {reading(_mean(one), unit)}" for one in own) + " in the mean"
            axes = _axes(across, _reader(unit), 100, y=y)
            yield chart_card(title, note, plot(curves, axes, f"{title} over time"))


def _reader(unit: str) -> object:
    return lambda value: reading(value, unit)


def _mean(one: Series) -> float:
    return sum(one.values) / len(one.values)


def _points(one: Series) -> list[tuple[float, float]]:
    return list(zip(one.times, one.values, strict=True))


def _from_zero(curves: Sequence[Curve]) -> Scale:
    values = [value for curve in curves for _, value in curve.points]
    return scale([0.0, *values], most=4, logarithmic=False) if any(values) else Scale(0.0, 1.0, (0.0, 1.0))


def one_by_one(result: Result) -> Iterator[Markup]:
    """Some requests in a row: when each was due, when its first piece came, and when it was done."""
    run = told_run(result)
    if run is None or len(run.examples) < 2:
        return
    start = min(one[0] for one in run.examples)
    total = max(one[4] for one in run.examples) - start
    streams = any(last - first > 0.02 * (done - due) for due, _, first, last, done in run.examples)
    rows = [_row(one, start, streams) for one in run.examples]
    words = [
        key("waited", "waited here"),
        key("c2", "until the first token" if streams else "until the answer"),
    ]
    if streams:
        words.append(key("c3", "tokens"))
    yield section(
        "One by one",
        f"{len(rows)} requests from the middle of run {run.number}, each a line, from when it was due.",
        element(
            "div",
            element("p", *words, class_="keys"),
            spans(rows, total, "Requests one by one"),
            class_="card",
        ),
    )


def _row(one: Sequence[float], start: float, streams: bool) -> list[Span]:
    due, sent, first, last, done = (time - start for time in one)
    begin = first if streams else done
    told = f"{milliseconds((done - due) * 1e3)} in all, first piece after {milliseconds((first - due) * 1e3)}"
    row = [Span(due, sent, "waited", told), Span(sent, begin, "c2", told)]
    return [*row, Span(first, last, "c3", told)] if streams else row

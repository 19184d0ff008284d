"""What changes with the load, with the share of requests, with the nodes: curves over the points of a result.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ai_how.bench.histogram import Histogram
from ai_how.bench.model import Figure, Result, RunRecord
from ai_how.bench.report.numbers import KINDS, milliseconds, named, number, reading, sides
from ai_how.draw.charts import Reader, Scale, scale
from ai_how.draw.markup import Markup, element, join
from ai_how.draw.page import chart_card, section
from ai_how.draw.plot import Axes, Curve, exact, plot

#: Keys whose values are a load.
LOADS = {"load.rate": "requests a second asked for", "load.clients": "clients"}
#: Last parts of keys whose values are a size of something that may scale.
SIZES = (
    "nodes",
    "processes",
    "clients",
    "workers",
    "ranks",
    "world",
    "jobs",
    "threads",
    "tasks",
    "devices",
    "gpus",
)
_PERCENTILES = ("p50", "p90", "p99")
_LATENCIES = {"latency": "Latency", "first_token": "Time to first token"}
#: Shares that a spectrum has a line for.
_SHARES = {0.5: "50 %", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %", 0.9999: "99.99 %"}


def _key_of(result: Result, keys: Sequence[str] | None = None) -> str | None:
    """The one key that is varied, where it is one of ``keys``; a search varies its own."""
    if result.recipe.search is not None:
        found = [str(result.recipe.search.key)]
    else:
        found = [str(key) for key in result.recipe.sweep]
    chosen = [key for key in found if keys is None or key in keys]
    return chosen[0] if chosen else None


def curve_of(figures: Sequence[Figure], key: str, label: str, kind: str) -> Curve:
    """A figure over the values of a key; where another key varies too, the best is taken at each value."""
    best: dict[float, Figure] = {}
    for one in figures:
        at = one.point.get(key)
        if not isinstance(at, int | float):
            continue
        known = best.get(float(at))
        better = known is None or (one.value < known.value) == (one.better == "lower")
        if better:
            best[float(at)] = one
    ordered = sorted(best.items())
    return Curve(
        label, kind, [(at, one.value) for at, one in ordered],
        bands=[(at, one.low, one.high) for at, one in ordered if one.low is not None and one.high is not None],
        doubted=frozenset(at for at, one in ordered if not one.ok),
    )  # fmt: skip


def loads(result: Result) -> Iterator[Markup]:
    """How long it takes at each load, and how much comes back."""
    key = _key_of(result, tuple(LOADS))
    if key is None:
        return
    charts = _sought(result, key)
    for base, title in _LATENCIES.items():
        curves = [
            curve_of(own, key, f"{percentile}{f' {side}' if side else ''}", KINDS[index + 3 * (side == "b")])
            for side in sides(result)
            for index, percentile in enumerate(_PERCENTILES)
            if (
                own := [
                    one for one in result.figures if one.name == f"{base}.{percentile}" and one.side == side
                ]
            )
        ]
        if not any(len(curve.points) > 1 for curve in curves):
            continue
        asked = result.recipe.objective
        limit = asked.latency_ms if base == "latency" else asked.first_token_ms
        axes = Axes(
            LOADS[key], number, milliseconds, x=_exact(curves), limits=[(limit, "objective")] if limit else []
        )
        charts.append(chart_card(f"{title} by load", _noted(curves), plot(curves, axes, f"{title} by load")))
    charts += _returns(result, key)
    if charts:
        how = (
            "Each client asked again as soon as it had its answer."
            if key == "load.clients"
            else "Each load was asked for by a schedule that waits for nobody."
        )
        yield section(
            "How it bears load",
            f"{how} Bands are 95 % intervals over runs; hollow dots failed their verdict.",
            element("div", *charts, class_="charts"),
        )


def _sought(result: Result, key: str) -> list[Markup]:
    """What a search tried: the share of requests that kept the objective at each load."""
    curves = [
        Curve(
            f"side {found.side}" if found.side else "", KINDS[index],
            sorted({one.load: one.share for one in found.probes}.items()),
            doubted=frozenset(one.load for one in found.probes if one.reasons),
        )
        for index, found in enumerate(result.saturation)
        if len({one.load for one in found.probes}) > 1
    ]  # fmt: skip
    if not curves:
        return []
    y = scale([0.0, 1.0], logarithmic=False)
    axes = Axes(LOADS[key], number, lambda share: f"{share:.0%}", x=_exact(curves), y=y,
                limits=[(result.recipe.objective.share, "wanted")])  # fmt: skip
    title = "Kept the objective, by load"
    return [chart_card(title, "share of the requests", plot(curves, axes, title))]


def _returns(result: Result, key: str) -> list[Markup]:
    """What came back of what was asked: throughput, goodput, tokens."""
    charts = []
    for names, title in ((("throughput", "goodput"), "What came back"), (("tokens",), "Output tokens")):
        curves = [
            curve_of(own, key, f"{name}{f' {side}' if side else ''}", KINDS[(index + 2 * (side == "b")) % 6])
            for side in sides(result)
            for index, name in enumerate(names)
            if (own := [one for one in result.figures if one.name == name and one.side == side])
        ]
        if any(len(curve.points) > 1 for curve in curves):
            unit = "tokens/s" if names == ("tokens",) else "requests/s"
            axes = Axes(LOADS[key], number, number, x=_exact(curves))
            charts.append(chart_card(title, unit, plot(curves, axes, f"{title} by load")))
    return charts


def _noted(curves: Sequence[Curve]) -> str:
    doubted = sum(len(curve.doubted) for curve in curves)
    if not doubted:
        return "all trusted"
    return f"{doubted} of {sum(len(curve.points) for curve in curves)} not to be trusted"


def spectrum(result: Result) -> Iterator[Markup]:
    """Every percentile at once: from the median to one in ten thousand."""
    charts = []
    key = _key_of(result)
    varied = f"a curve for each {key}" if key else "the whole spectrum"
    for base, title in _LATENCIES.items():
        groups = _groups(result)
        shown = list(groups.items())
        if len(shown) > len(KINDS):
            step = (len(shown) - 1) / (len(KINDS) - 1)
            shown = [shown[round(index * step)] for index in range(len(KINDS))]
        curves = [
            curve
            for index, (label, runs) in enumerate(shown)
            if (curve := _spectrum(runs, base, label, KINDS[index])) is not None
        ]
        if len(curves) == 1 and base == "latency":
            # From the instant of sending beside it: the gap between the two is what waited on this side.
            sent = _spectrum(shown[0][1], f"{base}_sent", "since sent", KINDS[5])
            curves = [
                Curve("since due", curves[0].kind, curves[0].points, dots=False),
                *([sent] if sent else []),
            ]
        if curves:
            axes = Axes(
                "share of the requests that took no longer", number, milliseconds, x=_share_scale(curves),
                names_beside=True,
                labels={_nines(share): words for share, words in _SHARES.items()},
            )  # fmt: skip
            charts.append(chart_card(title, varied, plot(curves, axes, f"Spectrum of {title}")))
    if charts:
        yield section(
            "Not only the median",
            "How long the slower requests took: each step to the right is ten times as rare. All good requests of all "
            "runs; those that failed are in no curve.",
            element("div", *charts, class_="charts"),
        )


def _groups(result: Result) -> Mapping[str, list[RunRecord]]:
    found: dict[str, list[RunRecord]] = {}
    for run in result.runs:
        if run.purpose == "run":
            side = f"side {run.side}" if run.side else ""
            value = ", ".join(number(v) if isinstance(v, int | float) else str(v) for v in run.point.values())
            found.setdefault(", ".join(part for part in (side, value) if part), []).append(run)
    return found


def _spectrum(runs: Sequence[RunRecord], base: str, label: str, kind: str) -> Curve | None:
    whole = Histogram()
    for run in runs:
        whole.merge(run.histogram(base))
    if len(whole) < 2:
        return None
    last = 1 - 0.5 / len(whole)
    points = [(_nines(min(share, last)), value / 1e6) for value, share in whole.spectrum()]
    return Curve(label, kind, points, dots=False)


def _nines(share: float) -> float:
    """Where a share lies across: 0 for none, 1 for nine of ten, 2 for 99 of 100."""
    return -math.log10(1 - share)


def _share_scale(curves: Sequence[Curve]) -> Scale:
    far = max(at for curve in curves for at, _ in curve.points)
    ticks = tuple(_nines(share) for share in _SHARES if _nines(share) <= far + 0.01)
    return Scale(0.0, max(far, 1.0), ticks)


def scaling(result: Result) -> Iterator[Markup]:
    """What more nodes, processes or clients bring, beside what they would bring at best."""
    keys = [key for key in result.recipe.sweep if key.rpartition(".")[2] in SIZES]
    charts = []
    for key in keys:
        for name in _valued(result):
            own = [one for one in result.figures if one.name == name and one.better == "higher"]
            curve = curve_of(own, key, named(name), "c1")
            if len(curve.points) < 2 or curve.points[0][1] <= 0:
                continue
            (first, value) = curve.points[0]
            ideal = Curve("at best", "c6", [(at, value * at / first) for at, _ in curve.points], dots=False)
            axes = Axes(key.rpartition(".")[2], number, number, x=_exact([curve]))
            unit = own[0].unit
            shares = [(at, found / (value * at / first)) for at, found in curve.points]
            charts.append(
                chart_card(f"{named(name)} by {key}", unit, plot([ideal, curve], axes, f"{name} by {key}"))
            )
            whole = scale([0.0, 1.0, *(share for _, share in shares)], logarithmic=False)
            axes = Axes(
                key.rpartition(".")[2], number, lambda share: f"{share:.0%}", x=_exact([curve]), y=whole
            )
            efficiency = Curve("efficiency", "c3", shares)
            charts.append(
                chart_card("Efficiency", "share of the best", plot([efficiency], axes, "Efficiency"))
            )
    if charts:
        yield section("How it scales", None, element("div", *charts, class_="charts"))


def swept(result: Result) -> Iterator[Markup]:
    """Every other value over every other key that was varied."""
    charts = []
    for key in result.recipe.sweep:
        if key in LOADS or key.rpartition(".")[2] in SIZES:
            continue
        for name in (*_valued(result), *(f"latency.{one}" for one in _PERCENTILES[::2])):
            curves = [
                curve
                for index, side in enumerate(sides(result))
                if len((curve := curve_of(
                    [one for one in result.figures if one.name == name and one.side == side], key, side, KINDS[index]
                )).points) > 1
            ]  # fmt: skip
            if curves:
                unit = next(one.unit for one in result.figures if one.name == name)
                axes = Axes(key, number, _reader(unit), x=_exact(curves))
                charts.append(
                    chart_card(f"{named(name)} by {key}", unit, plot(curves, axes, f"{name} by {key}"))
                )
    if charts:
        yield section("What was varied", None, join(element("div", *charts, class_="charts")))


def _exact(curves: Sequence[Curve]) -> Scale:
    return exact([at for curve in curves for at, _ in curve.points])


def _reader(unit: str) -> Reader:
    return lambda value: reading(value, unit)


def _valued(result: Result) -> list[str]:
    """The figures that are no percentiles."""
    return [name for name in dict.fromkeys(one.name for one in result.figures) if "." not in name]

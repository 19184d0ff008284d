"""Figures that one run measured at several settings of its own, such as ``recall.ef=16``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ai_how.bench.answers import best
from ai_how.bench.model import Figure, Result, spot
from ai_how.bench.report.numbers import KINDS, named, number, reading, sides
from ai_how.draw.charts import Reader, scale
from ai_how.draw.markup import Markup, element
from ai_how.draw.page import chart_card, section
from ai_how.draw.plot import Axes, Curve, exact, plot

_MEMBER = re.compile(
    r"^(?P<base>[a-z_ ]+)\.(?:(?P<word>[a-z_]+)=)?(?P<value>\d+(?:\.\d+)?)(?P<unit>[KMGT]?)(?P<more>\.filtered)?"
    r"(?:\.(?P<percentile>p\d+(?:\.\d+)?))?$"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
#: What a setting is called behind a name that does not say so, by the units of its values.
_SIZES, _COUNTS = "size", "processes"
_SHOWN = ("", "p50", "p99")
_MOST = 8
#: The recall that a search is told at.
_ENOUGH = 0.95


class Member(NamedTuple):
    """A figure of a family: the family's name, the setting as a number and as it is written, and what else it says."""

    base: str
    word: str
    value: float
    label: str
    more: str
    percentile: str


def member(name: str) -> Member | None:
    """The family that a figure's name belongs to; None for one that stands alone."""
    found = _MEMBER.match(name)
    if found is None:
        return None
    unit = found["unit"]
    word = found["word"] or (_SIZES if unit else _COUNTS)
    value = float(found["value"]) * _UNITS[unit]
    more = (found["more"] or "").strip(".")
    return Member(found["base"], word, value, found["value"] + unit, more, found["percentile"] or "")


def fronts(result: Result) -> Iterator[Markup]:
    """How much of the truth is found at which speed: the settings that none other beats at both."""
    charts = []
    for side in sides(result):
        curves: list[Curve] = []
        for more, words, kinds in (
            ("", "unfiltered", ("c6", "c1")),
            ("filtered", "filtered", ("c5", "c2")),
        ):
            pairs = _pairs([one for one in result.figures if one.side == side], more)
            curves += _front_curves(pairs, words, kinds) if pairs else []
        if not any(curve.label == "filtered" for curve in curves):
            curves = [replace(curve, label="best") if curve.line else curve for curve in curves]
        if curves:
            axes = Axes("recall", lambda share: f"{share:.3g}", number)
            words = f"Recall and speed{f', side {side}' if side else ''}"
            charts.append(chart_card(words, "queries a second", plot(curves, axes, words)))
    if charts:
        yield section(
            "Speed at what recall",
            "Each dot is one setting. Recall is the share of the true nearest neighbours that were found, against an "
            "exact search of the same vectors.",
            element("div", *charts, class_="charts"),
        )


def searched(result: Result) -> tuple[float, float] | None:
    """Recall and speed of the fastest trusted search that finds 95 % of the neighbours, or else of the most exact."""
    pair = _chosen(result)
    return (pair[0].value, pair[1].value) if pair else None


def _chosen(result: Result) -> tuple[Figure, Figure] | None:
    pairs = [(r, s) for r, s in _pairs(list(result.figures), "") if r.ok and s.ok]
    enough = [pair for pair in pairs if pair[0].value >= _ENOUGH]
    if enough:
        return max(enough, key=lambda pair: pair[1].value)
    return max(pairs, key=lambda pair: (pair[0].value, pair[1].value), default=None)


def chosen_search(result: Result) -> list[Figure]:
    """The figures of that search, those of one point and side: what it finds, how fast, and how long one takes."""
    pair = _chosen(result)
    if pair is None:
        return []
    setting = pair[0].name.removeprefix("recall")
    names = (pair[1].name, pair[0].name, f"latency{setting}.p50", f"latency{setting}.p99")
    here = [
        one for one in result.figures if one.side == pair[0].side and dict(one.point) == dict(pair[0].point)
    ]
    return [one for name in names for one in here if one.name == name]


def _pairs(figures: Sequence[Figure], more: str) -> list[tuple[Figure, Figure]]:
    """Recall with the throughput of the same setting and the same point."""
    known: dict[tuple[str, str], dict[str, Figure]] = {}
    for one in figures:
        base, _, setting = one.name.partition(".")
        if base in ("recall", "throughput") and setting.endswith("filtered") == bool(more):
            known.setdefault((spot(one.point), setting), {})[base] = one
    return [(own["recall"], own["throughput"]) for own in known.values() if len(own) == 2]


def _front_curves(
    pairs: Sequence[tuple[Figure, Figure]], words: str, kinds: tuple[str, str]
) -> Iterator[Curve]:
    yield Curve(
        _settings(pairs), kinds[0], [(recall.value, speed.value) for recall, speed in pairs], line=False,
        bands=[(r.value, s.low, s.high) for r, s in pairs if s.low is not None and s.high is not None],
        doubted=frozenset(recall.value for recall, speed in pairs if not (recall.ok and speed.ok)),
    )  # fmt: skip
    edge = front([(recall.value, speed.value) for recall, speed in pairs])
    if len(edge) > 1:
        yield Curve(words, kinds[1], edge, dots=False)


def _settings(pairs: Sequence[tuple[Figure, Figure]]) -> str:
    return ", ".join(dict.fromkeys(recall.name.partition(".")[2] or "search" for recall, _ in pairs))


def front(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The pairs that no other one exceeds in both, from left to right."""
    found: list[tuple[float, float]] = []
    for pair in sorted(set(pairs), reverse=True):
        if not found or pair[1] > found[-1][1]:
            found.append(pair)
    return found[::-1]


def families(result: Result) -> Iterator[Markup]:
    """Each family as a curve over its setting, at the best point of the last side."""
    side = sides(result)[-1]
    _, point = best(result, side)
    own = [one for one in result.figures if one.side == side and dict(one.point) == dict(point)]
    known: dict[tuple[str, str], list[tuple[Member, Figure]]] = {}
    for one in own:
        found = member(one.name)
        if found is not None and found.percentile in _SHOWN:
            known.setdefault((found.base, found.word), []).append((found, one))
    charts = [
        chart
        for (base, word), members in known.items()
        if len({found.value for found, _ in members}) > 1
        for chart in (_family(base, word, members), *_efficiency(base, word, members))
    ]
    if charts:
        where = f" At {spot(point)}." if point else ""
        yield section(
            "By its own settings",
            f"What one run measured at several settings.{where}",
            element("div", *charts[:_MOST], class_="charts"),
        )


def _family(base: str, word: str, members: Sequence[tuple[Member, Figure]]) -> Markup:
    groups: dict[str, list[tuple[Member, Figure]]] = {}
    for found, one in members:
        groups.setdefault(", ".join(filter(None, (found.percentile, found.more))), []).append((found, one))
    curves = [
        Curve(
            label, KINDS[index % len(KINDS)], sorted((found.value, one.value) for found, one in group),
            bands=sorted(
                (found.value, one.low, one.high)
                for found, one in group
                if one.low is not None and one.high is not None
            ),
            doubted=frozenset(found.value for found, one in group if not one.ok),
        )
        for index, (label, group) in enumerate(groups.items())
    ]  # fmt: skip
    if len(curves) > 1:
        curves = [replace(curve, label=curve.label or "unfiltered") for curve in curves]
    if (ideal := _ideal(word, members)) is not None:
        curves.insert(0, Curve("at best", "c6", ideal, dots=False))
    unit = members[0][1].unit
    labels: Mapping[float, str] = {found.value: found.label for found, _ in members}
    scale = exact([found.value for found, _ in members])
    axes = Axes(word, number, _reader(unit), x=scale, labels=dict(labels))
    title = f"{named(base)} by {word}"
    return chart_card(title, unit, plot(curves, axes, title))


def _ideal(word: str, members: Sequence[tuple[Member, Figure]]) -> list[tuple[float, float]] | None:
    """What more processes would bring at best; None for what is no rate, and for what is not varied by processes."""
    own = sorted(
        (found.value, one.value) for found, one in members if not found.more and not found.percentile
    )
    unit, better = members[0][1].unit, members[0][1].better
    if word != _COUNTS or better != "higher" or not unit.endswith("/s") or len(own) < 2 or own[0][1] <= 0:
        return None
    first, value = own[0]
    return [(at, value * at / first) for at, _ in own]


def _efficiency(base: str, word: str, members: Sequence[tuple[Member, Figure]]) -> Iterator[Markup]:
    """What there is of that, as a share of it."""
    ideal = _ideal(word, members)
    if ideal is None:
        return
    best_ = dict(ideal)
    shares = [(found.value, one.value / best_[found.value]) for found, one in members if found.value in best_]
    doubted = frozenset(found.value for found, one in members if not one.ok)
    curve = Curve("efficiency", "c3", sorted(shares), doubted=doubted)
    whole = scale([0.0, 1.0, *(share for _, share in shares)], logarithmic=False)
    axes = Axes(word, number, lambda share: f"{share:.0%}", x=exact([at for at, _ in shares]), y=whole)
    title = f"Efficiency: {named(base)} by {word}"
    yield chart_card(title, "share of the best", plot([curve], axes, title))


def _reader(unit: str) -> Reader:
    return lambda value: reading(value, unit)

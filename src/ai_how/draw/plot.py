"""Several curves in one picture, with bands for what is not certain, and bars that say from when to when. Pure.

Positions across are percentages and positions down are pixels, as in :mod:`ai_how.draw.charts`; what is stretched is
drawn in an inner picture of 1000 by 1000.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ai_how.draw.charts import Point, Reader, Scale, percent_of, scale, thin
from ai_how.draw.markup import Markup, element, join

_STRETCHED = 1000
_DOTS = 60
#: Letters of a name that fit between the picture and the edge of its card.
_BESIDE = 12
#: Pixels below which two labels at the curves' ends would overlap.
_APART = 15.0
#: A band is drawn to so many times the highest value, or as small a part of the lowest.
_BEYOND = 2.0


@dataclass(frozen=True)
class Curve:
    """One curve; ``kind`` is its colour's class. ``bands`` bound a point: (across, low, high).

    ``doubted`` are places across where the value cannot be trusted: hollow dots. Without ``line`` points stand alone.
    """

    label: str
    kind: str
    points: Sequence[Point]
    bands: Sequence[tuple[float, float, float]] = ()
    doubted: frozenset[float] = frozenset()
    line: bool = True
    dots: bool = True
    area: bool = False


@dataclass(frozen=True)
class Axes:
    """How a picture is measured: ``across`` is the axis's name.

    ``limits`` are lines across the whole; with ``names_beside`` the curves' names stand at the right edge.
    """

    across: str
    read_across: Reader
    read_down: Reader
    x: Scale | None = None
    y: Scale | None = None
    height: int = 260
    limits: Sequence[tuple[float, str]] = ()
    labels: dict[float, str] = field(default_factory=dict)
    names_beside: bool = False


def plot(curves: Sequence[Curve], axes: Axes, label: str) -> Markup:
    """The picture. ``label`` tells it to who cannot see it."""
    drawn = [curve for curve in curves if thin(curve.points)]
    if not drawn:
        return element("p", "nothing was recorded", class_="none")
    x = axes.x or scale([at for curve in drawn for at, _ in curve.points])
    y = axes.y or scale(_seen(drawn) + [limit for limit, _ in axes.limits])
    height = axes.height
    return element(
        "svg",
        _grid(x, y, axes),
        *[_limit(limit, words, y, height) for limit, words in axes.limits],
        *[_curve(curve, x, y, axes) for curve in drawn],
        *_names(drawn, x, y, axes),
        class_="chart plot", height=height, role="img", aria_label=label,
    )  # fmt: skip


def _seen(curves: Sequence[Curve]) -> list[float]:
    """What a scale has to hold: every value, and of bands what is not far from any, or they press the curves flat."""
    values = [value for curve in curves for _, value in curve.points if math.isfinite(value)]
    ends = [end for curve in curves for _, low, high in curve.bands for end in (low, high)]
    least, most = min(values, default=0.0), max(values, default=0.0)
    if least > 0:
        least, most = least / _BEYOND, most * _BEYOND
        ends = [min(max(end, least), most) for end in ends]
    return values + ends


def _grid(x: Scale, y: Scale, axes: Axes) -> Markup:
    height, parts = axes.height, []
    for tick in y.ticks:
        at = (1 - y.at(tick)) * height
        parts.append(element("line", x1="0", x2="100%", y1=at, y2=at, class_="grid"))
        parts.append(
            element("text", axes.read_down(tick), x="-10", y=at + 4, class_="tick", text_anchor="end")
        )
    for tick in x.ticks:
        place = percent_of(x.at(tick))
        parts.append(element("line", x1=place, x2=place, y1=height, y2=height + 5, class_="grid"))
        text = axes.labels.get(tick, axes.read_across(tick))
        parts.append(element("text", text, x=place, y=height + 20, class_="tick", text_anchor="middle"))
    parts.append(element("text", axes.across, x="100%", y=height + 38, class_="axis", text_anchor="end"))
    return join(*parts)


def _limit(value: float, words: str, y: Scale, height: int) -> Markup:
    if not y.low <= value <= y.high:
        return Markup("")
    at = (1 - y.at(value)) * height
    return join(
        element("line", x1="0", x2="100%", y1=at, y2=at, class_="limit"),
        element("text", words, x="6", y=at - 6, class_="tick limit-name"),
    )


def _curve(curve: Curve, x: Scale, y: Scale, axes: Axes) -> Markup:
    points = thin(curve.points)
    places = [(x.at(at) * _STRETCHED, (1 - y.at(value)) * _STRETCHED) for at, value in points]
    parts: list[Markup] = []
    if curve.bands and len(curve.bands) > 1 and curve.line:
        parts.append(_band(curve.bands, x, y))
    path = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    if curve.area:
        ends = f"L{places[-1][0]:.1f} {_STRETCHED}L{places[0][0]:.1f} {_STRETCHED}Z"
        parts.append(element("path", d=path + ends, class_="area"))
    if curve.line:
        parts.append(element("path", d=path, class_="line"))
    inner = element(
        "svg", *parts, viewBox=f"0 0 {_STRETCHED} {_STRETCHED}", preserveAspectRatio="none",
        width="100%", height=axes.height,
    )  # fmt: skip
    spread = [] if curve.line else [_whisker(one, x, y, axes.height) for one in curve.bands]
    dots = [
        _dot(curve, at, value, x, y, axes)
        for at, value in (points if curve.dots and len(points) <= _DOTS else [])
    ]
    return element("g", inner, *spread, *dots, class_=curve.kind)


def _band(bands: Sequence[tuple[float, float, float]], x: Scale, y: Scale) -> Markup:
    upper = [(x.at(at) * _STRETCHED, (1 - _within(y, high)) * _STRETCHED) for at, _, high in bands]
    lower = [(x.at(at) * _STRETCHED, (1 - _within(y, low)) * _STRETCHED) for at, low, _ in bands]
    path = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in [*upper, *reversed(lower)]) + "Z"
    return element("path", d=path, class_="band")


def _whisker(band: tuple[float, float, float], x: Scale, y: Scale, height: int) -> Markup:
    at, low, high = band
    place = percent_of(x.at(at))
    ends = ((1 - _within(y, low)) * height, (1 - _within(y, high)) * height)
    return element("line", x1=place, x2=place, y1=ends[0], y2=ends[1], class_="whisker")


def _within(y: Scale, value: float) -> float:
    """Where a band's end lies; one beyond the picture at its edge."""
    return min(1.0, max(0.0, y.at(value)))


def _dot(curve: Curve, at: float, value: float, x: Scale, y: Scale, axes: Axes) -> Markup:
    bounds = next(((low, high) for place, low, high in curve.bands if place == at), None)
    words = f"{curve.label}: {axes.read_down(value)} at {axes.labels.get(at, axes.read_across(at))}"
    if bounds is not None:
        words += f" ({axes.read_down(bounds[0])} to {axes.read_down(bounds[1])})"
    if at in curve.doubted:
        words += "; not to be trusted"
    return element(
        "circle", element("title", words), cx=percent_of(x.at(at)), cy=(1 - y.at(value)) * axes.height,
        r=4.5, class_="dot doubted" if at in curve.doubted else "dot",
    )  # fmt: skip


def _names(curves: Sequence[Curve], x: Scale, y: Scale, axes: Axes) -> list[Markup]:
    """Each curve's name at its end, moved apart where they would overlap."""
    ends: list[tuple[float, float, Curve]] = []
    for curve in curves:
        if curve.label and curve.line:
            at, value = thin(curve.points)[-1]
            ends.append(((1 - y.at(value)) * axes.height, 1.0 if axes.names_beside else x.at(at), curve))
    ends.sort(key=lambda end: end[0])
    return [
        element(
            "text",
            curve.label,
            x=percent_of(across),
            dx="10" if beside(curve) else "-10",
            y=top + 4.5,
            class_=f"name-of {curve.kind}",
            text_anchor=None if beside(curve) else "end",
        )
        for top, (_, across, curve) in zip(apart([end[0] for end in ends]), ends, strict=True)
    ]


def beside(curve: Curve) -> bool:
    """Whether there is room for a curve's name beside the picture; a longer one stands inside."""
    return len(curve.label) <= _BESIDE


def apart(places: Sequence[float], least: float = _APART) -> list[float]:
    """Ordered places moved as little as makes each ``least`` from the next: where some crowd, they spread both ways."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _top(groups[-1], least) < _top(groups[-2], least) + len(groups[-2]) * least:
            last = groups.pop()
            groups[-1] += last
    return [_top(group, least) + index * least for group in groups for index in range(len(group))]


def _top(group: Sequence[float], least: float) -> float:
    """Where the first of a group stands, when the group keeps its middle."""
    return sum(group) / len(group) - (len(group) - 1) * least / 2


def exact(values: Sequence[float], most: int = 7) -> Scale:
    """From the lowest of some values to the highest, with a line at each that is not too near to another."""
    ordered = sorted(set(values))
    low, high = ordered[0], ordered[-1]
    if high <= low:
        return Scale(low - 1, low + 1, (low,))
    bare = Scale(low, high, (), logarithmic=low > 0 and high / low > 6)
    ticks = [low]
    for value in ordered[1:-1]:
        if min(bare.at(value) - bare.at(ticks[-1]), 1 - bare.at(value)) >= 1 / most:
            ticks.append(value)
    return replace(bare, ticks=(*ticks, high))


@dataclass(frozen=True)
class Span:
    """A piece of a bar: from when to when, and what it was."""

    start: float
    end: float
    kind: str
    words: str


def spans(rows: Sequence[Sequence[Span]], total: float, label: str, height: int = 6) -> Markup:
    """Bars below one another, each cut into its pieces, over the time from 0 to ``total``."""
    step = height + 2
    bars = [
        element(
            "rect", element("title", piece.words), x=percent_of(piece.start / total),
            width=percent_of(max(piece.end - piece.start, total * 0.0008) / total), y=index * step,
            height=height, class_=f"piece {piece.kind}",
        )
        for index, row in enumerate(rows)
        for piece in row
    ]  # fmt: skip
    whole = len(rows) * step
    ticks = scale([0.0, total], logarithmic=False).ticks
    lines = [
        join(
            element(
                "line", x1=percent_of(t / total), x2=percent_of(t / total), y1="0", y2=whole, class_="grid"
            ),
            element(
                "text", f"{t:g} s", x=percent_of(t / total), y=whole + 18, class_="tick", text_anchor="middle"
            ),
        )
        for t in ticks
        if t <= total
    ]
    return element("svg", *lines, *bars, class_="chart spans", height=whole, role="img", aria_label=label)

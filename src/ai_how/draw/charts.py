"""Numbers as inline SVG. Pure; the colours and the type come from the style sheet.

Positions across are percentages and positions down are pixels, so that a chart takes any width and its text
stays as large as it was. Only curves are stretched, by an inner picture of 1000 by 1000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ai_how.draw.markup import Markup, element, join

Reader = Callable[[float], str]
"""How a value is written."""

Point = tuple[float, float]
"""A place across and the value there."""

_STRETCHED = 1000
_MOST_POINTS = 400
_MOST_DOTS = 40
#: The least that a scale spans, as a share of its values: what changes by less is to look flat.
_FLAT = 0.04


@dataclass(frozen=True)
class Scale:
    """Where a value lies between the lowest (0) and the highest (1), and the values worth a line."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        if self.logarithmic:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def scale(values: Sequence[float], *, most: int = 5, logarithmic: bool | None = None) -> Scale:
    """A scale for the values; logarithmic, unless told, when they span more than a factor of ten."""
    low, high = min(values), max(values)
    if logarithmic is None:
        logarithmic = low > 0 and high / low > 10
    return _log_scale(low, high) if logarithmic else _linear_scale(low, high, most)


def _linear_scale(low: float, high: float, most: int) -> Scale:
    size = max(abs(low), abs(high))
    if not size:
        low, high = 0.0, 1.0
    elif high - low < _FLAT * size:  # or all lines would bear the same three digits
        middle = (low + high) / 2
        low, high = middle - _FLAT * size / 2, middle + _FLAT * size / 2
    step = _step((high - low) / (most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def _log_scale(low: float, high: float) -> Scale:
    """Ticks at powers of ten, between them at 2 and 5; the ends at such a tick, the lines at fewer when many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = max(tick for tick in ticks if tick <= low * 1.0001)
    above = min(tick for tick in ticks if tick >= high * 0.9999)
    shown = [tick for tick in ticks if below <= tick <= above]
    if len(shown) > 6:
        shown = [10.0**power for power in range(first, last + 1) if below <= 10.0**power <= above]
    return Scale(below, above, tuple(shown), logarithmic=True)


def _step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def thin(points: Sequence[Point], most: int = _MOST_POINTS) -> tuple[Point, ...]:
    """At most that many of the points, evenly, with the first and the last; those that are no numbers left out."""
    finite = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if len(finite) <= most:
        return tuple(finite)
    return tuple(finite[round(number * (len(finite) - 1) / (most - 1))] for number in range(most))


def line_chart(
    points: Sequence[Point],
    *,
    part: str,
    label: str,
    across: str,
    value: Reader,
    height: int = 200,
) -> Markup:
    """A curve with its axes. ``label`` tells it to who cannot see it; ``across`` names what the steps are."""
    curve = thin(points)
    if not curve:
        return element("p", "nothing was recorded", class_="none")
    x = _span(curve)
    y = scale([point[1] for point in curve])
    return element(
        "svg",
        _across(x, across, height),
        _down(y, value, height),
        _curve(curve, x, y, height, across, value),
        _ends(curve, x, y, height, value),
        class_=f"chart {part}",
        height=height,
        role="img",
        aria_label=label,
    )


def _span(curve: Sequence[Point]) -> Scale:
    """From the first step to the last, with no room beside them."""
    low, high = curve[0][0], curve[-1][0]
    if high <= low:
        return Scale(low - 1, low + 1, (low,))
    ticks = scale([low, high], most=5, logarithmic=False).ticks
    inside = tuple(tick for tick in ticks if low <= tick <= high and tick == round(tick))
    return Scale(low, high, inside or (low, high))


def _across(x: Scale, name: str, height: int) -> Markup:
    ticks = [
        element(
            "text", f"{tick:g}", x=percent_of(x.at(tick)), y=height + 20, class_="tick", text_anchor="middle"
        )
        for tick in x.ticks
    ]
    return join(*ticks, element("text", name, x="100%", y=height + 38, class_="axis", text_anchor="end"))


def _down(y: Scale, value: Reader, height: int) -> Markup:
    lines = []
    for tick in y.ticks:
        at = (1 - y.at(tick)) * height
        lines.append(element("line", x1="0", x2="100%", y1=at, y2=at, class_="grid"))
        lines.append(element("text", value(tick), x="-10", y=at + 4, class_="tick", text_anchor="end"))
    return join(*lines)


def _curve(curve: Sequence[Point], x: Scale, y: Scale, height: int, across: str, value: Reader) -> Markup:
    places = [(x.at(step) * _STRETCHED, (1 - y.at(level)) * _STRETCHED) for step, level in curve]
    path = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    area = f"{path}L{places[-1][0]:.1f} {_STRETCHED}L{places[0][0]:.1f} {_STRETCHED}Z"
    dots = [
        element("path", element("title", f"{across} {step:g}: {value(level)}"), d=f"M{left:.1f} {top:.1f}h0")
        for (left, top), (step, level) in zip(places, curve, strict=True)
    ]
    shown = dots if len(dots) <= _MOST_DOTS else [dots[0], dots[-1]]
    return element(
        "svg",
        element("path", d=area, class_="area"),
        element("path", d=path, class_="line"),
        element("g", *shown, class_="dots"),
        viewBox=f"0 0 {_STRETCHED} {_STRETCHED}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
    )


def _ends(curve: Sequence[Point], x: Scale, y: Scale, height: int, value: Reader) -> Markup:
    """The first value, written inside where the curve is not, and the last one, written beside the chart."""
    (first_step, first), (last_step, last) = curve[0], curve[-1]
    end = (1 - y.at(last)) * height
    labels = [
        element("text", value(last), x=percent_of(x.at(last_step)), dx="10", y=end + 4.5, class_="value last")
    ]
    if len(curve) > 1:
        beside = (1 - y.at(first)) * height + (17 if last > first else -9)
        labels.append(
            element("text", value(first), x=percent_of(x.at(first_step)), dx="7", y=beside, class_="value")
        )
    return join(*labels)


def sparkline(points: Sequence[Point], part: str) -> Markup:
    """The shape of a curve and no more: decoration beside its numbers, hidden from those who hear the page."""
    curve = thin(points, 80)
    if not curve:
        return Markup("")
    x, y = _span(curve), scale([point[1] for point in curve])
    path = "M" + "L".join(
        f"{x.at(step) * _STRETCHED:.1f} {(1 - y.at(level)) * _STRETCHED:.1f}" for step, level in curve
    )
    return element(
        "svg",
        element("path", d=path, class_="line"),
        viewBox=f"0 0 {_STRETCHED} {_STRETCHED}", preserveAspectRatio="none",
        class_=f"spark {part}", aria_hidden="true",
    )  # fmt: skip


def share_bar(share: float, part: str) -> Markup:
    """A bar filled to the share, from 0 to 1. Decoration beside the number."""
    return element(
        "svg",
        element("rect", width="100%", height="100%", rx=4, class_="track"),
        element("rect", width=percent_of(share), height="100%", rx=4, class_="fill"),
        class_=f"share {part}",
        aria_hidden="true",
    )


def split_bar(setup: float, rest: float) -> Markup:
    """One bar cut into the set-up and the rest by their seconds. Decoration beside the numbers."""
    cut = setup / ((setup + rest) or 1.0)
    return element(
        "svg",
        element("rect", width=percent_of(cut), height="100%", class_="fill set-up"),
        element("rect", x=percent_of(cut), width=percent_of(1 - cut), height="100%", class_="fill rest"),
        class_="share",
        aria_hidden="true",
    )


def percent_of(share: float) -> str:
    """A share as a place across a picture."""
    return f"{min(max(share, 0.0), 1.0) * 100:.2f}".rstrip("0").rstrip(".") + "%"

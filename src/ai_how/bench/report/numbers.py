"""Figures as people read them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ai_how.bench.model import Figure, Result, spot
from ai_how.draw.markup import Markup, element, join
from ai_how.draw.words import THIN

#: From which size on a number is told in what: what three digits round up to a thousand is told in the next.
_LARGE = ((999.5e9, 1e12, "T"), (999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (9999.5, 1e3, "k"))
#: Colours of curves, in order.
KINDS = ("c1", "c2", "c3", "c4", "c5", "c6")
_NAMES = {
    "latency": "latency", "latency_sent": "latency from sending", "first_token": "time to first token",
    "first_token_sent": "first token from sending", "token": "time a token", "gap": "gap between events",
    "tokens": "output tokens", "throughput": "throughput", "goodput": "goodput",
}  # fmt: skip


def number(value: float) -> str:
    """Three digits that mean something, large ones in thousands: ``0.23``, ``18.4``, ``1,240``, ``143 k``."""
    size = abs(value)
    for least, factor, letter in _LARGE:
        if size >= least:
            return f"{value / factor:.3g}{THIN}{letter}"
    if size >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def milliseconds(value: float) -> str:
    """``0.23 ms``, ``18.4 ms``, ``2.1 s``, from milliseconds."""
    if value >= 9999.5:
        return f"{value / 1000:.3g}{THIN}s"
    return f"{value:,.0f}{THIN}ms" if value >= 999.5 else f"{value:.3g}{THIN}ms"


def reading(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit == "ms":
        return milliseconds(value)
    if unit == "s" and 0 < abs(value) < 0.1:
        return milliseconds(1000 * value)
    if unit in ("B", "B/s"):
        return bytes_of(value) + unit[1:]
    if unit == "share":
        text = f"{100 * value:.3g}"
        return f"{'99.9' if text == '100' and value < 1 else text}{THIN}%"  # all of it is all of it alone
    if unit == "1/s":
        return f"{number(value)}{THIN}/s"
    return f"{number(value)}{THIN}{unit}" if unit else number(value)


def bytes_of(value: float) -> str:
    """``312 MB``."""
    for factor, letter in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g}{THIN}{letter}"
    return f"{value:.0f}{THIN}B"


def named(name: str) -> str:
    """A figure's name in words: ``latency, p99``."""
    base, _, percentile = name.partition(".")
    words = _NAMES.get(base, base.replace("_", " "))
    # Percentiles such as p99.9 keep their point.
    return ", ".join([words, *re.split(r"\.(?!\d+$)", percentile)]) if percentile else words


def shown(figure: Figure) -> Markup:
    """A figure's value, struck through where it failed its verdict."""
    text = reading(figure.value, figure.unit)
    return element("span", text, class_="ok" if figure.ok else "struck")


def bounds_shown(figure: Figure) -> Markup:
    """Its interval, struck through as its value is."""
    whole = figure.low is not None and figure.high is not None
    return element("span", bounds(figure), class_="struck" if whole and not figure.ok else None)


def bounds(figure: Figure) -> str:
    """Its interval; what there is instead where runs are too few for one."""
    if figure.low is not None and figure.high is not None:
        return f"{reading(figure.low, figure.unit)} to {reading(figure.high, figure.unit)}"
    return "one run" if len(figure.runs) == 1 else f"{len(figure.runs)} runs, no interval"


def place(figure: Figure) -> str:
    """Point and side of a figure in words."""
    side = f"side {figure.side}" if figure.side else ""
    return ", ".join(part for part in (side, spot(figure.point)) if part)


def sides(result: Result) -> Sequence[str]:
    return ("a", "b") if result.recipe.against else ("",)


def verdict_of(figure: Figure) -> Markup:
    """✓, or ✗ with the reasons to be seen."""
    if figure.ok:
        return element("span", "✓", class_="right")
    return join(element("span", "✗", class_="wrong"), " ", element("small", "; ".join(figure.reasons[:3])))

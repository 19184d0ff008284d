"""The bars of the phases and their axis, as inline SVG. Pure."""

from __future__ import annotations

from ai_how.draw.charts import percent_of
from ai_how.draw.markup import Markup, element
from ai_how.draw.words import seconds
from ai_how.site.report.model import Phase


def time_ticks(total: float, most: int = 7) -> tuple[float, ...]:
    """Round seconds from 0 up to the total, at most that many."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((step for step in steps if total / step < most), 7200.0)
    return tuple(round(number * step, 1) for number in range(int(total / step) + 1))


def phase_bar(phase: Phase, total: float) -> Markup:
    """Where a phase lies in the whole. Its name and its seconds stand beside it as text."""
    lines = [
        element(
            "line", x1=percent_of(tick / total), x2=percent_of(tick / total), y1="0", y2="100%", class_="grid"
        )
        for tick in time_ticks(total)
    ]
    bar = element(
        "rect", element("title", f"{phase.name}: {seconds(phase.seconds)}, from {seconds(phase.start)}"),
        x=percent_of(phase.start / total), width=percent_of(max(phase.seconds / total, 0.006)),
        y="9", height="14", rx=4, class_=f"fill {phase.part}",
    )  # fmt: skip
    return element("svg", *lines, bar, class_="bar", aria_hidden="true")


def time_axis(total: float) -> Markup:
    """The seconds below the bars of the phases."""
    labels = [
        element(
            "text", f"{tick:g}", x=percent_of(tick / total), y="14", class_="tick",
            text_anchor="start" if tick == 0 else "middle",
        )
        for tick in time_ticks(total)
    ]  # fmt: skip
    return element("svg", *labels, class_="bar axis", aria_hidden="true")

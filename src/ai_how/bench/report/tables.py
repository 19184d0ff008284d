"""Figures, verdicts, sides, machine and recipe as tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ai_how.bench.compare import sides_compared
from ai_how.bench.model import Figure, Result
from ai_how.bench.report.numbers import bounds_shown, named, place, reading, shown, verdict_of
from ai_how.bench.verdict import Check, checks, drift
from ai_how.draw.markup import Markup, element, join
from ai_how.draw.page import section, table
from ai_how.draw.words import memory
from ai_how.errors import AiHowError
from ai_how.spec.bench import override

#: Runs whose checks are shown singly.
_MOST_RUNS = 40
#: Figures that few ask for.
_FINER = ("latency_sent", "first_token_sent", "gap")


def figure_rows(result: Result) -> Markup:
    """Every figure with its interval and its verdict; those that few ask for are folded away."""
    plain = [one for one in result.figures if not one.name.startswith(_FINER)]
    finer = [one for one in result.figures if one.name.startswith(_FINER)]
    parts = [_figure_table(plain)]
    if finer:
        words = element("summary", f"{len(finer)} more: from the instant of sending, and between events")
        parts.append(element("details", words, _figure_table(finer)))
    return element("div", *parts, class_="figures-table")


def _figure_table(figures: Sequence[Figure]) -> Markup:
    several = any(place(one) for one in figures)
    head = ("Figure", *(("Where",) if several else ()), "Value", "95 % interval", "Verdict")
    rows = [
        (named(one.name), *((place(one),) if several else ()), shown(one), bounds_shown(one), verdict_of(one))
        for one in figures
    ]
    return table(head, rows, numbers=(2,) if several else (1,))


def verdicts(result: Result) -> Iterator[Markup]:
    """What was checked in each run: each check a column, each run a row."""
    every = [run for run in result.runs if run.purpose == "run"]
    if not every:
        return
    runs = every[:_MOST_RUNS]
    made: list[tuple[str, tuple[Check, ...]]] = []
    for run in runs:
        side = override(result.recipe, result.recipe.against if run.side == "b" else {})
        where = f"{run.number}{f' {run.side}' if run.side else ''}"
        point = ", ".join(str(value) for value in run.point.values())
        made.append((f"{where} at {point}" if point else where, checks(override(side, dict(run.point)), run)))
    whole = max((own for _, own in made), key=len)
    names = [name for name in dict.fromkeys(check.name for own in (whole, *(own for _, own in made)) for check in own)
             if any(check.told for _, own in made for check in own if check.name == name)]  # fmt: skip
    rows = []
    for label, own in made:
        known = {check.name: check for check in own}
        cells = []
        for name in names:
            check = known.get(name)
            if check is None or not check.told:
                cells.append(element("span", "–", class_="note"))
            else:
                cells.append(element("span", check.told, class_="wrong" if check.reason else None))
        rows.append((label, *cells))
    changed = drift(every)
    lead = "What every figure of a run stands or falls by. " + (
        changed[0] + "." if changed else "The machine itself was the same before every run."
    )
    if len(every) > len(runs):
        lead += f" The first {len(runs)} of {len(every)} runs."
    yield section("The verdict", lead, element("div", table(("Run", *names), rows), class_="verdicts"))


def sides_table(result: Result) -> Iterator[Markup]:
    """The two sides, what changed and what could have been found."""
    if not result.recipe.against:
        return
    lead = "Side b has " + ", ".join(f"{key} {value}" for key, value in result.recipe.against.items())
    try:
        found = sides_compared(result)
    except AiHowError as error:
        lines = [error.message, error.cause, *(error.detail or "").splitlines()]
        words = join(*[element("p", line, class_="note") for line in lines if line])
        yield section("The two sides", f"{lead}; both were measured in turns.", words)
        return
    units = {one.key: one.unit for one in result.figures}
    rows = []
    for one in found.changes:
        worse = one.found and one.worse_by(0.0)
        said = "worse" if worse else "better" if one.found else "no change found"
        least = f"{one.detectable:.1%}" if one.detectable is not None else "–"
        kind = "wrong" if worse else "right" if one.found else "note"
        change = (f"{one.change:+.1%}", f"{one.chance:.3f}", least)
        said_so = element("span", said, class_=kind)
        unit = units.get(one.figure, "")
        name, _, at = one.figure.partition(" at ")
        label = f"{named(name)} at {at}" if at else named(name)
        rows.append((label, reading(one.before, unit), reading(one.after, unit), *change, said_so))
    head = ("Figure", "Side a", "Side b", "Change", "By chance", "Would be found from", "")
    shown_rows = element("div", table(head, rows, numbers=(1, 2, 3, 4, 5)), class_="figures-table")
    yield section("The two sides", f"{lead}; both were measured in turns.", shown_rows)


def environment(result: Result) -> Markup:
    """Where it was measured, and on what."""
    facts = dict(result.environment)
    size = facts.pop("memory_bytes", None)
    rows = [("memory", memory(size))] if size else []
    rows += [
        (key.replace("_", " "), _plain(value)) for key, value in facts.items() if value not in (None, {}, [])
    ]
    for where, own in result.service.items():
        if isinstance(own, Mapping):
            rows += [
                (f"{where}: {key}", _plain(value)) for key, value in own.items() if value not in (None, "")
            ]
    for run in result.runs[:1]:
        rows += [
            (f"generator {one.process} on {one.node}",
             f"{one.sent:,} requests, clock {one.offset_ms:+.3f} ms ± {one.error_ms:.3f} ms")
            for one in run.generators
        ]  # fmt: skip
    found = result.calibration
    if found is not None:
        late = f", {found.lag_p99_ms:.2f} ms late at p99" if found.lag_p99_ms is not None else ""
        rows.append(("generator’s ceiling", f"{found.ceiling:,.0f} requests/s{late}"))
    return section("Where it was measured", None, element("div", table((), rows), class_="facts"))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner not in (None, ""))
    if isinstance(value, list | tuple):
        return " ".join(_plain(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def recipe(result: Result) -> Markup:
    """The recipe with all its defaults; the same again is one command."""
    text = yaml.safe_dump(
        _written(result.recipe.model_dump(mode="json")), sort_keys=False, allow_unicode=True
    )
    return section(
        "Do it again",
        "The recipe with every default written out; `ai-how bench run --from RESULT` runs it.",
        element("details", element("summary", "The whole recipe"), element("pre", element("code", text))),
    )


def _written(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    return {
        key: _written(value) if isinstance(value, Mapping) else value
        for key, value in facts.items()
        if value not in (None, {}, [], "")
    }

"""What `ai-how bench` prints of results: figures with their verdicts, comparisons, lists."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ai_how.cli.output import err, out, print_json
from ai_how.errors import UsageError

if TYPE_CHECKING:
    from ai_how.bench.compare import Comparison
    from ai_how.bench.model import Figure, Result

#: Figures that few ask for: from the instant of sending, and between events.
_FINER = ("latency_sent", "first_token_sent", "gap")
#: Keys of a run that fill pages.
_BULKY = ("histograms", "series", "examples")


def show(args: argparse.Namespace) -> int:
    from ai_how.bench.results import read_result

    result = read_result(args.result)
    if args.json:
        print_json(facts_of(result))
    else:
        tell(result, args.all)
    return strict(args, result)


def strict(args: argparse.Namespace, result: Result) -> int:
    trusted = bool(result.figures) and all(figure.ok for figure in result.figures)
    return 1 if args.strict and not trusted else 0


def facts_of(result: Result) -> dict[str, Any]:
    """The record without the histograms, which fill pages."""
    facts = result.model_dump(mode="json")
    for one in (*facts["runs"], *facts["spoilt"]):
        for key in _BULKY:
            del one[key]
    return facts


def tell(result: Result, everything: bool) -> None:
    from rich.table import Table

    recipe = result.recipe
    sent = sum(run.sent for run in result.runs)
    errors = sum((Counter(run.errors) for run in result.runs), Counter[str]())
    failed = errors.total()
    counts = f"{_some(len(result.runs), 'run')}, {_some(sent, 'request')}, {failed:,} failed"
    out.print(f"[bold]{recipe.name}[/]  {escape('  '.join(filter(None, (result.address, counts))))}")
    if result.spoilt:
        again = "run was" if len(result.spoilt) == 1 else "runs were"
        out.print(f"{len(result.spoilt)} {again} measured again: this machine sent too late", style="dim")
    if result.partial:
        out.print(f"[yellow]partial:[/] {escape(result.partial)}")
    for kind, count in errors.most_common():
        out.print(f"  {count:,} failed: {kind}", style="red", markup=False)
    _generator(result)
    _answers(result)
    if not result.figures:
        why = "No request was answered as it should be" if result.runs else "No run came to its end"
        out.print(f"{why}, so there are no figures.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("figure", "value", "95 % interval", "each run", "verdict"):
        table.add_column(name, justify="right" if name == "value" else "left")
    shown = [one for one in result.figures if everything or not one.name.startswith(_FINER)]
    for figure in shown:
        table.add_row(*_row(figure))
    out.print(table, soft_wrap=False)
    reasons = dict.fromkeys(reason for figure in shown for reason in figure.reasons)
    if reasons:
        out.print("\nNot to be trusted, and in no comparison, is what is struck through:")
    for reason in reasons:
        out.print(f"  - {reason}", markup=False)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _answers(result: Result) -> None:
    """What a search found, and the answers in a centre's own units."""
    from ai_how.bench.answers import answers

    for found in result.saturation:
        side = f"side {found.side}: " if found.side else ""
        met = "no load" if found.met is None else f"{found.key} {found.met:g}"
        missed = "" if found.missed is None else f", {found.missed:g} does not"
        once = "" if found.met is None or found.share else " (not confirmed)"
        out.print(f"{side}[bold]{met}[/] meets the objective{once}{missed}")
    for one in answers(result):
        value = f"{_number(one.value)} {one.unit}"
        out.print(f"{one.words}: " + (f"[bold]{value}[/]" if one.ok else f"[strike dim]{value}[/]"))


def _generator(result: Result) -> None:
    found = result.calibration
    if found is None:
        return
    late = f", {found.lag_p99_ms:.2f} ms late at p99" if found.lag_p99_ms is not None else ""
    out.print(
        f"generator: {found.ceiling:,.0f} requests a second at most{late}, {found.floor_ms:.3f} ms for an empty answer",
        style="dim",
    )


def _row(figure: Figure) -> Iterable[str]:
    value, name = f"{_number(figure.value)} {figure.unit}", figure.key
    if figure.side:
        name += f", side {figure.side}"
    low, high = figure.low, figure.high
    bounds = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    runs = " ".join(map(_number, figure.runs[:5])) + (" ..." if len(figure.runs) > 5 else "")
    if figure.ok:
        return escape(name), value, bounds, runs, "[green]ok[/]"
    mark = "[red]not ok[/]"
    return escape(name), f"[strike dim]{value}[/]", f"[strike dim]{bounds}[/]", f"[dim]{runs}[/]", mark


def _number(value: float) -> str:
    """Four digits that mean something, of small ones three."""
    if 0 < abs(value) < 0.1:
        return f"{value:.3g}"
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 10 else 3}f}"


# --- compare ------------------------------------------------------------------------------------------


def compare(args: argparse.Namespace) -> int:
    from ai_how.bench.compare import compared, sides_compared
    from ai_how.bench.results import read_result

    before = read_result(args.before)
    if args.after is None and not before.recipe.against:
        raise UsageError(
            "one result, and it has no two sides",
            where=str(args.before),
            todo="Name a second result, or measure two sides in turns: `against` in the recipe.",
        )
    found = (
        sides_compared(before, args.figure, args.allow / 100)
        if args.after is None
        else compared(before, read_result(args.after), args.figure, args.allow / 100)
    )
    if args.json:
        print_json(comparison_of(found))
    else:
        tell_comparison(found)
    return 1 if found.outcome == "worse" else 0


def comparison_of(found: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "outcome": found.outcome,
        "allowed": found.allowed,
        "figures": [
            asdict(change) | {"found": change.found, "worse": change.worse_by(found.allowed)}
            for change in found.changes
        ],
        "left_out": {name: list(reasons) for name, reasons in found.left_out.items()},
        "environment": list(found.environment),
    }


def tell_comparison(found: Comparison) -> None:
    from rich.table import Table

    for line in found.environment:
        err.print(f"[yellow]warning:[/] measured on different machines: {escape(line)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("figure", "before", "after", "change", "by chance", "would be found", ""):
        table.add_column(name)
    for change in found.changes:
        words = (
            ""
            if not change.found
            else "[red]worse[/]"
            if change.worse_by(found.allowed)
            else "[cyan]changed[/]"
        )
        least = "" if change.detectable is None else f"{change.detectable:.1%}"
        table.add_row(
            change.figure, _number(change.before), _number(change.after), f"{change.change:+.1%}",
            f"{change.chance:.3f}", least, words,
        )  # fmt: skip
    out.print(table, soft_wrap=False)
    for name, reasons in found.left_out.items():
        out.print(f"left out: {name}: {'; '.join(reasons)}", style="dim", markup=False)
    out.print(f"\n{found.outcome}")


# --- list ---------------------------------------------------------------------------------------------


def list_(args: argparse.Namespace) -> int:
    from ai_how.bench.results import listed

    rows = listed(args.folder)
    if args.json:
        print_json([row._asdict() | {"path": str(row.path)} for row in rows])
        return 0
    if not rows:
        out.print(f"no recipe and no result in {args.folder}", markup=False)
        return 0
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("file", "kind", "name", "target", "when", "runs", "trusted", ""):
        table.add_column(name)
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.started)) if row.started else ""
        trusted = f"{row.trusted} of {row.figures}" if row.figures is not None else ""
        note = (
            f"[red]{escape(row.problem)}[/]" if row.problem else "[yellow]partial[/]" if row.partial else ""
        )
        runs = "" if row.runs is None else str(row.runs)
        table.add_row(
            escape(_beside(row.path, args.folder)),
            row.kind,
            row.name,
            escape(row.target),
            when,
            runs,
            trusted,
            note,
        )
    out.print(table, soft_wrap=False)
    return 0


def _beside(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

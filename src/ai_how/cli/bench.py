"""Measure a service under load, by a recipe; show a result; compare two.

ai-how bench run RECIPE [--out FILE] [--strict]
ai-how bench run --from RESULT
ai-how bench show RESULT
ai-how bench compare BEFORE AFTER [--allow PERCENT] [--figure NAME]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of
from ai_how.errors import AiHowError, CouldNotTell, NotFound, UsageError

if TYPE_CHECKING:
    from ai_how.bench.compare import Comparison
    from ai_how.bench.interfaces import Place
    from ai_how.bench.model import Figure, Result
    from ai_how.bench.work import Progress
    from ai_how.spec.bench import BenchRecipe

VERBS = {
    "run": "measure by a recipe, and write the result to a file",
    "show": "show a result: every figure with its verdict",
    "compare": "compare two results; ends with 1 when a figure got worse",
}
#: Figures that few ask for: from the instant of sending, and between events.
_FINER = ("latency_sent", "first_token_sent", "gap")
EXIT_INTERRUPTED = 130


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    run_, show, compare = (
        verbs.add_parser(name, help=line, description=line) for name, line in VERBS.items()
    )
    run_.add_argument("recipe", type=Path, nargs="?", help="the bench recipe's file")
    run_.add_argument(
        "--from", type=Path, dest="result", metavar="RESULT", help="run what a result was measured by"
    )
    run_.add_argument(
        "--out", type=Path, metavar="FILE", help="where the result goes (default: NAME-TIME.json here)"
    )
    run_.add_argument("--strict", action="store_true", help="end with 1 when a figure fails its verdict")
    site_arguments(run_)
    show.add_argument("result", type=Path, help="a result's file")
    show.add_argument("--strict", action="store_true", help="end with 1 when a figure fails its verdict")
    compare.add_argument("before", type=Path, help="the result to compare with")
    compare.add_argument("after", type=Path, help="the result that may be worse")
    compare.add_argument(
        "--allow",
        type=float,
        default=5.0,
        metavar="PERCENT",
        help="how much worse a figure may be (default: 5)",
    )
    compare.add_argument(
        "--figure", action="append", default=[], metavar="NAME", help="a figure to compare; may be repeated"
    )
    for verb in (run_, show):
        verb.add_argument("--all", action="store_true", help="show the finer figures too")
    for verb in (run_, show, compare):
        json_argument(verb)


def run(args: argparse.Namespace) -> int:
    return {"run": _run, "show": _show, "compare": _compare}[args.verb](args)


# --- run ----------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    from ai_how.bench.control import Bench
    from ai_how.bench.load import INTERRUPTED
    from ai_how.bench.log import FileLog

    recipe = _recipe(args)
    path = args.out or Path(time.strftime(f"{recipe.name}-%Y%m%d-%H%M%S.json"))
    with _watched() as (heard, say), _place(args, recipe) as place:
        result = Bench(recipe, place, log=FileLog(path, say), heard=heard, say=say).run()
    keep(path, result)
    if args.json:
        print_json(_facts(result) | {"result": str(path)})
    else:
        _print(result, args.all)
        out.print(f"\nthe result is in {path}", markup=False)
    if result.partial:
        return EXIT_INTERRUPTED if result.partial.endswith(INTERRUPTED) else CouldNotTell.exit_code
    return _strict(args, result) if result.figures else CouldNotTell.exit_code


def _recipe(args: argparse.Namespace) -> BenchRecipe:
    from ai_how.bench.results import read_result
    from ai_how.run.files import read_whole
    from ai_how.spec.bench import parse_bench

    if (args.recipe is None) == (args.result is None):
        raise UsageError("name a recipe's file, or a result after --from: one of the two")
    if args.result is not None:
        return read_result(args.result).recipe
    try:
        text = read_whole(args.recipe)
    except NotFound as error:
        raise NotFound(
            error.message, where=error.where, todo="`examples/bench/` has some to copy."
        ) from error
    return parse_bench(text, str(args.recipe))


@contextmanager
def _place(args: argparse.Namespace, recipe: BenchRecipe) -> Iterator[Place]:
    """Where it is measured: a scratch folder, and the address and the token of the recipe or of the site's gateway."""
    import tempfile

    from ai_how.bench.interfaces import Place
    from ai_how.bench.targets.web import address_of
    from ai_how.run import LocalGate

    url, token = _where(args, recipe)
    with tempfile.TemporaryDirectory(prefix="ai-how-bench-") as folder:
        yield Place(LocalGate(), Path(folder), address_of(url) if url else None, token)


def _where(args: argparse.Namespace, recipe: BenchRecipe) -> tuple[str | None, str | None]:
    variable = recipe.target.token_variable
    if variable is not None and not os.environ.get(variable):
        raise NotFound(
            f"the recipe takes the token from ${variable}, and that is not set", todo=f"export {variable}=..."
        )
    token = os.environ[variable] if variable else None
    if recipe.target.url is not None:
        return recipe.target.url, token
    site = site_of(args)
    return site.gateway_url, token or site.gateway_token


def keep(path: Path, result: Result) -> None:
    """Write the result; where the disk refuses, it goes to the terminal rather than be lost."""
    from ai_how.bench.results import write_result

    try:
        write_result(path, result)
    except OSError as error:
        print(result.model_dump_json())
        raise AiHowError(
            f"the result could not be written: {error.strerror or error}",
            where=str(path),
            cause="it stands on standard output instead, as one line of JSON",
            todo="Keep that line in a file; `ai-how bench show` reads it.",
        ) from error


@contextmanager
def _watched() -> Iterator[tuple[Callable[[str, Progress], None] | None, Callable[[str], None]]]:
    """How it goes: a line that changes on a terminal, a line for each thing that happens elsewhere."""
    if not err.is_terminal:
        yield None, (lambda text: err.print(text, markup=False))
        return
    with err.status("") as status:
        yield (
            lambda words, progress: status.update(_line(words, progress)),
            lambda text: status.console.print(text, style="dim", markup=False),
        )


def _line(words: str, progress: Progress) -> str:
    of = f" of {progress.intended:,}" if progress.intended is not None else ""
    failed = f"  [red]{progress.failed:,} failed[/]" if progress.failed else ""
    return (
        f"{words}  {progress.seconds:5.1f} s  {progress.sent:,}{of} sent  {progress.good:,} answered{failed}"
    )


# --- show ---------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    from ai_how.bench.results import read_result

    result = read_result(args.result)
    if args.json:
        print_json(_facts(result))
    else:
        _print(result, args.all)
    return _strict(args, result)


def _strict(args: argparse.Namespace, result: Result) -> int:
    trusted = bool(result.figures) and all(figure.ok for figure in result.figures)
    return 1 if args.strict and not trusted else 0


def _facts(result: Result) -> dict[str, Any]:
    """The record without the histograms, which fill pages."""
    facts = result.model_dump(mode="json")
    for one in facts["runs"]:
        del one["histograms"], one["series"], one["examples"]
    return facts


def _print(result: Result, everything: bool) -> None:
    from collections import Counter

    from rich.table import Table

    recipe = result.recipe
    sent = sum(run.sent for run in result.runs)
    errors = sum((Counter(run.errors) for run in result.runs), Counter[str]())
    failed = errors.total()
    out.print(
        f"[bold]{recipe.name}[/]  {result.address}  {len(result.runs)} runs, {sent:,} requests, {failed:,} failed"
    )
    if result.partial:
        out.print(f"[yellow]partial:[/] {result.partial}")
    for kind, count in errors.most_common():
        out.print(f"  {count:,} failed: {kind}", style="red", markup=False)
    _generator(result)
    if not result.figures:
        out.print("No request was answered as it should be, so there are no figures.")
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
    value = f"{_number(figure.value)} {figure.unit}"
    low, high = figure.low, figure.high
    bounds = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    runs = " ".join(map(_number, figure.runs[:5])) + (" ..." if len(figure.runs) > 5 else "")
    if figure.ok:
        return figure.key, value, bounds, runs, "[green]ok[/]"
    mark = "[red]not ok[/]"
    return figure.name, f"[strike dim]{value}[/]", f"[strike dim]{bounds}[/]", f"[dim]{runs}[/]", mark


def _number(value: float) -> str:
    """Four digits that mean something."""
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 10 else 3}f}"


# --- compare ------------------------------------------------------------------------------------------


def _compare(args: argparse.Namespace) -> int:
    from ai_how.bench.compare import compared
    from ai_how.bench.results import read_result

    before, after = read_result(args.before), read_result(args.after)
    found = compared(before, after, args.figure, args.allow / 100)
    if args.json:
        print_json(_comparison(found))
    else:
        _told(found)
    return 1 if found.outcome == "worse" else 0


def _comparison(found: Comparison) -> dict[str, Any]:
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


def _told(found: Comparison) -> None:
    from rich.table import Table

    for line in found.environment:
        err.print(f"[yellow]warning:[/] measured on different machines: {line}")
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

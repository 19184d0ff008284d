"""SQL by pgbench: transactions a second, latency; with a rate also its schedule lag, what was late, what skipped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.steady import judge
from ai_how.bench.targets.driven import Driven, Nothing
from ai_how.bench.targets.fio import working_folder
from ai_how.bench.targets.job import Ran, Runner, runner
from ai_how.bench.targets.postgresql import beside
from ai_how.errors import AiHowError, CommandFailed, CouldNotTell, UsageError
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Sql as Asked

_TPS = re.compile(r"^tps = ([\d.]+) \(without", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


def argv(asked: Asked, recipe: BenchRecipe, words: Sequence[str], log: Path, number: int) -> tuple[str, ...]:
    """pgbench's command line. Pure. Raises :class:`UsageError` for a load that it has no words for."""
    load = recipe.load
    clients = load.clients if load.arrivals == "closed" else load.connections
    found = [
        "pgbench", f"--builtin={asked.script}", f"--client={clients}", f"--jobs={min(asked.threads, clients)}",
        f"--time={max(1, round(load.seconds))}", f"--random-seed={load.seed + number - 1}", "--no-vacuum", "--log",
        f"--log-prefix={log}", "--protocol=prepared",
    ]  # fmt: skip
    if load.arrivals == "poisson":
        found.append(f"--rate={load.rate:g}")
        if asked.limit_ms is not None:
            found.append(f"--latency-limit={asked.limit_ms:g}")
    elif load.arrivals != "closed":
        raise UsageError(
            f"pgbench knows no arrivals of the kind '{load.arrivals}'", todo="It knows closed and poisson."
        )
    return (*found, *words)


def parse(report: str, log: str, asked: Asked, recipe: BenchRecipe) -> Measured:
    """pgbench's report and its log of single transactions as figures. Pure. Raises :class:`CouldNotTell`."""
    rate = _TPS.search(report)
    if rate is None:
        raise CouldNotTell("pgbench's report is not what it should be", detail=report[-500:])
    rated = recipe.load.arrivals == "poisson"
    try:
        rows = sorted(_rows(log, rated))
    except (IndexError, ValueError) as error:
        raise CouldNotTell("pgbench's log is not what it should be", cause=repr(error)) from error
    skipped = sum(line.split(" ")[2] == "skipped" for line in log.splitlines())
    late = sum(asked.limit_ms is not None and row.took > asked.limit_ms * 1000 for row in rows)
    steady = judge([float(row.took) for row in rows])
    kept = rows[steady.cut if recipe.warmup == "test" else 0 :]
    histograms = {"latency": Histogram(row.took * 1000 for row in kept)}
    failed = _FAILED.search(report)
    lost = int(failed[1]) if failed else 0
    all_ = len(rows) + skipped
    values = {"throughput": Value(value=float(rate[1]), unit="1/s")}
    if rated:
        histograms["schedule_lag"] = Histogram(row.lag * 1000 for row in kept)
    if rated and asked.limit_ms is not None and all_:
        values["late"] = Value(value=late / all_, unit="share", better="lower")
        values["skipped"] = Value(value=skipped / all_, unit="share", better="lower")
    return Measured(
        seconds=recipe.load.seconds,
        histograms=histograms,
        values=values,
        intended=all_ if rated else None,
        sent=len(rows) + lost,
        good=len(rows),
        errors={"transaction failed": lost} if lost else {},
        achieved=_achieved(rows) if rated and not skipped else None,
        cut=len(rows) - len(kept),
        steady=steady.ok,
        steady_why=steady.why,
        cache="warm",
        reasons=() if rows else ("no transaction was done",),
        notes={"report": report.strip().splitlines(), "skipped": skipped, "late": late},
    )


class Row(NamedTuple):
    """A transaction that was done, in whole microseconds: when it was due, how long it took from then, and by how
    much it began late.
    """

    due: int
    took: int
    lag: int


def _rows(log: str, rated: bool) -> Iterator[Row]:
    for line in log.splitlines():
        fields = line.split(" ")
        if fields[2] not in ("skipped", "failed"):
            took = int(fields[2])
            ended = int(fields[4]) * 1_000_000 + int(fields[5])
            yield Row(ended - took, took, int(fields[6]) if rated else 0)


def _achieved(rows: Sequence[Row]) -> float | None:
    """The rate at which transactions began, as a share of the rate at which they were due. Pure."""
    if len(rows) < 2:
        return None
    begun = [row.due + row.lag for row in rows]
    return (rows[-1].due - rows[0].due) / max(max(begun) - min(begun), 1)


class Sql:
    """PostgreSQL: one that is there, or one beside pgbench."""

    api = "sql"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.sql or Asked()
        return Nothing({"server": asked.server or "its own, by a Unix socket", "scale": asked.scale})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """One run of pgbench, on tables made anew. Raises :class:`CommandFailed` with what it said when it could not."""
    asked = recipe.workload.sql or Asked()
    words = (asked.server,) if asked.server else ()
    make = ("pgbench", "--initialize", f"--scale={asked.scale}", "--quiet", *words)
    # On somebody's server tables are made by a step of their own, which fails where they are there already: only what
    # was made is dropped.
    makes = tuple((*make, f"--init-steps={steps}") for steps in ("t", "gvp")) if asked.server else (make,)
    with working_folder(None, recipe, place) as folder:
        ask = argv(asked, recipe, words, folder / "log", number)
        limit = recipe.load.seconds + 3600
        run = runner(place, recipe.target.job, recipe.name)
        settings = {"max_connections": str(max(100, recipe.load.clients + 10, recipe.load.connections + 10))}
        commands = beside(place, asked.server, (*makes, ask), folder, settings=settings, timeout=limit)
        if asked.server is None:
            rans = [run(one) for one in commands]
        else:
            drop = ("pgbench", "--initialize", "--init-steps=d", *words)
            rans = there(run, commands, beside(place, asked.server, (drop,), folder, timeout=limit)[0])
        log = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("log.*")))
    found = parse(rans[-1].done.stdout, log, asked, recipe)
    return with_notes(found, {"job": rans[-1].job, "node": rans[-1].node, "command": " ".join(ask)})


def there(run: Runner, commands: Sequence[Command], drop: Command) -> list[Ran]:
    """Run them on somebody's server: the first makes the tables, and once it has, they are dropped whatever happens.

    Raises :class:`UsageError` where tables of those names are there already, and leaves them alone.
    """
    first, *others = commands
    try:
        made = run(first)
    except CommandFailed as error:
        if "already exists" not in (error.detail or ""):
            raise
        raise UsageError(
            "the database has pgbench's tables already",
            cause="a benchmark makes its own, and what is in those would be lost",
            todo=f"Name another database, or drop them: `{shlex.join(drop.argv)}`.",
        ) from error
    try:
        return [made, *(run(one) for one in others)]
    finally:
        with suppress(AiHowError):
            run(drop)


def with_notes(found: Measured, notes: Mapping[str, Any]) -> Measured:
    """The same with more to keep. Pure."""
    return Measured(**{**vars(found), "notes": {**found.notes, **notes}})


TARGET = Sql()

"""Results for other programs: JSON, CSV, Parquet, OpenMetrics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai_how.bench.model import Figure, Result, spot
from ai_how.bench.samples import read_table, write_table
from ai_how.errors import AiHowError, NotFound, UsageError
from ai_how.run import write_whole


def exported(source: Path, result: Result, form: str, samples: bool, out: Path | None) -> str | None:
    """Write it to ``out``, or hand the text back. Raises :class:`UsageError` for what has no such form."""
    if samples and form not in ("csv", "parquet"):
        raise UsageError(f"single requests have no form '{form}'", todo="Take csv or parquet.")
    if form == "parquet" and out is None:
        raise UsageError("Parquet is no text", todo="Name a file with --out.")
    if samples or form == "parquet":
        table = _samples(source, result) if samples else figure_table(result)
        if out is None:
            return _csv(table)
        _written(lambda: write_table(out, table), out)
        return None
    text = {"json": _json, "csv": lambda one: _csv(figure_table(one)), "openmetrics": openmetrics}[form](
        result
    )
    if out is None:
        return text
    _written(lambda: write_whole(out, text, mode=0o644), out)
    return None


def _written(write: Any, path: Path) -> None:
    try:
        write()
    except OSError as error:
        raise AiHowError(f"it could not be written: {error.strerror or error}", where=str(path)) from error


def _samples(source: Path, result: Result) -> dict[str, list[Any]]:
    if result.samples is None:
        raise NotFound(
            "this result has no single requests",
            where=str(source),
            todo="Its program keeps its own, or none.",
        )
    return read_table(source.with_name(result.samples))


def _json(result: Result) -> str:
    return result.model_dump_json(indent=1) + "\n"


def figure_table(result: Result) -> dict[str, list[Any]]:
    """The figures, column by column. Pure."""
    rows = [
        {
            "recipe": result.recipe.name, "target": result.recipe.target.api, "address": result.address,
            "started": result.started, "side": one.side, "point": spot(one.point), "figure": one.name,
            "unit": one.unit, "value": one.value, "low": one.low, "high": one.high, "runs": json.dumps(one.runs),
            "better": one.better, "ok": one.ok, "reasons": "; ".join(one.reasons),
        }
        for one in result.figures
    ]  # fmt: skip
    names = list(rows[0]) if rows else ["figure"]
    return {name: [row[name] for row in rows] for name in names}


def _csv(table: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def openmetrics(result: Result) -> str:
    """The figures as OpenMetrics, for a node exporter's text files or a push gateway. Pure."""
    families = (
        ("ai_how_bench_figure", "A measured figure, in the unit of its label.", _values),
        ("ai_how_bench_figure_low", "Lower end of its 95 % interval over runs.", lambda one: one.low),
        ("ai_how_bench_figure_high", "Upper end of its 95 % interval over runs.", lambda one: one.high),
        ("ai_how_bench_figure_ok", "1 where the figure passed its verdict, 0 where it did not.", _ok),
    )
    lines = []
    for name, meaning, value in families:
        lines += [f"# TYPE {name} gauge", f"# HELP {name} {meaning}"]
        lines += [
            f"{name}{{{_labels(result, one)}}} {number:.10g} {result.started:.3f}"
            for one in result.figures
            if (number := value(one)) is not None
        ]
    return "\n".join([*lines, "# EOF", ""])


def _values(one: Figure) -> float:
    return one.value


def _ok(one: Figure) -> float:
    return float(one.ok)


def _labels(result: Result, one: Figure) -> str:
    def pairs() -> Iterator[tuple[str, str]]:
        yield "recipe", result.recipe.name
        yield "target", result.recipe.target.api
        yield "figure", one.name
        yield "unit", one.unit
        if one.point:
            yield "point", spot(one.point)
        if one.side:
            yield "side", one.side

    return ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

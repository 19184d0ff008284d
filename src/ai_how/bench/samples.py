"""Single requests in files: Parquet where pyarrow is there, gzipped CSV elsewhere; one table a result."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.errors import AiHowError, MissingProgram, NotFound

#: The columns, with what they hold; times are seconds of the run's own clock, from when its first request was due.
COLUMNS: dict[str, type] = {
    "run": int, "due": float, "woke": float, "sent": float, "first": float, "last": float, "done": float,
    "status": int, "tokens": int, "events": int, "queued": bool, "resent": bool, "error": str,
}  # fmt: skip
Table = dict[str, list[Any]]
#: What to do about a file of requests that is none.
_REST = "The figures are in the result itself; single requests come with a new measurement."


def table_of(run: int, exchanges: Sequence[Exchange]) -> Table:
    """The requests of one run, column by column. What did not come to be is None. Pure."""
    found: Table = {name: [] for name in COLUMNS}
    if not exchanges:
        return found
    start = min(one.due for one in exchanges)
    for one in exchanges:
        chat = one if isinstance(one, ChatExchange) else None
        row = (
            run, one.due - start, *(_since(time, start) for time in (one.woke, one.sent, one.first)),
            _since(chat.last if chat else one.done, start), _since(one.done, start),
            one.status or None, chat.tokens if chat else None, chat.events if chat else None,
            one.queued, one.resent, one.error,
        )  # fmt: skip
        for name, value in zip(COLUMNS, row, strict=True):
            found[name].append(value)
    return found


def _since(time: float, start: float) -> float | None:
    return time - start if time else None


class SampleFile:
    """Keeps the requests of one run after the other, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: list[Table] = []
        self._written = 0

    def add(self, table: Table) -> None:
        """Keep one run's requests; :meth:`write` puts them into the file."""
        if table["run"]:
            self._tables.append(table)

    @property
    def any(self) -> bool:
        return bool(self._tables)

    def write(self) -> None:
        """Write the file anew where there is more than it has. Raises :class:`OSError`."""
        if self._written < len(self._tables):
            write_table(self.path, joined(self._tables))
            self._written = len(self._tables)


def joined(tables: Sequence[Table]) -> Table:
    """Tables one below the other."""
    return {name: [value for table in tables for value in table[name]] for name in COLUMNS}


def write_table(path: Path, table: Mapping[str, Sequence[Any]]) -> None:
    """A file of that name and kind, whole or not at all. Raises :class:`OSError`."""
    draft = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".parquet":
            _write_parquet(draft, table)
        elif path.name.endswith(".gz"):
            with gzip.open(draft, "wt", encoding="utf-8", newline="", compresslevel=3) as file:
                _write_csv(file, table)
        else:
            with draft.open("w", encoding="utf-8", newline="") as file:
                _write_csv(file, table)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_csv(file: io.TextIOBase | Any, table: Mapping[str, Sequence[Any]]) -> None:
    writer = csv.writer(file)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))


def _write_parquet(path: Path, table: Mapping[str, Sequence[Any]]) -> None:
    arrow = _arrow()
    kinds = {int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_(), str: arrow.string()}
    columns = {
        name: arrow.array(values, type=kinds[COLUMNS[name]] if name in COLUMNS else None)
        for name, values in table.items()
    }
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table(columns), path, compression="zstd")


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingProgram(
            "Parquet needs the package pyarrow, and that is not installed",
            todo="Install `ai-how[bench]`, or take CSV.",
        ) from error
    return pyarrow


def has_arrow() -> bool:
    """Whether Parquet can be written here."""
    import importlib.util

    return importlib.util.find_spec("pyarrow") is not None


def sample_path(result: Path) -> Path:
    """The file of the requests beside that of the result."""
    kind = "parquet" if has_arrow() else "csv.gz"
    return result.with_name(f"{result.name.removesuffix('.json')}.samples.{kind}")


def read_table(path: Path) -> Table:
    """The requests that were kept. Raises :class:`NotFound`, and :class:`AiHowError` for what is no such table."""
    if not path.exists():
        raise NotFound(
            "the single requests are not there", where=str(path), todo="They lie beside their result."
        )
    if path.suffix == ".parquet":
        return _read_parquet(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames != list(COLUMNS):
                raise AiHowError(f"{path.name} is no table of requests", where=str(path), todo=_REST)
            return _columns(rows)
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise AiHowError(f"{path.name} cannot be read: {error}", where=str(path), todo=_REST) from error


def _read_parquet(path: Path) -> Table:
    arrow = _arrow()
    import pyarrow.parquet as parquet

    try:
        found: Table = parquet.read_table(path).to_pydict()
    except (OSError, arrow.ArrowException) as error:
        said = str(error).splitlines()[0]
        raise AiHowError(f"{path.name} cannot be read: {said}", where=str(path), todo=_REST) from error
    if list(found) != list(COLUMNS):
        raise AiHowError(f"{path.name} is no table of requests", where=str(path), todo=_REST)
    return found


def _columns(rows: Iterator[dict[str, str]] | csv.DictReader[str]) -> Table:
    found: Table = {name: [] for name in COLUMNS}
    for row in rows:
        for name, kind in COLUMNS.items():
            text = row[name]
            value: Any = (
                None if text == "" and kind is not str else text == "True" if kind is bool else kind(text)
            )
            found[name].append(value)
    return found

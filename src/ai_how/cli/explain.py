"""Say what a key of cluster.yaml means, what it may be, what it is here, and which line of the file said so.

The last words of a key are enough where only one key ends so: `ai-how explain max_job_time`. An item of a list is
meant by its name or number: `partitions.debug.max_time`. Without a file the meaning alone is shown.
"""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from ai_how.cli.output import err, file_argument, file_of, json_argument, out, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ai_how.spec.explain import Explanation
    from ai_how.spec.keys import Key
    from ai_how.spec.parse import SiteFile
    from ai_how.spec.provenance import Value


#: Characters of a value that find room beside its meaning.
_SHORT = 24
#: Places of one key that are shown.
_PLACES = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", nargs="?", default="", help="the key, such as clusters.hpc.provider (default: all)"
    )
    file_argument(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.spec.explain import explain

    explanation = explain(args.path, _file(args))
    named = _named(args)
    if args.json:
        print_json(explanation.as_json() | {"file": named.as_json()})
    else:
        _print(explanation, named)
    return 0


def _named(args: argparse.Namespace) -> Value:
    """Which file it is, and who said so."""
    import os

    from ai_how.spec.provenance import Source, Value

    path = str(file_of(args))
    if args.file:
        return Value(("file",), path, Source.FLAG, "--file")
    if "AI_HOW_FILE" in os.environ:
        return Value(("file",), path, Source.ENVIRONMENT, "$AI_HOW_FILE")
    return Value(("file",), path, Source.DEFAULT)


def _file(args: argparse.Namespace) -> SiteFile | None:
    """The file, where there is one that can be read; the meaning of a key does not depend on it."""
    from ai_how.errors import AiHowError, NotFound
    from ai_how.run.files import read_whole
    from ai_how.spec import parse

    path = file_of(args)
    try:
        return parse(read_whole(path), str(path))
    except NotFound:
        if args.file:
            raise
    except AiHowError as error:
        if not args.json:
            err.print(
                f"[yellow]warning:[/] {error.message}, so its values are not shown; `ai-how validate` tells more"
            )
    return None


def _print(explanation: Explanation, named: Value) -> None:
    key = explanation.key
    out.print(key.dotted or "cluster.yaml", style="bold", markup=False)
    _table([("  " + key.meaning,)])
    facts = list(_facts(explanation))
    if not key.path:
        facts.append(("file", f"{named.value}  ({named.origin})"))
    _table(("  " + name, text) for name, text in facts)
    if explanation.children:
        out.print("\n  keys")
        _table(
            ("    " + child.path[-1], _short(explanation, child), child.meaning)
            for child in explanation.children
        )
    for number, example in enumerate(explanation.examples):
        head = "" if number else "  examples\n"
        apart = "\n" if not number or "\n" in example else ""
        out.print(apart + head + textwrap.indent(example, "    "), markup=False)


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if table.columns:
        table.columns[0].no_wrap = len(table.columns) > 1
        out.print(table, soft_wrap=False)


def _facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    from ai_how.spec.document import flow

    key = explanation.key
    yield (
        "kind",
        f"{key.kind} {', '.join(str(one) for one in key.allowed)}".strip() if key.allowed else key.kind,
    )
    if key.required and key.path:
        yield "default", "none: it must be there"
    elif key.default not in (None, [], ""):
        yield "default", flow(key.default)
    if key.children:
        places = [place for place in explanation.places if place[0]] or explanation.places
        yield from ((f"here ({name})" if name else "here", where) for name, where in places[:_PLACES])
        if len(places) > _PLACES:
            yield "", f"and {len(places) - _PLACES} more"
    else:
        for names, value in explanation.here(key):
            said = "left out" if value.value is None else f"{flow(value.value)}  ({value.origin})"
            yield f"here ({names})" if names else "here", said
    if explanation.link:
        yield "docs", explanation.link


def _short(explanation: Explanation, child: Key) -> str:
    """The values of a key here, where they are short."""
    from ai_how.spec.document import flow

    values = [flow(value.value) for _, value in explanation.here(child) if value.value not in (None, [])]
    text = ", ".join(dict.fromkeys(values)) if not child.children else ""
    return text if len(text) <= _SHORT else ""

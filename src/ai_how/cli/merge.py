"""Lay one file over another: mappings key by key, lists of named things by their names; null takes a key away.

The base keeps its comments, order and layout. The outcome is checked as a whole and printed; --output writes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ai_how.spec.provenance import Value


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", type=Path, metavar="BASE", help="the file below")
    parser.add_argument(
        "overlay", type=Path, nargs="*", metavar="OVERLAY", help="files to lay over it, in this order"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="one value, over all files; may be repeated",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the outcome to a file")
    parser.add_argument(
        "--provenance", action="store_true", help="print each value and where it comes from instead"
    )
    parser.add_argument("--all", action="store_true", help="with --provenance: the defaults, too")
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.gpu.check import CHECKS
    from ai_how.run.files import read_whole, rewrite_whole, write_whole
    from ai_how.spec.merge import Layer, merge, setting

    layers = [Layer(str(path), read_whole(path)) for path in (args.base, *args.overlay)]
    layers += [setting(assignment) for assignment in args.set]
    merged = merge(*layers, also=CHECKS)
    if args.output and args.output.exists():
        rewrite_whole(args.output, merged.text)
    elif args.output:
        write_whole(args.output.absolute(), merged.text, mode=0o644)
    if args.json:
        values = [value.as_json() for value in merged.values]
        print_json(
            {"text": merged.text, "values": values, "written": str(args.output) if args.output else None}
        )
    elif args.provenance:
        _print(merged.values if args.all else [value for value in merged.values if value.where])
    elif args.output:
        err.print(f"wrote {args.output}: the site '{merged.file.spec.name}'", markup=False)
    else:
        print(merged.text, end="")
    return 0


def _print(values: Sequence[Value]) -> None:
    from rich.text import Text

    from ai_how.spec.document import flow
    from ai_how.spec.provenance import dotted

    for value in values:
        out.print(Text.assemble(f"{dotted(value.path)}: {flow(value.value)}", (f"  {value.origin}", "dim")))

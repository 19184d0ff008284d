"""Write a cluster.yaml to start from, with a comment for each key."""

from __future__ import annotations

import argparse
from pathlib import Path

from ai_how.errors import UsageError

#: The names of the templates; here once more, so that --help need not read them.
TEMPLATES = ("laptop", "workstation", "production", "existing")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, default=Path("cluster.yaml"), help="the file to write")
    parser.add_argument(
        "--template", choices=TEMPLATES, default="laptop", help="what to start from (default: laptop)"
    )
    parser.add_argument("--name", help="the site's name (default: the template's)")
    parser.add_argument(
        "--schema",
        action="store_true",
        help="write a JSON Schema beside it and name it, for completion in editors",
    )
    parser.add_argument("--stdout", action="store_true", help="print it instead of writing a file")


def run(args: argparse.Namespace) -> int:
    from ai_how.cli.output import out
    from ai_how.spec import parse
    from ai_how.spec.schema import MODELINE
    from ai_how.spec.template import template

    text = template(args.template, args.name)
    schema = args.file.with_name("cluster.schema.json")
    if args.schema:
        text = MODELINE.format(schema.name) + text
    parse(text, str(args.file))
    if args.stdout:
        print(text, end="")
        return 0
    _write(args.file, text)
    out.print(f"wrote {args.file}: the template {args.template}", markup=False)
    if args.schema:
        _write_schema(schema)
        out.print(f"wrote {schema}", markup=False)
    out.print("`ai-how plan` shows what `ai-how up` would do, and `ai-how up` brings the site up.")
    return 0


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UsageError(
            f"{file} is there already; nothing was changed",
            todo="Name another file, or `ai-how init --stdout` to look at the template.",
        ) from error


def _write_schema(file: Path) -> None:
    import json

    from ai_how.run.files import write_whole
    from ai_how.spec.schema import schema

    write_whole(file.absolute(), json.dumps(schema(), indent=2) + "\n", mode=0o644)

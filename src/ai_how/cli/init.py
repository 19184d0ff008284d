"""Write a cluster.yaml for a laptop, with a comment for each key."""

from __future__ import annotations

import argparse
from pathlib import Path

from ai_how.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, default=Path("cluster.yaml"), help="the file to write")
    parser.add_argument("--name", default="laptop", help="the site's name (default: laptop)")
    parser.add_argument("--stdout", action="store_true", help="print it instead of writing a file")


def run(args: argparse.Namespace) -> int:
    from ai_how.cli.output import out
    from ai_how.spec import parse
    from ai_how.spec.template import laptop

    text = laptop(args.name)
    parse(text, str(args.file))
    if args.stdout:
        print(text, end="")
        return 0
    try:
        with args.file.open("x") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UsageError(
            f"{args.file} is there already; nothing was changed",
            todo="Name another file, or `ai-how init --stdout` to look at the template.",
        ) from error
    out.print(
        f"wrote {args.file}\n`ai-how up` brings the site up; `ai-how plan` shows first what that would do."
    )
    return 0

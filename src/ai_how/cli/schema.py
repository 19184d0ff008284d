"""Print the JSON Schema of cluster.yaml, of a recipe or of a bench recipe: for editors, and for programs."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "of",
        nargs="?",
        choices=("cluster", "recipe", "bench"),
        default="cluster",
        help="which file (default: cluster)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it to a file instead")


def run(args: argparse.Namespace) -> int:
    import json

    from ai_how.spec.schema import MODELINE, schema

    text = json.dumps(schema(args.of), indent=2) + "\n"
    if args.output is None:
        print(text, end="")
        return 0
    from ai_how.cli.output import out
    from ai_how.run.files import write_whole

    write_whole(args.output, text, mode=0o644)
    out.print(
        f"wrote {args.output}\nFor completion in an editor, let {args.of}.yaml begin with this line:\n"
        + MODELINE.format(args.output).rstrip(),
        markup=False,
    )
    return 0

"""Compare two files by what they mean, and say what `ai-how up` would do about each difference.

Ends with 0 when they mean the same and with 1 when they differ, as diff(1) does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ai_how.cli.output import json_argument, out, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", type=Path, metavar="A", help="the file that the site was brought up by")
    parser.add_argument("new", type=Path, metavar="B", help="the file to come")
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.gpu.check import CHECKS
    from ai_how.run.files import read_whole
    from ai_how.site.unsupported import unsupported
    from ai_how.spec import parse
    from ai_how.spec.diff import diff, where
    from ai_how.spec.diff_effects import consequence

    old, new = (parse(read_whole(path), str(path), CHECKS) for path in (args.old, args.new))
    found = [(change, consequence(change, old.spec, new.spec)) for change in diff(old.spec, new.spec)]
    refused = [f"{new.where(*path)}: {what}" for path, what in unsupported(new.spec)]
    if args.json:
        changes = [
            change.as_json() | {"where": where(change, old, new)} | effect.as_json()
            for change, effect in found
        ]
        print_json({"same": not found, "changes": changes, "refused": refused})
        return 1 if found else 0
    for change, effect in found:
        out.print(f"[bold]{change.kind}[/]  {'.'.join(change.path)}", end="")
        out.print(f"  {change.words}", style="cyan", markup=False)
        out.print(f"    {where(change, old, new)}", style="dim", markup=False)
        out.print(f"    up {effect.what}", markup=False)
    if not found:
        out.print("No difference: both files mean the same.")
    if found and refused:
        out.print(f"\n[yellow]up refuses[/] {args.new} as it is:")
        for line in refused:
            out.print(f"  {line}", markup=False)
    return 1 if found else 0

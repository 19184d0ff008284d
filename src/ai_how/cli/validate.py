"""Check cluster.yaml without changing anything; every mistake is reported at once.

--fix repairs what has one right answer (a misspelt key, a number in quotes, a profile by its name on another card),
shows the difference and checks the outcome. Comments, order and layout stay. --dry-run only shows it.
"""

from __future__ import annotations

import argparse

from ai_how.cli.output import (
    file_of,
    json_argument,
    out,
    print_diff,
    print_json,
    print_warning,
    site_arguments,
    site_of,
)
from ai_how.errors import SpecError, UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    parser.add_argument("--fix", action="store_true", help="repair what has one right answer, in the file")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --fix: show the repairs, and change nothing"
    )
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    if args.dry_run and not args.fix:
        raise UsageError("--dry-run is for --fix: without it nothing is changed anyway")
    facts, text = _fix(args) if args.fix else ({}, "")
    if args.dry_run:
        return _report(args, facts, text)
    try:
        site = site_of(args)
    except SpecError as error:
        if not args.fix and (todo := _repairs(args)):
            error.todo = todo
        if args.json and facts:
            print_json(error.as_json() | facts)
            return error.exit_code
        raise
    warnings = site.warnings()
    if args.json:
        print_json({"valid": True, "name": site.file.spec.name, "warnings": warnings} | facts)
        return 0
    for warning in warnings:
        print_warning(warning)
    out.print(f"{site.file.name} is valid: the site '{site.file.spec.name}'")
    return 0


def _fix(args: argparse.Namespace) -> tuple[dict[str, object], str]:
    """Repair the file; what was done is printed, or for --json returned, with the text as it is now."""
    from rich.text import Text

    from ai_how.gpu.fixes import profiles
    from ai_how.run.files import read_whole, rewrite_whole
    from ai_how.spec.document import unified
    from ai_how.spec.fix import fix

    path = file_of(args)
    text = read_whole(path)
    fixed = fix(text, str(path), (profiles,))
    if fixed.text != text and not args.dry_run:
        rewrite_whole(path, fixed.text)
    difference = unified(text, fixed.text, str(path))
    if not args.json:
        print_diff(difference)
        for words in fixed.done:
            out.print(Text.assemble(("would repair" if args.dry_run else "repaired", "green"), f" {words}"))
        if not fixed.done:
            out.print("nothing to repair", markup=False)
    return {"repaired": fixed.done, "diff": difference}, fixed.text


def _report(args: argparse.Namespace, facts: dict[str, object], text: str) -> int:
    """Whether the file would be valid after the repairs."""
    from ai_how.gpu.check import CHECKS
    from ai_how.spec import parse

    file = parse(text, str(file_of(args)), CHECKS)
    if args.json:
        print_json({"valid": True, "name": file.spec.name, "warnings": []} | facts)
    else:
        out.print(f"{file.name} would be valid: the site '{file.spec.name}'")
    return 0


def _repairs(args: argparse.Namespace) -> str:
    """What --fix would do about the mistakes, in words; empty when it could do nothing."""
    from ai_how.gpu.check import CHECKS
    from ai_how.gpu.fixes import profiles
    from ai_how.run.files import read_whole
    from ai_how.spec import parse
    from ai_how.spec.fix import fix

    try:
        fixed = fix(read_whole(file_of(args)), "", (profiles,))
    except SpecError:
        return ""
    count = len(fixed.done)
    words = f"`ai-how validate --fix` makes {count} repair{'s' * (count > 1)}; with `--dry-run` it only shows them."
    try:
        parse(fixed.text, "", CHECKS)
    except SpecError:
        words += " Correct the rest by hand."
    return words if count else ""

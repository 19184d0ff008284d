"""Carry a file of an older version over to the current one, with its comments, order and layout; shows the difference.

Without --write nothing is changed.
"""

from __future__ import annotations

import argparse

from ai_how.cli.output import file_argument, file_of, json_argument, out, print_diff, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    parser.add_argument("--write", action="store_true", help="change the file")
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.run.files import read_whole, rewrite_whole
    from ai_how.spec import parse
    from ai_how.spec.document import unified
    from ai_how.spec.migrate import migrate
    from ai_how.spec.versions import CURRENT

    path = file_of(args)
    text = read_whole(path)
    migrated = migrate(text, str(path))
    written = args.write and migrated.text != text
    if written:
        rewrite_whole(path, migrated.text)
    difference = unified(text, migrated.text, str(path))
    if not args.json:
        print_diff(difference)
        if not migrated.steps:
            out.print(f"Nothing to do: {path} is of version {CURRENT}, the current one.")
        elif written:
            out.print(f"{path} was of version {migrated.version} and is now of version {CURRENT}.")
        else:
            out.print(
                f"{path} is of version {migrated.version}; `ai-how migrate --write` changes it as shown."
            )
    # The meaning is checked last: a mistake that was there before is no reason to keep the old version.
    parse(migrated.text, str(path))
    if args.json:
        facts = {"from": migrated.version, "to": CURRENT, "steps": migrated.steps, "diff": difference}
        print_json(facts | {"written": written})
    return 0

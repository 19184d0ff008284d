"""Stop the site and remove its folder: databases, models, runs and all. Asks first."""

from __future__ import annotations

import argparse
import sys

from ai_how.cli.output import PlanProgress, json_argument, out, print_json, site_arguments, site_of
from ai_how.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    site = site_of(args)
    name = site.file.spec.name
    if site.layout.root.exists() and not args.yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"destroying '{name}' removes all its data, and there is nobody to ask",
                where=str(site.layout.root),
                todo="Say --yes if that is what you want.",
            )
        answer = input(
            f"Remove {site.layout.root} with all databases, runs and models? Type the site's name: "
        )
        if answer.strip() != name:
            out.print("Nothing was changed.")
            return 1
    with PlanProgress() as progress:
        site.destroy(progress)
    if args.json:
        print_json({"name": name, "folder": str(site.layout.root), "destroyed": True})
    else:
        out.print(f"{name} is gone: {site.layout.root} was removed")
    return 0

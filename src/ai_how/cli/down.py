"""Stop every process of the site. Its data stay; jobs that can be requeued run again at the next up."""

from __future__ import annotations

import argparse

from ai_how.cli.output import PlanProgress, json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    site = site_of(args)
    with PlanProgress() as progress:
        site.down(progress)
    if args.json:
        print_json({"name": site.file.spec.name, "folder": str(site.layout.root), "up": False})
    else:
        out.print(f"{site.file.spec.name} is down; its data are in {site.layout.root}")
    return 0

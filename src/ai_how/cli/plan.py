"""Show what up would do, step by step with the reason for each, and change nothing."""

from __future__ import annotations

import argparse

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)
    parser.add_argument("--all", action="store_true", help="show the steps that need nothing, too")


def run(args: argparse.Namespace) -> int:
    from rich.table import Table

    site = site_of(args)
    plan = site.plan()
    warnings = site.warnings()
    if args.json:
        print_json(
            {
                "steps": [step.as_json() for step in plan.steps],
                "changes": len(plan.work),
                "warnings": warnings,
            }
        )
        return 0
    for warning in warnings:
        err.print(f"[yellow]warning:[/] {warning}")
    if not plan.work:
        out.print("Nothing to do: the site is as the file asks.")
    table = Table(box=None, pad_edge=False, show_header=False)
    for step in plan.steps if args.all or not plan.work else plan.work:
        table.add_row(str(step.action), step.target, f"[dim]{step.why}[/]")
    out.print(table, soft_wrap=False)
    if plan.work:
        count = len(plan.work)
        what = (
            "1 step; `ai-how up` carries it out."
            if count == 1
            else f"{count} steps; `ai-how up` carries them out."
        )
        out.print(what)
    return 0

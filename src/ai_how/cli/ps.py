"""List the replicas: which models are served, where, and how they are."""

from __future__ import annotations

import argparse

from ai_how.cli.output import json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from rich.table import Table

    from ai_how.site import work

    replicas = work.replicas_of(site_of(args)).ps()
    if args.json:
        print_json({"replicas": [one.as_json() for one in replicas]})
        return 0
    if not replicas:
        out.print("Nothing is served. `ai-how serve MODEL` serves a model.")
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "state", "job", "node", "reason"):
        table.add_column(name)
    for one in replicas:
        table.add_row(
            one.wanted.model, str(one.phase), str(one.wanted.job_id), one.node or "", one.reason or ""
        )
    out.print(table, soft_wrap=False)
    return 0

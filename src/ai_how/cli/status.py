"""Show how the site is: its services, its nodes, its addresses. Exit code 0 when all is up, 1 when not."""

from __future__ import annotations

import argparse
from typing import Any

from ai_how.cli.output import duration, json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    site = site_of(args)
    status = site.status()
    if args.json:
        print_json(status.as_json())
    else:
        _show(status.as_json())
    return 0 if status.up else 1


def _show(facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    down = all(service["state"] in ("stopped", "absent") for service in facts["services"])
    state = "down" if down else "[bold red]not all of it is up[/]"
    state = "[bold green]up[/]" if facts["up"] else state
    out.print(f"{facts['name']}: {state}   [dim]{escape(facts['folder'])}[/]\n")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("service", "state", "health", "pid", "up for"):
        table.add_column(name)
    for service in facts["services"]:
        health = {True: "[green]healthy[/]", False: "[red]unhealthy[/]", None: ""}[service["healthy"]]
        up_for = duration(service["seconds"]) if service["seconds"] is not None else ""
        table.add_row(
            service["name"],
            service["state"],
            health,
            str(service["pid"] or ""),
            up_for,
        )
    out.print(table, soft_wrap=False)
    out.print()
    for service in facts["services"]:
        if service["detail"]:
            out.print(f"[red]{service['name']}[/]: {escape(service['detail'])}")
    if facts["nodes"] is not None:
        counts: dict[str, int] = {}
        for node in facts["nodes"]:
            counts[node["state"]] = counts.get(node["state"], 0) + 1
        _line("nodes", ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items())))
    for name, address in facts["addresses"].items():
        _line(name, address)


def _line(name: str, value: str) -> None:
    out.print(f"[dim]{name:<9}[/]{value}")

"""Show both clusters as the file asks for them, and what up would do, step by step with its reason.

Nothing is changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.text import Text

from ai_how.cli.output import (
    broken,
    err,
    json_argument,
    out,
    print_json,
    print_warning,
    site_arguments,
    site_of,
)
from ai_how.errors import UsageError

if TYPE_CHECKING:
    from ai_how.site import Site
    from ai_how.site.model import Plan
    from ai_how.site.overview import Machines, Overview
    from ai_how.site.served import Change


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)
    parser.add_argument("--steps", action="store_true", help="show the steps alone")
    parser.add_argument("--all", action="store_true", help="show the steps that need nothing, too")
    parser.add_argument(
        "--inventory", type=Path, metavar="FILE", help="take the machine in this file instead of this one"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the GPUs' drawing as a picture")


def run(args: argparse.Namespace) -> int:
    site = site_of(args)
    if args.inventory:
        from ai_how.host.recorded import read_inventory

        site = replace(site, rehearsed=read_inventory(args.inventory))
    from ai_how.site.served import changes

    overview = site.overview()
    if args.svg:
        _write_svg(site, args.svg)
    if args.json:
        plan = site.plan()
        steps = {"steps": [step.as_json() for step in plan.steps], "changes": len(plan.work)}
        serving = [each.as_json() for each in changes(site)]
        print_json({**overview.as_json(), **steps, "serving": serving, "warnings": site.warnings()})
        return 0
    if not args.steps:
        _show_overview(site, overview)
    for warning in site.warnings():
        print_warning(warning)
    # What no provider does yet is refused only now, so that the whole picture is seen first.
    _show_steps(site.plan(), changes(site), args.all)
    return 0


def _write_svg(site: Site, path: Path) -> None:
    from ai_how.run.files import write_whole

    if site.shown_gpus is None:
        raise UsageError(
            "there is nothing to draw: the file lists no GPUs",
            where="global.gpu_allocation.devices",
            todo="`ai-how init --template workstation --stdout` shows a file that does.",
        )
    write_whole(path, site.shown_gpus.svg(), mode=0o644)
    err.print(f"wrote {path}", markup=False)


def _show_overview(site: Site, overview: Overview) -> None:
    from ai_how.cli.gpu import draw

    out.print(
        f"[bold]{overview.site}[/]" + (f"  {escape(overview.description)}" if overview.description else "")
    )
    out.print()
    if overview.machines:
        _show_machines(overview)
        out.print()
    if overview.there:
        from ai_how.site.there import own_words

        first, *more = own_words(overview.there)
        out.print(f"[bold]there[/]  {first}")
        for line in more:
            out.print(f"       {line}")
        out.print()
    if site.shown_gpus:
        draw(site.shown_gpus.spans())
        out.print()
    # A service's own inner listeners are in --json; here are those that somebody would connect to.
    ports = ", ".join(f"{each.name} {each.port}" for each in overview.services if "-port" not in each.name)
    _labelled("on 127.0.0.1", ports)
    sums = (f"{each.asked} of {each.has} {each.unit or each.resource}" for each in overview.sums)
    if overview.sums:
        _labelled("in sum", ", ".join(sums))
    out.print()


def _labelled(label: str, text: str) -> None:
    """A label and what there is of it, further lines set in below."""
    line = Text(broken(f"{label}  {text}", out, " " * (len(label) + 2)))
    line.stylize("bold", 0, len(label))
    out.print(line)


def _show_machines(overview: Overview) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("cluster", "machines"):
        table.add_column(column, no_wrap=True)
    for column in ("CPUs", "GiB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("address", no_wrap=True)
    table.add_column("GPUs", overflow="fold")
    former = ""
    for each in overview.machines:
        provider = overview.providers[each.cluster]
        shown = f"{each.cluster} ({provider})" if each.cluster != former else ""
        former = each.cluster
        size = [str(each.cpus), str(each.memory_gb)]
        table.add_row(shown, each.names, *size, _address(each, provider), _devices(each))
    out.print(table, soft_wrap=False)


def _address(machines: Machines, provider: str) -> str:
    """Where the provider puts them: the local one's are processes on loopback, whatever the file says."""
    return "127.0.0.1" if provider == "local" else machines.address or ""


def _devices(machines: Machines) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in machines.devices.items())


def _show_steps(plan: Plan, served: Sequence[Change], all_of_them: bool) -> None:
    from rich.table import Table

    if not plan.work and not served:
        out.print("Nothing to do: the site is as the file asks.")
    table = Table(box=None, pad_edge=False, show_header=False)
    for step in plan.steps if all_of_them or not (plan.work or served) else plan.work:
        table.add_row(str(step.action), step.target, f"[dim]{step.why}[/]")
    for each in served:
        table.add_row("serve", each.model, f"[dim]{escape(each.why)}[/]")
    out.print(table, soft_wrap=False)
    if plan.work or served:
        count = len(plan.work) + len(served)
        out.print(
            "1 step; `ai-how up` carries it out."
            if count == 1
            else f"{count} steps; `ai-how up` carries them out."
        )

"""What this machine has, what is missing, and the command that changes that."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ai_how.host.doctor import Diagnosis

SUMMARY = "show every program, environment and fact of this machine that matters"
GIB = 2**30


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the facts as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis. Exit code 0 also when programs are missing: they are installed when needed."""
    from ai_how.host.doctor import diagnose
    from ai_how.host.folders import Folders
    from ai_how.run import LocalGate

    diagnosis = diagnose(LocalGate(), Folders.of_user(os.environ))
    if args.json:
        print(json.dumps(diagnosis.as_json(), indent=2))
        return 0
    from rich.console import Console

    show(diagnosis, Console(highlight=False))
    return 0


def show(diagnosis: Diagnosis, console: Console) -> None:
    """The facts for people: the machine, the programs, the environments, what to do next."""
    machine = diagnosis.inventory
    who = machine.user if machine.root else f"{machine.user}, not root"
    console.print(f"[bold]{machine.hostname}[/]  {diagnosis.distribution.name}  ({who})")
    console.print(
        f"{machine.cpus} CPUs, {machine.memory / GIB:.0f} GiB of memory, "
        f"{machine.disk_free / GIB:.0f} GiB free for {diagnosis.home}"
    )
    console.print(f"{len(machine.devices)} character devices that can stand in for GPUs\n")
    _show_programs(diagnosis, console)
    _show_environments(diagnosis, console)
    count = len(diagnosis.missing)
    if not count:
        console.print("Nothing is missing.")
        return
    missing = "One program is" if count == 1 else f"{count} programs are"
    if diagnosis.distribution.family == "debian":
        means = "with apt" if machine.root else "into your data folder"
        console.print(f"{missing} not here yet: [bold]ai-how up[/] gets what is missing {means}.")
    else:
        console.print(f"{missing} missing.")
    if diagnosis.command:
        console.print("To install them on the machine yourself:")
        console.print(f"  {diagnosis.command}", soft_wrap=True)


def _show_programs(diagnosis: Diagnosis, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("program", "version", "origin"):
        table.add_column(column, no_wrap=True)
    table.add_column("purpose", ratio=1)
    if console.width >= 120:
        table.add_column("path", overflow="fold", style="dim")
    for program, found in diagnosis.programs:
        version = (found.version or "?") if found else "[yellow]missing[/]"
        row = [program.name, version, found.origin if found else "-", program.purpose]
        if console.width >= 120:
            row.append(escape(str(found.path)) if found else "")
        table.add_row(*row)
    console.print(table)
    console.print()


def _show_environments(diagnosis: Diagnosis, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("environment", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("path", overflow="fold", style="dim", ratio=1)
    for each in diagnosis.environments:
        state = "built" if each.built else "built when needed"
        table.add_row(each.name, state, escape(str(each.folder)) if each.built else "")
    console.print(table)
    console.print()

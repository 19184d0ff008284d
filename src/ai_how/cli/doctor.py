"""What this machine has, what is missing, and the command that changes that."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, print_json, site_arguments

if TYPE_CHECKING:
    from rich.console import Console

    from ai_how.host.checks import Check, Needs
    from ai_how.host.doctor import Diagnosis, Examination
    from ai_how.host.machine import Machine
    from ai_how.spec.model import SiteSpec

PROVIDERS = ("local", "libvirt", "existing")
_STYLES = {"ok": "green", "warning": "yellow", "failure": "red", "could not tell": "magenta"}


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    parser.add_argument(
        "--provider",
        action="append",
        choices=PROVIDERS,
        help="check for this provider, whatever the file says; may be given again",
    )
    parser.add_argument(
        "--inventory", type=Path, metavar="FILE", help="judge the machine in this file instead of this one"
    )
    parser.add_argument(
        "--save-inventory", type=Path, metavar="FILE", help="write this machine's inventory to a file"
    )
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the checks and the diagnosis. Exit code 0, 1 for warnings, 2 for failures, 9 when something is unknown.

    Missing programs are none of these where they are installed when needed.
    """
    from ai_how.host.doctor import diagnose, examine
    from ai_how.host.folders import Folders
    from ai_how.host.probe import probe
    from ai_how.host.recorded import read_inventory, save_inventory
    from ai_how.run import LocalGate

    asked = _asked(args)
    if args.inventory:
        return _report(
            args, examine(read_inventory(args.inventory), asked.needs, spec=asked.spec), None, asked
        )
    gate, folders = LocalGate(), Folders.of_user(os.environ)
    machine = probe(gate, folders.home)
    if args.save_inventory:
        save_inventory(machine, args.save_inventory)
        err.print(f"The inventory of this machine is in {args.save_inventory}.", markup=False)
    here = diagnose(gate, folders)
    found = examine(machine, asked.needs, spec=asked.spec, here=here, taken=asked.taken)
    return _report(args, found, here, asked)


@dataclass(frozen=True)
class Asked:
    """What is asked of the machine: by the arguments, or by the file, whose ``mistakes`` are findings too.

    ``taken`` are the ports that somebody else has, where the file asks for some.
    """

    needs: Needs
    spec: SiteSpec | None = None
    mistakes: tuple[Check, ...] = ()
    taken: Mapping[int, str] | None = None


def _asked(args: argparse.Namespace) -> Asked:
    from ai_how.errors import NotFound, SpecError
    from ai_how.host.checks import Needs, failure

    if args.provider:
        return Asked(Needs(providers=frozenset(args.provider)))
    from ai_how.cli.output import site_of
    from ai_how.host.needs import needs_of
    from ai_how.site.listeners import foreign

    named = args.file or os.environ.get("AI_HOW_FILE")
    try:
        site = site_of(args)
    except NotFound:
        if named:
            raise
        return Asked(Needs())
    except SpecError as error:
        if named:
            raise
        return Asked(Needs(), mistakes=(failure("file", error.message, "ai-how validate"),))
    needs = needs_of(site.file.spec)
    look = needs.ports and not args.inventory
    taken = foreign(site.layout.root, site.folders.sites) if look else None
    return Asked(needs, site.file.spec, taken=taken)


def _report(args: argparse.Namespace, found: Examination, here: Diagnosis | None, asked: Asked) -> int:
    found = replace(found, checks=(*asked.mistakes, *found.checks))
    if args.json:
        print_json(found.as_json() | (here.as_json() if here else {}))
        return found.exit_code
    from ai_how.cli.output import wrapping

    console = wrapping()
    show_heading(found, here, console)
    show_checks(found, console)
    if here:
        show(here, console)
    return found.exit_code


def show_heading(found: Examination, here: Diagnosis | None, console: Console) -> None:
    """Whose machine it is, and what is in it."""
    from rich.markup import escape

    from ai_how.host.checks import plural

    machine = found.machine
    who = f"({machine.origin})"
    if here:
        who = f"({here.inventory.user})" if here.inventory.root else f"({here.inventory.user}, not root)"
    name = escape(machine.hostname or "a machine")
    console.print(f"[bold]{name}[/]  {escape(machine.distribution)}  {who}")
    for line in hardware(machine):
        console.print(escape(line))
    if here:
        count = plural(len(here.inventory.devices), "character device")
        console.print(f"{count} that can stand in for GPUs; data in {escape(str(here.home))}")
    console.print()


def hardware(machine: Machine) -> Iterator[str]:
    """The hardware in a few lines; what nobody could tell is not in them."""
    from ai_how.host.nvidia import counted

    parts = []
    if cpus := machine.cpus:
        sockets = f"{cpus.sockets} x " if cpus.sockets > 1 else ""
        parts.append(f"{sockets}{cpus.model or 'CPUs'}, {cpus.threads} threads")
    if machine.memory_gb is not None:
        parts.append(f"{machine.memory_gb:.0f} GiB of memory")
    if machine.disk_free_gb is not None:
        parts.append(f"{machine.disk_free_gb:.0f} GiB free")
    if machine.numa_nodes and len(machine.numa_nodes) > 1:
        parts.append(f"{len(machine.numa_nodes)} NUMA nodes")
    if parts:
        yield ", ".join(parts)
    if machine.gpus:
        yield counted(gpu.model for gpu in machine.gpus)


def show_checks(found: Examination, console: Console) -> None:
    """Every check with its result and its reason; below them what to type."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("why", ratio=1)
    for check in found.checks:
        style = _STYLES[check.result]
        table.add_row(check.id, f"[{style}]{check.result}[/]", escape(check.why))
    console.print(table)
    console.print()
    for check in found.checks:
        if check.command:
            console.print(f"To mend {check.id}:")
            console.print(f"  {escape(check.command)}", soft_wrap=True)
    console.print(_verdict(found))
    console.print()


def _verdict(found: Examination) -> str:
    from ai_how.host.checks import Result, plural

    providers = " and ".join(sorted(found.needs.providers))
    results = [check.result for check in found.checks]
    words = [
        plural(results.count(each), each) for each in (Result.FAILURE, Result.WARNING) if each in results
    ]
    if unknown := results.count(Result.COULD_NOT_TELL):
        words.append(f"{unknown} that nobody could tell")
    if not words:
        return f"All is well for the provider {providers}."
    return f"For the provider {providers}: {', '.join(words)}."


def show(diagnosis: Diagnosis, console: Console) -> None:
    """The programs, the environments, what to do next."""
    _show_programs(diagnosis, console)
    _show_environments(diagnosis, console)
    count = len(diagnosis.missing)
    if not count:
        console.print("Nothing is missing.")
        return
    missing = "One program is" if count == 1 else f"{count} programs are"
    if diagnosis.distribution.family == "debian":
        means = "with apt" if diagnosis.inventory.root else "into your data folder"
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

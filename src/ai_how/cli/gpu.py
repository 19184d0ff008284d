"""Show, plan and cut the GPUs that the file names.

ai-how gpu inventory
ai-how gpu plan [--svg FILE] [--format mig-parted|nvidia-smi|gres|kubernetes|mdev]
ai-how gpu explain [DEMAND|PROFILE]
ai-how gpu apply [--yes]
ai-how gpu cleanup [--yes] [--restore FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import err, file_of, json_argument, out, print_json, site_arguments, site_of
from ai_how.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ai_how.gpu.draw import Span
    from ai_how.host.folders import Folders
    from ai_how.host.geometry import Change
    from ai_how.host.machine import Machine
    from ai_how.host.nvml import Nvml
    from ai_how.site.cutting import Cutting
    from ai_how.site.gpus import Gpus

VERBS = {
    "inventory": "show this machine's GPUs, or those of an inventory file",
    "plan": "show who gets which slice of which GPU, or print it as other tools want it",
    "explain": "say what fits beside what the file asks, and what would fit without some of it",
    "apply": "cut this machine's GPUs as the file asks; shows the steps and asks first",
    "cleanup": "remove every slice of the GPUs that the file names; saves them and asks first",
}
FORMATS = ("mig-parted", "nvidia-smi", "gres", "kubernetes", "mdev")
#: Colours of owners on a terminal, as many as the picture has.
_COLOURS = (
    "cyan", "yellow", "green", "magenta", "bright_blue", "bright_yellow", "bright_red", "bright_green",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    for name, line in VERBS.items():
        verb = verbs.add_parser(name, help=line, description=line)
        if name != "inventory":
            site_arguments(verb)
        json_argument(verb)
        meant = "instead of this machine; nothing real is changed" if name in ("apply", "cleanup") else None
        verb.add_argument(
            "--inventory", type=Path, metavar="FILE", help=meant or "take the GPUs from an inventory file"
        )
        if name == "plan":
            verb.add_argument("--svg", type=Path, metavar="FILE", help="write the drawing as a picture")
            verb.add_argument("--format", choices=FORMATS, help="print it for another tool instead")
        if name == "explain":
            verb.add_argument("what", nargs="?", help="a demand of the file, or a profile such as 2g.20gb")
        if name in ("apply", "cleanup"):
            verb.add_argument("--yes", action="store_true", help="do not ask")
        if name == "cleanup":
            verb.add_argument("--restore", type=Path, metavar="FILE", help="bring back what a file saved")


def run(args: argparse.Namespace) -> int:
    verbs = {
        "inventory": _inventory,
        "plan": _plan,
        "explain": _explain,
        "apply": _apply,
        "cleanup": _cleanup,
    }
    return verbs[args.verb](args)


# --- looking ------------------------------------------------------------------------------------------


def _machine(args: argparse.Namespace) -> Machine | None:
    """The machine in the inventory file; None when none was named."""
    if args.inventory is None:
        return None
    from ai_how.host.recorded import read_inventory

    return read_inventory(args.inventory)


def _inventory(args: argparse.Namespace) -> int:
    from ai_how.errors import CouldNotTell
    from ai_how.host.folders import Folders
    from ai_how.host.nvidia import answer
    from ai_how.host.probe import probe
    from ai_how.run import LocalGate
    from ai_how.site.gpus import shown

    machine = _machine(args) or probe(LocalGate(), Folders.of_user(os.environ).home)
    found = answer(machine)
    if args.json:
        gpus = None if machine.gpus is None else [gpu.model_dump(mode="json") for gpu in machine.gpus]
        print_json({"outcome": found.outcome, "why": found.why, "driver": machine.driver, "gpus": gpus})
        return 0
    if found.outcome == "could not tell":
        raise CouldNotTell(found.why, todo="Run it as root, or see `ai-how doctor`.")
    out.print(found.why)
    for facts, drawing in shown(machine):
        out.print()
        draw(drawing)
        for line in facts:
            out.print(line, style="dim", markup=False)
    return 0


def _plan(args: argparse.Namespace) -> int:
    from ai_how.run import write_whole
    from ai_how.site.gpus import gpus_of

    gpus = gpus_of(site_of(args).file.spec, _machine(args))
    if args.svg:
        write_whole(args.svg, gpus.svg(), mode=0o644)
    if args.json:
        print_json(gpus.as_json())
        return 0
    if args.format:
        sys.stdout.write(gpus.rendered(args.format))
        return 0
    for warning in gpus.warnings:
        err.print(f"[yellow]warning:[/] {warning}")
    draw(gpus.spans())
    out.print()
    _ledger(gpus)
    if args.svg:
        out.print(f"\nthe picture is in {args.svg}", markup=False)
    return 0


def _ledger(gpus: Gpus) -> None:
    from rich.table import Table

    from ai_how.gpu.render import owner_of

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("device", "slice", "start", "owner", "demand", ""):
        table.add_column(name)
    for entry in gpus.ledger():
        grant, one = entry.grant, entry.grant.slice
        place = (one.profile, str(one.start)) if one else ("whole", "")
        table.add_row(grant.device, *place, owner_of(entry), grant.demand, "kept" if grant.kept else "")
    out.print(table, soft_wrap=False)
    for consumer in gpus.allocation.placement.disturbed:
        out.print(f"[yellow]{consumer}[/] must be drained first")
    for one in gpus.allocation.placement.left:
        out.print(f"{one.profile} at {one.start} on {one.device} stays until its work has ended")


def draw(lines: Iterable[tuple[Span, ...]]) -> None:
    """Print a drawing: in colour on a terminal; without box characters where the output cannot hold them."""
    from rich.text import Text

    from ai_how.gpu.draw import plain

    drawn = list(lines)
    while drawn and not drawn[-1]:
        drawn.pop()
    for line in drawn:
        text = Text()
        for span in line:
            words = span.text if out.is_terminal else plain(span.text)
            style = "" if span.owner is None else f"black on {_COLOURS[span.owner % len(_COLOURS)]}"
            text.append(words, style=style)
        text.rstrip()
        out.print(text)


def _explain(args: argparse.Namespace) -> int:
    from ai_how.gpu.check import demands, models, profiles
    from ai_how.run.files import read_whole
    from ai_how.site.gpus import explained
    from ai_how.spec import parse

    # A file whose demands do not fit is no mistake here: it is what people ask about.
    path = file_of(args)
    spec = parse(read_whole(path), str(path), (models, profiles, demands)).spec
    told = explained(spec, _machine(args), args.what)
    if args.json:
        print_json(told.facts)
        return 0
    for line in told.lines:
        out.print(line, markup=False)
    return 0


# --- changing -----------------------------------------------------------------------------------------


def _open(args: argparse.Namespace) -> tuple[Nvml, Folders | None]:
    """The driver and where to keep the journal; for an inventory file a simulated driver, and nowhere."""
    machine = _machine(args)
    if machine is not None:
        from ai_how.host.simulated import SimulatedNvml

        return SimulatedNvml(machine.gpus or ()), None
    from ai_how.host.folders import Folders
    from ai_how.host.nvml_library import LibraryNvml

    return LibraryNvml(), Folders.of_user(os.environ)


def _apply(args: argparse.Namespace) -> int:
    from ai_how.site.cutting import to_apply

    spec = site_of(args).file.spec
    nvml, folders = _open(args)
    try:
        return _carry_out(args, to_apply(spec, nvml), nvml, folders, "gpu apply")
    finally:
        nvml.close()


def _cleanup(args: argparse.Namespace) -> int:
    from ai_how.site.cutting import journal_at, to_clean, to_restore

    spec = site_of(args).file.spec
    journal = journal_at(args.restore) if args.restore else None
    nvml, folders = _open(args)
    try:
        todo = to_restore(spec, nvml, journal, str(args.restore)) if journal else to_clean(spec, nvml)
        return _carry_out(args, todo, nvml, folders, "gpu cleanup")
    finally:
        nvml.close()


def _carry_out(
    args: argparse.Namespace, cutting: Cutting, nvml: Nvml, folders: Folders | None, command: str
) -> int:
    from ai_how.site.cutting import carry_out, outcome, saved_first

    if not args.json:
        _steps(cutting, folders)
    file = saved_first(cutting, folders, command) if folders and cutting.changes else None
    if file and not _agreed(args, cutting, file):
        out.print("Nothing was changed.")
        return 1
    if cutting.changes:
        carry_out(cutting, nvml, file, command, heard=None if args.json else _told)
    if args.json:
        print_json(outcome(cutting, file, rehearsal=folders is None))
    elif file:
        out.print("\nDone, and read back as asked.")
    elif cutting.changes:
        out.print("\nA rehearsal on the inventory: it works, and nothing real was changed.")
    return 0


def _told(change: Change) -> None:
    err.print(f"[dim]{change.text}[/]")


def _steps(cutting: Cutting, folders: Folders | None) -> None:
    from rich.table import Table

    from ai_how.host.mig import in_words
    from ai_how.site.cutting import unfinished

    for path in unfinished(folders) if folders else ():
        err.print(f"[yellow]warning:[/] a command was cut off; how it was before is saved in {path}")
    if not cutting.changes:
        out.print("Nothing to do: the GPUs are as asked.")
    for saved in cutting.before:
        out.print(f"{cutting.names[saved.uuid]} ({saved.model}) now: {in_words(saved)}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for act in cutting.besides:
        table.add_row("", act.text, f"[dim]{act.why}[/]")
    for number, change in enumerate(cutting.changes, 1):
        table.add_row(str(number), change.text, f"[dim]{change.why}[/]")
    out.print(table, soft_wrap=False)


def _agreed(args: argparse.Namespace, cutting: Cutting, file: Path) -> bool:
    if not args.json:
        out.print(f"\nHow they are now is saved in {file}")
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        raise UsageError(
            f"{len(cutting.changes)} changes of real GPUs, and there is nobody to ask",
            todo="Say --yes if that is what you want.",
        )
    answer = input("Make these changes? Type yes: ")
    return answer.strip().lower() == "yes"

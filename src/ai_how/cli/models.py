"""List, show, register, promote and convert models.

ai-how models list
ai-how models show site-facts
ai-how models register NAME FOLDER
ai-how models promote NAME:VERSION champion
ai-how models convert NAME|FOLDER [--precision f16]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.client.tracking import ModelVersion


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|register|promote|convert")
    for name, words in {
        "list": (),
        "show": ("name",),
        "register": ("name", "folder"),
        "promote": ("model", "alias"),
        "convert": ("model",),
    }.items():
        verb = verbs.add_parser(name)
        for word in words:
            verb.add_argument(word)
        if name == "convert":
            verb.add_argument("--precision", default="f16", choices=("f32", "f16", "bf16", "q8_0"))
        site_arguments(verb)
        json_argument(verb)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import work

    site = site_of(args)
    models = work.models_of(site)
    match args.verb:
        case "list":
            _show(args, list(models.versions()))
        case "show":
            _show(args, list(models.versions(args.name)))
        case "register":
            _show(args, [models.register(args.name, Path(args.folder))])
        case "promote":
            _show(args, [models.promote(args.model, args.alias)], f"is {args.alias} now")
        case "convert":
            found = work.gguf(site, args.model, err.print, args.precision)
            facts = {"name": found.name, "version": found.version, "path": str(found.path)}
            print_json(facts) if args.json else out.print(str(found.path))
    return 0


def _show(args: argparse.Namespace, versions: list[ModelVersion], note: str = "") -> None:
    if args.json:
        print_json({"models": [asdict(one) for one in versions]})
        return
    if not versions:
        out.print("No model is registered yet; `ai-how train digits` makes one.")
    names = [
        "".join([f"{one.name}:{one.version}", *(f" @{alias}" for alias in one.aliases)]) for one in versions
    ]
    widest = max(map(len, names), default=0)
    for name, one in zip(names, versions, strict=True):
        said = f"{name} {note}" if note else f"{name:<{widest}}"
        out.print(f"{said}  [dim]run {one.run_id}[/]" if one.run_id else said)

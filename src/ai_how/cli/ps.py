"""List the served models and their replicas: what is wanted of each, where it runs, and how it is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.site.serving import Facts


#: Columns of a terminal from which on there is room for everything.
WIDE = 110


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import serving

    shown = serving.ps(site_of(args))
    if args.json:
        print_json(shown)
        return 0
    if shown.get("problem"):
        err.print(f"[yellow]as it was seen last:[/] {shown['problem']}")
    if not shown["models"] and not shown["replicas"]:
        out.print("Nothing is served. `ai-how serve MODEL` serves a model.")
        return 0
    _models(shown)
    if shown["replicas"]:
        out.print("")
        _replicas(shown)
    for model in shown["models"]:
        if model["log_tail"]:
            out.print(f"\n[bold]{model['model']}[/]: the last lines of what failed")
            for line in model["log_tail"].splitlines():
                out.print(f"  {line}", markup=False)
    return 0


def _models(shown: Facts) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    # Who asked is in --json; a name or a path is never cut short, since somebody will type it.
    narrow, why = out.width < WIDE, any(one["reason"] for one in shown["models"])
    table.add_column("model", overflow="fold")
    for name in ("state", "replicas"):
        table.add_column(name, no_wrap=True)
    table.add_column("version", overflow="fold")
    for name in (*(() if narrow else ("asked by",)), *(("reason",) if why else ())):
        table.add_column(name)
    for one in shown["models"]:
        mine = [replica for replica in shown["replicas"] if replica["model"] == one["model"]]
        answering = [each for each in mine if each["phase"] == "ready" and not each["draining"]]
        table.add_row(
            one["model"],
            _coloured("stopped" if one["stopped"] and not answering else one["state"]),
            _count(one, answering),
            _version(one),
            *(() if narrow else (one["asked_by"],)),
            *((one["reason"],) if why else ()),
        )
    out.print(table, soft_wrap=False)


def _coloured(state: str) -> str:
    colour = {"ready": "green", "failed": "red", "starting": "yellow"}.get(state, "dim")
    return f"[{colour}]{state}[/]"


def _count(model: dict[str, Any], answering: list[dict[str, Any]]) -> str:
    least, most = model["min"], model["max"]
    beside = sum(one["version"] != model["version"] for one in answering) if model["canary"] else 0
    ready = len(answering) - beside
    span = f" ({least} to {most})" if least != most else ""
    return f"{ready} of {model['replicas_wanted']}{span}{f' + {beside}' if beside else ''}"


def _version(model: dict[str, Any]) -> str:
    canary = model["canary"]
    beside = f", {canary['weight']} % {canary['source']}" if canary else ""
    number = f" ({model['registry_version']})" if model["registry_version"] else ""
    return f"{model['source'] or '-'}{number}{beside}"


def _replicas(shown: Facts) -> None:
    import time

    from rich.table import Table

    from ai_how.cli.output import duration

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("replica of", overflow="fold")
    for name in ("state", "job", "node", "time left"):
        table.add_column(name, no_wrap=True)
    table.add_column("requests", justify="right", no_wrap=True)
    table.add_column("reason")
    now = time.time()
    for one in shown["replicas"]:
        state = "draining" if one["draining"] and one["phase"] == "ready" else one["phase"]
        left = duration(max(one["ends"] - now, 0)) if one["ends"] else ""
        table.add_row(
            one["model"], state, str(one["job_id"] or "-"), one["node"] or "", left, str(one["requests"]),
            one["leaving"] or one["reason"] or "",
        )  # fmt: skip
    out.print(table, soft_wrap=False)

"""Show who used which model: requests, tokens, and the GPU-hours and CPU-hours of the jobs that served them.

ai-how usage
ai-how usage --by user --since 2026-11-01
ai-how usage --by model --by day --days 7 --user "Ada Lovelace"
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.serving.usage import Sum
    from ai_how.site.usage import Usage

DAY = 86400.0
CHOICES = ("user", "token", "model", "job", "hour", "day", "month")
#: What can be asked of alone.
ONLY = ("user", "token", "model", "job")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--by",
        action="append",
        choices=CHOICES,
        help="what it is summed up by; may be repeated (default: user and model)",
    )
    parser.add_argument("--since", type=_day, help="the first day, YYYY-MM-DD")
    parser.add_argument("--until", type=_day, help="the day after the last one (default: now)")
    parser.add_argument("--days", type=float, default=30.0, help="without --since: so many days back (30)")
    for name in ONLY:
        parser.add_argument(f"--{name}", help=f"this {name} alone")
    site_arguments(parser)
    json_argument(parser)


def _day(text: str) -> float:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as 2026-11-30") from None


def run(args: argparse.Namespace) -> int:
    from ai_how.errors import UsageError
    from ai_how.site.usage import usage

    site = site_of(args)
    now = site.clock.now()
    until = args.until if args.until is not None else now
    since = args.since if args.since is not None else until - args.days * DAY
    if not 0 <= since < until:
        raise UsageError(
            "the period ends before it begins", todo="--since is before --until, --days above 0."
        )
    only = {name: value for name in ONLY if (value := getattr(args, name)) is not None}
    found = usage(site, since, until, args.by or ["user", "model"], only)
    if args.json:
        print_json(found.as_json())
        return 0
    _print(found)
    return 0


def _print(found: Usage) -> None:
    from rich.table import Table

    days = [time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in (found.since, found.until)]
    if not found.sums:
        out.print(f"Nothing was asked of the gateway from {days[0]} until {days[1]}.")
        return
    err.print(f"[dim]from {days[0]} until {days[1]}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in found.by:
        table.add_column(name, overflow="fold")
    for name in (
        "requests",
        "failed",
        "tokens read",
        "written",
        "GPU-hours",
        "CPU-hours",
        "GPU-h / M tokens",
    ):
        table.add_column(name, justify="right")
    for one in found.sums:
        table.add_row(*one.key, *_figures(one))
    if len(found.sums) > 1:
        table.add_row("[dim]all[/]", *[""] * (len(found.by) - 1), *_figures(found.total))
    out.print(table, soft_wrap=False)
    if found.could_not_tell:
        err.print(f"[yellow]warning[/] no hours: {found.could_not_tell}")
    if found.unknown:
        jobs = ", ".join(found.unknown[:10]) + (" ..." if len(found.unknown) > 10 else "")
        err.print(
            f"[yellow]warning[/] Slurm's accounting does not know these jobs, their hours are missing: {jobs}"
        )
    if estimated := found.total.estimated:
        err.print(f"[dim]of {estimated} requests the engine told no count; their tokens are estimated[/]")


def _figures(one: Sum) -> tuple[str, ...]:
    counts = (one.requests, one.failed, one.prompt, one.completion)
    hours = (one.gpu_hours, one.cpu_hours, one.gpu_hours_per_million)
    return (*(f"{count:,}" for count in counts), *("-" if hour is None else f"{hour:,.2f}" for hour in hours))

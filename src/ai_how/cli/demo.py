"""See all of it once: bring a site up, train, fine-tune, evaluate, register, convert, serve, ask.

Everything is real: Slurm schedules the jobs, MLflow keeps the runs and the models, llama.cpp answers behind the
gateway. A report is written at the end; the site goes down unless told to stay.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import PlanProgress, err, json_argument, out, print_json

if TYPE_CHECKING:
    from ai_how.site import Site


def arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument("--keep", action="store_true", help="leave the site up")
    parser.add_argument(
        "--report", type=Path, help="where to write the report (default: in the demo's folder)"
    )


class DemoProgress(PlanProgress):
    """The phases of the demo around the steps of its plan."""

    def phase(self, name: str) -> None:
        err.print(f"[bold]{name}[/]")

    def phase_done(self, name: str, seconds: float, outcome: str) -> None:
        err.print(f"  [green]done[/] in {seconds:.1f} s  [dim]{outcome}[/]")


def run(args: argparse.Namespace) -> int:
    from ai_how.site.demo import run_demo
    from ai_how.site.report import html
    from ai_how.site.report.terminal import closing

    site, folder = _site()
    report = (args.report or folder / "report.html").absolute()
    try:
        with DemoProgress() as progress:
            facts = run_demo(site, progress, report)
        report.write_text(html(facts), encoding="utf-8")
    finally:
        if not args.keep:
            err.print("[dim]taking the site down[/]")
            site.down()
    if args.json:
        print_json(facts.as_json())
        return 0
    out.print(closing(facts), soft_wrap=False)
    if args.keep:
        out.print(f"The site is up: cd {folder} && ai-how status")
    return 0


def _site() -> tuple[Site, Path]:
    """The demo's own site, from the laptop template."""
    from ai_how.host import Folders
    from ai_how.site import open_site
    from ai_how.spec.template import laptop

    folder = Folders.of_user(os.environ).make().home / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "cluster.yaml"
    file.write_text(laptop("demo"))
    return open_site(file), folder

"""Bring the site to what its file asks. Run it again after any change to the file, or after any fault."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ai_how.cli.output import (
    PlanProgress,
    broken,
    json_argument,
    out,
    print_json,
    print_warning,
    site_arguments,
    site_of,
)

if TYPE_CHECKING:
    from ai_how.site import Site


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import served

    site = site_of(args)
    warnings = site.warnings()
    if not args.json:
        for warning in warnings:
            print_warning(warning)
    begin = time.monotonic()
    with PlanProgress() as progress:
        plan = site.up(progress)
        told = served.changes(site)
        unserved = _settled(site, progress) if served.concerned(site) else ()
    seconds = time.monotonic() - begin
    for words in unserved:
        warnings.append(words)
        if not args.json:
            print_warning(words)
    facts = {
        "name": site.file.spec.name,
        "folder": str(site.layout.root),
        "seconds": round(seconds, 2),
        "steps": [step.as_json() for step in plan.work],
        "serving": [each.as_json() for each in told],
        "warnings": warnings,
        "mlflow": site.tracking_uri or None,
        "gateway": f"{site.gateway_url}/v1",
    }
    if args.json:
        print_json(facts)
        return 0
    count = f"{len(plan.work)} step{'s' if len(plan.work) > 1 else ''}"
    nothing = "the reconciler is told of the models" if told else "nothing had to be done"
    what = f"{count} in {seconds:.1f} s" if plan.work else nothing
    out.print(f"[bold green]{site.file.spec.name} is up[/] ({what})")
    if site.tracking_uri:
        out.print(f"  MLflow   {site.tracking_uri}")
    out.print(f"  gateway  {site.gateway_url}/v1")
    for each in told:
        out.print(f"  serve    {each.model}: {each.why}", markup=False)
    hint = "`ai-how status` shows the site, `ai-how shell` gives its Slurm commands, `ai-how train digits` trains."
    out.print(broken(f"  {hint}", out, "  "))
    return 0


def _settled(site: Site, progress: PlanProgress) -> Sequence[str]:
    """Tell the reconciler what the file wants; imported late, as most sites serve nothing yet when they come up."""
    from ai_how.site import serving

    return serving.settle(site, progress.note)

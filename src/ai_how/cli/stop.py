"""Stop serving a model. Its replicas end the requests that they hold first, unless --now is said.

With a job's id that one replica ends; where so many are wanted, another takes its place before.
"""

from __future__ import annotations

import argparse

from ai_how.cli.output import json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the served model's name, or a replica's job id")
    parser.add_argument("--now", action="store_true", help="do not wait for the requests that it holds")
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import serving

    done = serving.stop(site_of(args), args.model, now=args.now)
    if args.json:
        facts = [{"model": one.model, "job_id": one.job_id} for one in done.replicas]
        print_json({"model": done.model, "stopped": facts, "replaced": done.replaced})
        return 0
    ids = [str(one.job_id) for one in done.replicas if one.job_id is not None]
    jobs = f"job{'s' if len(ids) > 1 else ''} {', '.join(ids)}" if ids else ""
    if done.replaced:
        out.print(f"{jobs} of {done.model} ends; another takes its place")
        return 0
    ends = "ends what it holds" if len(ids) == 1 else "end what they hold"
    how = f"; {jobs} {ends}" if jobs and not args.now else f" ({jobs})" if jobs else ""
    out.print(f"{done.model} is no longer served{how}")
    return 0

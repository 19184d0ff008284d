"""Stop serving a model: every replica of it, or the one with the job id given."""

from __future__ import annotations

import argparse

from ai_how.cli.output import json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the served model's name, or a replica's job id")
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import work

    gone = work.replicas_of(site_of(args)).stop(args.model)
    if args.json:
        print_json({"stopped": [{"model": one.model, "job_id": one.job_id} for one in gone]})
    else:
        for one in gone:
            out.print(f"{one.model} is no longer served (job {one.job_id})")
    return 0

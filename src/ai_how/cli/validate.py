"""Check cluster.yaml without changing anything; every mistake is reported at once."""

from __future__ import annotations

import argparse

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of


def arguments(parser: argparse.ArgumentParser) -> None:
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    site = site_of(args)
    warnings = site.warnings()
    if args.json:
        print_json({"valid": True, "name": site.file.spec.name, "warnings": warnings})
        return 0
    for warning in warnings:
        err.print(f"[yellow]warning:[/] {warning}")
    out.print(f"{site.file.name} is valid: the site '{site.file.spec.name}'")
    return 0

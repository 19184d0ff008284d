"""A shell whose Slurm commands, MLflow and OpenAI clients talk to this site; or one command in such a shell.

ai-how shell                      an interactive shell
ai-how shell -- sbatch job.sh     one command
ai-how shell --there              on the login node of a cluster that is reached over SSH
eval "$(ai-how shell --export)"   the variables, for the shell that you are in
"""

from __future__ import annotations

import argparse
import os
import shlex

from ai_how.cli.output import json_argument, print_json, site_arguments, site_of
from ai_how.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    site_arguments(parser)
    json_argument(parser)
    parser.add_argument("--export", action="store_true", help="print the variables as export statements")
    parser.add_argument(
        "--there", action="store_true", help="run it on the cluster, where that is reached over SSH"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command to run")


def run(args: argparse.Namespace) -> int:
    from ai_how.run import Command
    from ai_how.site.shell import on_cluster, shell_env

    site = site_of(args)
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.there and site.reach and not site.reach.local:
        site.reach.gate.replace(on_cluster(site.reach, words))
    env = shell_env(site)
    if args.json:
        print_json(env)
        return 0
    if args.export:
        for key, value in env.items():
            print(f"export {key}={shlex.quote(value)}")
        return 0
    site.gate.replace(Command(tuple(words or [os.environ.get("SHELL", "/bin/sh")]), env=env))

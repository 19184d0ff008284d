"""Run an evaluation recipe on a model as a Slurm job, tracked in MLflow; wait for its end unless told otherwise.

A recipe is a YAML file beside its script, or one that comes with ai-how: exact-match.
"""

from __future__ import annotations

import argparse

from ai_how.cli.submitting import recipe_arguments, run_recipe


def arguments(parser: argparse.ArgumentParser) -> None:
    recipe_arguments(parser)
    parser.add_argument("--model", help="the model to evaluate: NAME, NAME:VERSION, NAME@ALIAS or a folder")


def run(args: argparse.Namespace) -> int:
    if args.model is not None:
        from ai_how.cli.output import site_of
        from ai_how.site import work

        args.settings.append(f"model={work.model_folder(site_of(args), args.model)}")
    return run_recipe(args, "evaluate")

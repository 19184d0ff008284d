"""Run a fine-tuning recipe as a Slurm job, tracked in MLflow; wait for its end unless told otherwise.

A recipe is a YAML file beside its script, or one that comes with ai-how: site-facts.
"""

from __future__ import annotations

import argparse

from ai_how.cli.submitting import recipe_arguments, run_recipe


def arguments(parser: argparse.ArgumentParser) -> None:
    recipe_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return run_recipe(args, "finetune")

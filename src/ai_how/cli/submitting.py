"""What train, finetune and evaluate share: a recipe, what is changed of it, and waiting for the job."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ai_how.cli.output import err, json_argument, number, out, print_json, site_arguments, site_of
from ai_how.errors import SpecError, UsageError

if TYPE_CHECKING:
    from ai_how.jobs.control import RecipeFile
    from ai_how.jobs.model import JobRecord
    from ai_how.site import Site
    from ai_how.slurm.model import Job


def recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a recipe's file or folder, or the name of one that comes with ai-how")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="an argument of the script, in place of the recipe's; may be repeated",
    )  # fmt: skip
    parser.add_argument("--nodes", type=int, help="number of nodes")
    parser.add_argument("--gpus-per-node", type=int, help="number of GPUs on each node")
    parser.add_argument("--gpu", help="type of the GPUs")
    parser.add_argument("--time", dest="time_limit", help="time limit, in Slurm's notation")
    parser.add_argument("--partition", help="partition")
    parser.add_argument("--detach", action="store_true", help="return as soon as the job is submitted")
    parser.add_argument("--dry-run", action="store_true", help="print the batch script and submit nothing")
    site_arguments(parser)
    json_argument(parser)


def run_recipe(args: argparse.Namespace, kind: str) -> int:
    """Submit the recipe that the arguments name, and follow its job."""
    from ai_how.jobs.control import find_recipe
    from ai_how.jobs.render import batch_script
    from ai_how.site import work

    file = find_recipe(args.recipe)
    if file.recipe.kind != kind:
        raise UsageError(
            f"'{args.recipe}' is a recipe of the kind '{file.recipe.kind}'",
            where=str(file.path),
            todo=f"`ai-how {file.recipe.kind} {args.recipe}` runs it.",
        )
    file = _changed(file, args)
    site = site_of(args)
    if args.dry_run:
        jobs = work.jobs_of(site)
        python = work.python_for(site, file, err.print)
        print(batch_script(jobs.prepare(file.recipe, python, "RUN_ID", jobs.new_folder(file.recipe))), end="")
        return 0
    record = work.submit(site, file, lambda text: err.print(f"[dim]{text}[/]"))
    if args.detach:
        # Whoever waits learns of a loss; whoever leaves must be able to rely on the answer.
        err.print(f"[dim]job {record.job_id} is submitted; slurmctld writes it down[/]")
        work.acknowledge(site, record)
        _told(args, {"job_id": record.job_id, "run_id": record.run_id})
        return 0
    run = f"; its run is {site.tracking_uri}/#/runs/{record.run_id}" if record.run_id else ""
    err.print(f"job {record.job_id} is submitted{run}")
    record = _ended(site, record)
    folder = work.jobs_of(site).record(record.job_id)
    result = json.loads(folder[0].result.read_text()) if folder and folder[0].result.exists() else {}
    facts = {
        "job_id": record.job_id,
        "run_id": record.run_id,
        "state": record.state,
        "model": {"name": record.model, "version": record.model_version} if record.model_version else None,
        "accounting": dict(record.accounting),
        "result": result,
    }
    _told(args, facts)
    return 0


def _ended(site: Site, record: JobRecord) -> JobRecord:
    """The record when the job has ended. Whoever leaves before is told that the job stays."""
    from ai_how.site import work

    try:
        return work.wait(site, record, _say)
    except KeyboardInterrupt:
        job = record.job_id
        err.print(
            f"job {job} goes on; `ai-how jobs logs {job} -f` follows it, `ai-how jobs cancel {job}` ends it"
        )
        raise


def _say(job: Job) -> None:
    where = f" on {job.nodes}" if job.nodes else f" ({job.reason})" if job.reason else ""
    err.print(f"[dim]job {job.id} is {job.state.lower()}{where}[/]")


def _told(args: argparse.Namespace, facts: dict[str, Any]) -> None:
    if args.json:
        print_json(facts)
        return
    from rich.markup import escape

    run = f", run {facts['run_id']}" if facts["run_id"] else "; it has no run, as the site has no MLflow"
    out.print(f"[bold green]job {facts['job_id']}[/] {facts.get('state', 'is submitted').lower()}{run}")
    model, result = facts.get("model"), facts.get("result") or {}
    shown = {"model": f"{model['name']} version {model['version']}"} if model else {}
    for key, value in {**shown, **result, **(facts.get("accounting") or {})}.items():
        if isinstance(value, (int, float, str)):
            shown_value = number(value) if isinstance(value, float) else escape(str(value))
            out.print(f"  [dim]{escape(f'{key:<22}')}[/]{shown_value}")


def _changed(file: RecipeFile, args: argparse.Namespace) -> RecipeFile:
    """The recipe with what the command line changes of it, checked again as a whole."""
    from ai_how.jobs.control import TO_CORRECT, RecipeFile
    from ai_how.spec.parse import Position
    from ai_how.spec.recipe import check_recipe

    recipe = file.recipe
    asked = dict(pair.split("=", 1) if "=" in pair else _no_pair(pair) for pair in args.settings)
    given = {
        name: getattr(args, name)
        for name in ("nodes", "gpus_per_node", "gpu", "time_limit", "partition")
        if getattr(args, name) is not None
    }
    facts = recipe.model_dump(exclude_none=True)
    facts["arguments"] = {**facts["arguments"], **asked}
    facts["resources"] = {**facts["resources"], **given}
    try:
        changed = check_recipe(facts, {(): Position(1, 1)}, "the command line")
    except SpecError as error:
        error.todo = TO_CORRECT
        raise
    return RecipeFile(changed, file.path)


def _no_pair(text: str) -> tuple[str, str]:
    raise UsageError(f"'{text}' is no KEY=VALUE", todo="For example: --set epochs=3")

"""Measure a service under load, by a recipe; show, compare, report and export results.

ai-how bench run RECIPE [--out FILE] [--strict] [--gate PERCENT]
ai-how bench run --from RESULT
ai-how bench list [FOLDER]
ai-how bench show RESULT
ai-how bench compare BEFORE AFTER [--allow PERCENT] [--figure NAME]
ai-how bench report RESULT... [--out FILE]
ai-how bench export RESULT --format json|csv|parquet|openmetrics
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json, print_warning, site_arguments, site_of
from ai_how.errors import AiHowError, CouldNotTell, NotFound, SpecError, UsageError

if TYPE_CHECKING:
    from ai_how.bench.interfaces import Deployer, Place, Script
    from ai_how.bench.model import Result
    from ai_how.site import Site
    from ai_how.spec.bench import BenchRecipe

VERBS = {
    "run": "measure by a recipe, and write the result to a file",
    "list": "list the recipes and the results in a folder",
    "show": "show a result: every figure with its verdict",
    "compare": "compare two results, or the two sides of one; ends with 1 when a figure got worse",
    "report": "write a page with the pictures of one result or of several",
    "export": "write the figures, or the single requests, for another program",
}
FORMATS = ("json", "csv", "parquet", "openmetrics")
EXIT_INTERRUPTED = 130


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    of = {name: verbs.add_parser(name, help=line, description=line) for name, line in VERBS.items()}
    _arguments_of_run(of["run"])
    of["list"].add_argument("folder", type=Path, nargs="?", default=Path(), help="the folder (default: here)")
    of["show"].add_argument("result", type=Path, help="a result's file")
    of["show"].add_argument(
        "--strict", action="store_true", help="end with 1 when a figure fails its verdict"
    )
    for verb in ("run", "show"):
        of[verb].add_argument("--all", action="store_true", help="show the finer figures too")
    _arguments_of_compare(of["compare"])
    of["report"].add_argument("result", type=Path, nargs="+", help="results' files")
    of["report"].add_argument(
        "--out", type=Path, metavar="FILE", help="where the page goes (default: beside the first result)"
    )
    of["export"].add_argument("result", type=Path, help="a result's file")
    of["export"].add_argument("--format", choices=FORMATS, default="json", help="the form (default: json)")
    of["export"].add_argument("--out", type=Path, metavar="FILE", help="a file (default: standard output)")
    of["export"].add_argument(
        "--samples", action="store_true", help="the single requests, not the figures; csv and parquet"
    )
    for verb in ("run", "list", "show", "compare"):
        json_argument(of[verb])


def _arguments_of_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, nargs="?", help="the bench recipe's file")
    parser.add_argument(
        "--from", type=Path, dest="result", metavar="RESULT", help="run what a result was measured by"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the result goes (default: NAME-TIME.json here)"
    )
    parser.add_argument("--strict", action="store_true", help="end with 1 when a figure fails its verdict")
    parser.add_argument(
        "--gate",
        type=percent,
        metavar="PERCENT",
        help="end with 1 when the second side is worse by more than this",
    )
    parser.add_argument("--no-track", action="store_true", help="do not record it in the site's MLflow")
    site_arguments(parser)


def _arguments_of_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="the result to compare with")
    parser.add_argument(
        "after", type=Path, nargs="?", help="the result that may be worse; without it the sides of the first"
    )
    parser.add_argument(
        "--allow",
        type=percent,
        default=5.0,
        metavar="PERCENT",
        help="how much worse a figure may be (default: 5)",
    )
    parser.add_argument(
        "--figure", action="append", default=[], metavar="NAME", help="a figure to compare; may be repeated"
    )


def percent(text: str) -> float:
    """How much worse a figure may be."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no percentage of 0 or more, such as 5")
    return value


def run(args: argparse.Namespace) -> int:
    from ai_how.cli import bench_show as told

    return {
        "run": _run, "list": told.list_, "show": told.show, "compare": told.compare, "report": _report,
        "export": _export,
    }[args.verb](args)  # fmt: skip


# --- run ----------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    from ai_how.bench.control import Bench, spots
    from ai_how.bench.log import FileLog
    from ai_how.bench.monitor import MachineMonitor
    from ai_how.cli.bench_live import watched
    from ai_how.run import terminated_as_interrupted, undisturbed

    recipe = _recipe(args)
    if args.gate is not None and not recipe.against:
        raise UsageError(
            "a gate needs two sides", todo="Write what the second has otherwise under `against`."
        )
    path = args.out or Path(time.strftime(f"{recipe.name}-%Y%m%d-%H%M%S.json"))
    writable(path)
    site = _site(args, recipe)
    with terminated_as_interrupted(), _place(args, recipe, site) as place, watched(recipe) as (heard, say):
        addresses = dict.fromkeys(one.place.address for one in spots(recipe, place))
        log, monitor = FileLog(path, say), MachineMonitor(place.gate, place.folder, *addresses)
        try:
            result = Bench(recipe, place, log=log, monitor=monitor, heard=heard, say=say).run()
        finally:
            monitor.close()
    with undisturbed():
        result = log.finish(result)
        keep(path, result)
    tracked = _track(site, result, path) if site is not None and not args.no_track else None
    return _end(args, result, path, tracked)


def _end(args: argparse.Namespace, result: Result, path: Path, tracked: str | None) -> int:
    """Print the result, and say by the exit code how it is."""
    from ai_how.bench.compare import sides_compared
    from ai_how.bench.load import INTERRUPTED
    from ai_how.cli import bench_show as told

    found = None
    if not args.json:
        told.tell(result, args.all)
        out.print(f"\nthe result is in {path}", markup=False)
    if args.gate is not None and not result.partial:
        found = sides_compared(result, (), args.gate / 100)
    if args.json:
        more = {"comparison": told.comparison_of(found)} if found else {}
        print_json(told.facts_of(result) | {"result": str(path), "mlflow_run": tracked} | more)
    elif found is not None:
        out.print()
        told.tell_comparison(found)
    if result.partial:
        return EXIT_INTERRUPTED if result.partial.endswith(INTERRUPTED) else CouldNotTell.exit_code
    if found is not None and found.outcome == "worse":
        return 1
    return told.strict(args, result) if result.figures else CouldNotTell.exit_code


def _recipe(args: argparse.Namespace) -> BenchRecipe:
    from ai_how.bench.results import read_result
    from ai_how.run.files import read_whole
    from ai_how.spec.bench import parse_bench

    if (args.recipe is None) == (args.result is None):
        raise UsageError("name a recipe's file, or a result after --from: one of the two")
    if args.result is not None:
        return read_result(args.result).recipe
    try:
        return parse_bench(read_whole(args.recipe), str(args.recipe))
    except NotFound as error:
        raise NotFound(
            error.message, where=error.where, todo="`examples/bench/` has some to copy."
        ) from error
    except SpecError as error:
        error.todo = "Correct the file, and run it again; nothing was measured."
        raise


def _site(args: argparse.Namespace, recipe: BenchRecipe) -> Site | None:
    """The site: asked for where the recipe needs one, and otherwise the one that is here and was brought up."""
    from ai_how.spec.bench_target import MODELS

    whole = any(
        one.job is not None or (one.url is None and one.api in (*MODELS, "s3")) for one in recipe.targets
    )
    if whole or recipe.load.nodes or args.file or args.root:
        return site_of(args)
    try:
        site = site_of(args)
    except AiHowError:
        return None
    return site if site.exists else None


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder of its own that is gone afterwards, however often somebody presses Ctrl-C."""
    import tempfile

    from ai_how.run import undisturbed

    folder = tempfile.TemporaryDirectory(prefix="ai-how-bench-", ignore_cleanup_errors=True)
    try:
        yield Path(folder.name)
    finally:
        with undisturbed():
            folder.cleanup()


@contextmanager
def _place(args: argparse.Namespace, recipe: BenchRecipe, site: Site | None) -> Iterator[Place]:
    """Where it is measured: a scratch folder, the address and the token, and the site's cluster where there is one."""
    from ai_how.bench.interfaces import Place
    from ai_how.bench.targets.web import address_of
    from ai_how.run import LocalGate

    url, token = _where(recipe, site)
    certificate = recipe.target.certificate or (
        site.gateway_ca if site and recipe.target.url is None else None
    )
    address = address_of(url, certificate) if url else None
    with _scratch() as folder:
        here = Place(LocalGate(), folder, address, token, scripts=_script)
        if site is None or not site.exists:
            yield here
            return
        yield replace(
            here,
            slurm=site.slurm,
            slurm_env=dict(site.slurm.env),
            srun=str(site.program_paths.get("srun", "srun")),
            share=site.layout.share,
            settings=_store_of(site),
            deployer=_deployer(recipe, site),
        )


def _deployer(recipe: BenchRecipe, site: Site) -> Deployer | None:
    """What serves the models that the recipe wants served; None where it wants none."""
    if all(one.deploy is None for one in recipe.targets):
        return None
    from ai_how.site.deployment import Deployment

    return Deployment(site, lambda text: err.print(text, style="dim", markup=False))


def _script(name: str) -> Script:
    """A train recipe, shipped or of a path, as far as it is measured. Raises :class:`UsageError` for another one."""
    from ai_how.bench.interfaces import Script
    from ai_how.jobs.control import SUPPORT, find_recipe

    file = find_recipe(name)
    recipe, kept = file.recipe, file.recipe.environment.venv
    if recipe.kind != "train" or recipe.script is None or kept is None:
        raise UsageError(
            f"the recipe '{recipe.name}' cannot be measured",
            where=str(file.path),
            cause="it is no training"
            if recipe.kind != "train"
            else "its environment is none that AI-HOW keeps",
            todo="Name a recipe of the kind 'train' with `environment: {venv: ...}`.",
        )
    return Script((file.path.parent, SUPPORT), recipe.script, recipe.arguments, kept)


def _store_of(site: Site) -> dict[str, str]:
    """The site's object store: where it is, and its keys."""
    from ai_how.services import object_store

    setting = site.setting()
    return {
        "s3_url": object_store.endpoint(setting),
        "s3_access_key": setting.secrets["s3-access-key"],
        "s3_secret_key": setting.secrets["s3-secret-key"],
    }


def _where(recipe: BenchRecipe, site: Site | None) -> tuple[str | None, str | None]:
    """The address and the token: of the recipe, or of the site's gateway."""
    from ai_how.spec.bench_target import MODELS

    target, variable = recipe.target, recipe.target.token_variable
    if variable is not None and not os.environ.get(variable):
        raise NotFound(
            f"the recipe takes the token from ${variable}, and that is not set", todo=f"export {variable}=..."
        )
    token = os.environ[variable] if variable else None
    gateway = any(one.url is None and one.api in MODELS for one in recipe.targets)
    if target.url is not None or site is None or not gateway:
        return target.url, token
    return site.gateway_url, token or site.gateway_token


def writable(path: Path) -> None:
    """Raises :class:`AiHowError` where no result can be written there: better said now than after an hour."""
    folder = path.parent
    if path.is_dir():
        raise UsageError("that is a folder", where=str(path), todo="Name a file in it, such as result.json.")
    if not folder.is_dir():
        raise NotFound(
            "there is no such folder to write the result to", where=str(folder), todo="Make it first."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AiHowError(
            "nothing may be written to that folder",
            where=str(folder.absolute()),
            todo="Name another with --out.",
        )


def keep(path: Path, result: Result) -> None:
    """Write the result; where the disk refuses, it goes to the terminal rather than be lost."""
    from ai_how.bench.results import write_result

    try:
        write_result(path, result)
    except OSError as error:
        print(result.model_dump_json())
        raise AiHowError(
            f"the result could not be written: {error.strerror or error}",
            where=str(path),
            cause="it stands on standard output instead, as one line of JSON",
            todo="Keep that line in a file; `ai-how bench show` reads it.",
        ) from error


def _track(site: Site, result: Result, path: Path) -> str | None:
    """Record it in the site's MLflow; the run's id. A server that is down is said, and costs nothing of the result."""
    from ai_how.bench.tracked import track
    from ai_how.client.tracking import Tracking

    if not site.exists:
        return None
    try:
        run_id = track(Tracking(site.tracking_uri), result, path)
    except AiHowError as error:
        print_warning(f"not recorded in MLflow: {error.message}")
        return None
    err.print(f"recorded in MLflow as run {run_id}", style="dim", markup=False)
    return run_id


# --- report and export --------------------------------------------------------------------------------


def _report(args: argparse.Namespace) -> int:
    from ai_how.bench.report import html
    from ai_how.bench.results import read_result
    from ai_how.run import write_whole

    results = [read_result(path) for path in args.result]
    path = args.out or args.result[0].with_suffix(".html")
    try:
        write_whole(path, html(results), mode=0o644)
    except OSError as error:
        raise AiHowError(
            f"the report could not be written: {error.strerror or error}",
            where=str(path),
            todo="Name another with --out.",
        ) from error
    out.print(f"wrote {path}", markup=False)
    return 0


def _export(args: argparse.Namespace) -> int:
    from ai_how.bench.export import exported
    from ai_how.bench.results import read_result

    text = exported(args.result, read_result(args.result), args.format, args.samples, args.out)
    if text is not None:
        print(text, end="")
    return 0

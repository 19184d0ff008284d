"""Measures every service of the survey by its shipped recipe, and keeps the figures for the docs.

    python benchmarks/survey.py [--only NAME ...] [--repetitions 3] [--root FOLDER] [--file FILE] [--results FOLDER]

It brings up a site of the laptop's template in FOLDER (a new one in /tmp by default), runs the recipes in
``examples/bench`` that need no served model one after the other, and destroys the site. With ``--file cluster.yaml``
the site of that file, which must be up, is used instead, and those that ask a model (`site-facts`) are run as well:
`ai-how demo --keep` leaves such a site.
What each was measured at goes into ``benchmarks/results/NAME.json``, of which ``docs/reference/survey.md`` is made.
Three repetitions of a recipe take one to two minutes of a machine that has nothing else to do; it tells what each took.
Ends with 1 when a recipe could not be measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ai_how.bench.survey import OFFERS, compact
from ai_how.spec.bench import parse_bench
from ai_how.spec.bench_target import MODELS
from ai_how.spec.template import laptop

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """One `ai-how` command; what it says on standard output."""
    return subprocess.run(
        [sys.executable, "-m", "ai_how", *words], capture_output=True, text=True, check=False
    )


def measure(name: str, site: tuple[str, ...], repetitions: int, folder: Path, results: Path) -> bool:
    """Run one recipe, and keep its figures; whether it could be measured."""
    began = time.monotonic()
    path = ROOT / "examples" / "bench" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    recipe = folder / path.name
    recipe.write_text("".join(line for line in text.splitlines(True) if not line.startswith("repetitions:")))
    with recipe.open("a", encoding="utf-8") as file:
        file.write(f"repetitions: {repetitions}\n")
    words = (
        "bench",
        "run",
        str(recipe),
        "--json",
        "--no-track",
        "--out",
        str(folder / f"{name}.json"),
        *site,
    )
    done = command(*words)
    if done.returncode != 0:
        print(
            f"{name}: ended with {done.returncode}\n{done.stdout[-800:]}\n{done.stderr[-800:]}",
            file=sys.stderr,
        )
        return False
    shown = f"ai-how bench run examples/bench/{name}.yaml (repetitions: {repetitions})"
    kept = compact(json.loads(done.stdout), shown, time.strftime("%Y-%m-%d"))
    (results / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    good, took = sum(one["ok"] for one in kept["figures"]), time.monotonic() - began
    print(f"{name}: {len(kept['figures'])} figures, {good} of them trusted, {took:.0f} s", flush=True)
    return True


def asks_a_model(name: str) -> bool:
    path = ROOT / "examples" / "bench" / f"{name}.yaml"
    return any(one.api in MODELS for one in parse_bench(path.read_text(encoding="utf-8"), str(path)).targets)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    names = [
        offer.recipe for offer in OFFERS if offer.recipe and (not asked.only or offer.recipe in asked.only)
    ]
    asked.results.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="aih-survey-", dir="/tmp"))
    folder.chmod(0o711)  # as root, PostgreSQL's own account must pass through
    file, root = asked.file or folder / "cluster.yaml", asked.root or folder / "site"
    site: tuple[str, ...] = ("--file", str(file))
    if asked.root or not asked.file:
        site += ("--root", str(root))
    try:
        if not asked.file:
            file.write_text(laptop("survey"), encoding="utf-8")
            done = command("up", *site)
            if done.returncode != 0:
                print(done.stderr, file=sys.stderr)
                return 1
            names = [name for name in names if not asks_a_model(name)]
        outcomes = [measure(name, site, asked.repetitions, folder, asked.results) for name in names]
    finally:
        if not asked.file:
            command("destroy", "--yes", *site)
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())

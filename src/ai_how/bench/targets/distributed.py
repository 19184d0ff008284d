"""What training and collectives share: processes on one machine, or dealt out to a job's nodes by srun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Place
from ai_how.bench.targets.driven import PROBES, python_of
from ai_how.bench.targets.job import Ran, runner
from ai_how.errors import CouldNotTell, UsageError
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.recipe import Resources

ENVIRONMENT = "torch"


def launch(words: tuple[str, ...], processes: int, asked: Resources | None) -> tuple[str, ...]:
    """The command line that starts so many processes. Pure. Raises :class:`UsageError` for an uneven share."""
    if asked is None or asked.nodes == 1:
        return words
    if processes % asked.nodes:
        raise UsageError(f"{processes} processes cannot be dealt out to {asked.nodes} nodes alike")
    return (
        "srun", f"--nodes={asked.nodes}", f"--ntasks={processes}", f"--ntasks-per-node={processes // asked.nodes}",
        "--cpus-per-task=1", "--overcommit", "--kill-on-bad-exit=1", *words,
    )  # fmt: skip


def together(
    recipe: BenchRecipe, place: Place, name: str, question: Mapping[str, Any], folder: Path
) -> tuple[Mapping[str, Any], Ran]:
    """Run the program ``name`` as ``processes`` of the question; its answer. Raises :class:`CouldNotTell`."""
    asked, processes = recipe.target.job, question["processes"]
    by_srun = asked is not None and asked.nodes > 1
    folder.mkdir(mode=0o700)
    file, answer = folder / "asked.json", folder / "answer.json"
    facts = {**question, "folder": str(folder), "by_srun": by_srun}
    file.write_text(json.dumps(facts), encoding="utf-8")
    words = (python_of(place, ENVIRONMENT), str(PROBES / f"{name}.py"), str(file), str(answer))
    command = Command(
        launch(words, processes, asked),
        env={"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        cwd=PROBES,
        timeout=3600.0,
    )
    ran = runner(place, asked, recipe.name)(command)
    try:
        found: Mapping[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found, ran
    except (OSError, ValueError) as error:
        raise CouldNotTell(f"{name}.py left no answer", detail=ran.done.tail() or None) from error

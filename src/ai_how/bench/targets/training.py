"""A train recipe's own script, data-parallel: the time of a step, samples a second, and what more processes bring.

What runs is what `ai-how train` runs: the recipe's files, started by torchrun on each node of a job. The loop that the
recipes share ends after so many steps and tells how long each took.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Measured, Place, Script
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import Driven, Nothing, python_of, seconds_histogram
from ai_how.bench.targets.fio import working_folder
from ai_how.bench.targets.job import Ran, runner
from ai_how.errors import CouldNotTell, UsageError
from ai_how.run import Command
from ai_how.slurm.batch import MEETING, meeting
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Training as Asked
from ai_how.spec.recipe import Resources

#: More epochs than any measurement takes: it ends by its steps.
_EPOCHS = 1_000_000


class Trainings:
    """The same recipe with each number of processes, one after the other."""

    api = "training"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.training or Asked()
        script = found(asked, place)
        return Nothing(
            {"recipe": asked.recipe, "script": script.script, "arguments": arguments(asked, script)}
        )

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def found(asked: Asked, place: Place) -> Script:
    """Raises :class:`UsageError` where nobody knows train recipes, and what their finder raises."""
    if place.scripts is None:
        raise UsageError(
            "no train recipe is known here", todo="`ai-how bench run` knows those that are shipped."
        )
    return place.scripts(asked.recipe)


def arguments(asked: Asked, script: Script) -> dict[str, Any]:
    """The recipe's own, with the batch that is asked for, and epochs without end. Pure."""
    words = dict(script.arguments)
    if "epochs" in words:
        words["epochs"] = _EPOCHS
    if asked.batch is not None:
        words["batch-size"] = asked.batch
    return words


def nodes_of(processes: int, asked: Resources | None) -> int:
    """How many nodes of a job that many processes take: as few as hold them. Pure. Raises :class:`UsageError`."""
    if asked is None:
        return 1
    nodes = min(asked.nodes, math.ceil(processes / asked.tasks_per_node))
    if processes % nodes:
        raise UsageError(f"{processes} processes cannot be dealt out to {nodes} nodes alike")
    return nodes


def launch(
    python: str, script: Script, words: Sequence[str], processes: int, nodes: int, by_srun: bool
) -> str:
    """A shell script: torchrun on each node, as a training's job has it, or on this machine alone. Pure."""
    start = shlex.join(
        (python, "-m", "ai_how_job.torchrun", f"--nnodes={nodes}", f"--nproc-per-node={processes // nodes}")
    )
    inner = f"exec {start} {MEETING} {shlex.join((script.script, *words))}"

    def lines() -> Iterator[str]:
        if by_srun:
            yield from meeting(shlex.quote(python))
            yield f'srun --kill-on-bad-exit=1 bash -c {shlex.quote(inner)} "$master" "$port"'
        else:
            yield f"exec {start} --standalone {shlex.join((script.script, *words))}"

    return "\n".join(("set -u", *lines(), ""))


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """Every number of processes once."""
    asked = recipe.workload.training or Asked()
    script = found(asked, place)
    answers: list[Mapping[str, Any]] = []
    notes: dict[str, Any] = {}
    with working_folder(None, recipe, place) as folder:
        for above in script.folders:
            name = folder / "recipe" / (above.name if above != script.folders[0] else "")
            shutil.copytree(
                above, name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
        for processes in asked.processes:
            answer, ran, nodes = once(recipe, place, script, folder, processes)
            answers.append(answer)
            notes |= {
                f"job.{processes}": ran.job,
                f"nodes.{processes}": nodes,
                "job": ran.job,
                "node": ran.node,
            }
    words = arguments(asked, script)
    return judge(answers, asked, words.get("batch-size"), notes)


def once(
    recipe: BenchRecipe, place: Place, script: Script, folder: Path, processes: int
) -> tuple[Mapping[str, Any], Ran, int]:
    """The recipe with so many processes; what its loop told. Raises :class:`CouldNotTell` where it told nothing."""
    asked, job = recipe.workload.training or Asked(), recipe.target.job
    nodes = nodes_of(processes, job)
    python = python_of(place, script.environment)
    words = [word for name, value in arguments(asked, script).items() for word in _word(name, value)]
    own, told = folder / f"of-{processes}", folder / f"times-{processes}.json"
    own.mkdir(mode=0o700)
    path = folder / f"start-{processes}.sh"
    path.write_text(launch(python, script, words, processes, nodes, job is not None), encoding="utf-8")
    command = Command(
        ("bash", str(path)),
        env={
            "PYTHONPATH": str(folder / "recipe"),
            "AI_HOW_MEASURE": f"{asked.steps}:{told}",
            "AI_HOW_OUTPUT_DIR": str(own),
            "OMP_NUM_THREADS": str(job.cpus_per_task if job else 1),
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        cwd=folder / "recipe",
        timeout=3600.0,
    )
    ran = runner(place, job.model_copy(update={"nodes": nodes}) if job else None, recipe.name)(command)
    try:
        answer: Mapping[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CouldNotTell(
            f"the recipe '{asked.recipe}' told no times of its steps",
            cause="its script does not train by `ai_how_job.ddp`, or ended before it had taken so many",
            detail=ran.done.tail() or None,
        ) from error
    return answer, ran, nodes


def _word(name: str, value: str | int | float | bool) -> tuple[str, ...]:
    """``epochs: 3`` as ``--epochs 3``, a flag that is true as itself, and one that is false as nothing."""
    if isinstance(value, bool):
        return (f"--{name}",) if value else ()
    return f"--{name}", str(value)


def judge(
    answers: Sequence[Mapping[str, Any]], asked: Asked, batch: Any, notes: Mapping[str, Any]
) -> Measured:
    """Pure. The batch grows with the processes (weak scaling), so a perfect one keeps the time of a step.

    Raises :class:`CouldNotTell` for an answer that is none.
    """
    try:
        return _judged(answers, asked, batch, notes)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise CouldNotTell("the times of the steps are not what they should be", cause=repr(error)) from error


def _judged(
    answers: Sequence[Mapping[str, Any]], asked: Asked, batch: Any, notes: Mapping[str, Any]
) -> Measured:
    histograms, values, rates = {}, {}, {}
    for processes, answer in zip(asked.processes, answers, strict=True):
        if answer["world_size"] != processes:
            raise CouldNotTell(f"{answer['world_size']} processes trained where {processes} were asked for")
        times = answer["times"]
        rates[processes] = processes * len(times) / sum(times)
        histograms[f"step.{processes}"] = seconds_histogram(times)
        if batch is not None:
            values[f"samples.{processes}"] = Value(value=rates[processes] * int(batch), unit="1/s")
    fewest = min(asked.processes)
    for processes in asked.processes:
        if processes != fewest:
            share = rates[processes] / rates[fewest] * fewest / processes
            values[f"efficiency.{processes}"] = Value(value=share, unit=f"of {fewest}")
    steps = sum(len(answer["times"]) for answer in answers)
    return Measured(
        seconds=sum(sum(answer["times"]) for answer in answers),
        histograms=histograms,
        values=values,
        sent=steps,
        good=steps,
        notes={**notes, "device": answers[-1]["device"], "torch": answers[-1]["version"],
               "parameters": answers[-1]["parameters"], "batch": batch},
    )  # fmt: skip


TARGET = Trainings()

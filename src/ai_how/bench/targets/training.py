"""A data-parallel training: the time of a step, samples a second, and what more processes bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.targets.distributed import together
from ai_how.bench.targets.driven import Driven, Nothing, seconds_histogram
from ai_how.bench.targets.fio import working_folder
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Training as Asked


class Trainings:
    """The same training with each number of processes, one after the other."""

    api = "training"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.training or Asked()
        return Nothing({"width": asked.width, "layers": asked.layers, "batch": asked.batch})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """Every number of processes once."""
    asked = recipe.workload.training or Asked()
    answers, notes = [], {}
    with working_folder(None, recipe, place) as folder:
        for processes in asked.processes:
            question = {**asked.model_dump(), "processes": processes, "backend": "auto"}
            answer, ran = together(recipe, place, "training", question, folder / str(processes))
            answers.append(answer)
            notes[f"job.{processes}"] = ran.job
    return judge(answers, asked, notes)


def judge(answers: Sequence[Mapping[str, Any]], asked: Asked, notes: Mapping[str, Any]) -> Measured:
    """Pure. The batch grows with the processes (weak scaling), so a perfect one keeps the time of a step."""
    histograms, values, rates = {}, {}, {}
    for processes, answer in zip(asked.processes, answers, strict=True):
        times = answer["found"]["times"]
        rates[processes] = processes * asked.batch * len(times) / sum(times)
        histograms[f"step.{processes}"] = seconds_histogram(times)
        values[f"samples.{processes}"] = Value(value=rates[processes], unit="1/s")
    fewest = min(asked.processes)
    for processes in asked.processes:
        if processes != fewest:
            share = rates[processes] / rates[fewest] * fewest / processes
            values[f"efficiency.{processes}"] = Value(value=share, unit=f"of {fewest}")
    steps = asked.steps * len(asked.processes)
    found = [answer["found"] for answer in answers]
    return Measured(
        seconds=sum(sum(one["times"]) for one in found),
        histograms=histograms,
        values=values,
        sent=steps,
        good=steps,
        notes={**notes, "backend": answers[-1]["backend"], "parameters": found[0]["parameters"],
               "losses": [[one["first"], one["last"]] for one in found]},
    )  # fmt: skip


TARGET = Trainings()

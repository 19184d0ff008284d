"""Metadata of a file system: how many small files are made, looked at, opened, renamed and removed a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import Driven, Nothing, seconds_histogram
from ai_how.bench.targets.fio import file_system
from ai_how.bench.targets.probe import probed
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Metadata as Asked


class FileSystem:
    """The processes are the clients of the load; they begin each operation together."""

    api = "metadata"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.metadata or Asked()
        where = asked.folder or str(place.share if recipe.target.job else place.folder)
        return Nothing({"where": where, **file_system(Path(where))})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """All operations once, over all files."""
    asked = recipe.workload.metadata or Asked()
    question = {**asked.model_dump(), "processes": recipe.load.clients}
    return probed(recipe, place, "metadata", question, judge, folder=asked.folder)


def judge(answer: Mapping[str, Any]) -> Measured:
    """Pure."""
    total = sum(len(one["times"]) for one in answer.values())
    return Measured(
        seconds=sum(one["seconds"] for one in answer.values()),
        histograms={name: seconds_histogram(one["times"]) for name, one in answer.items()},
        values={
            f"{name}s": Value(value=len(one["times"]) / max(one["seconds"], 1e-9), unit="1/s")
            for name, one in answer.items()
        },
        sent=total,
        good=total,
        cache="warm",
    )


TARGET = FileSystem()

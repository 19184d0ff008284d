"""Checkpoints by PyTorch: how fast a state is on the disk, and how fast it is back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import Driven, Nothing, cold, seconds_histogram
from ai_how.bench.targets.fio import file_system
from ai_how.bench.targets.probe import probed
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Checkpoint as Asked
from ai_how.spec.bench_workloads import size_bytes


class Checkpoints:
    """One process saves and loads; the time of a save ends when the disk has it."""

    api = "checkpoint"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.checkpoint or Asked()
        where = asked.folder or str(place.share if recipe.target.job else place.folder)
        return Nothing({"where": where, **file_system(Path(where))})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """So many rounds of saving and loading."""
    asked = recipe.workload.checkpoint or Asked()
    question = {
        "bytes": size_bytes(asked.size),
        "tensors": asked.tensors,
        "rounds": asked.rounds,
        "cold": asked.cold,
    }
    return probed(
        recipe, place, "checkpoint", question, lambda answer: judge(answer, asked),
        folder=asked.folder, environment="torch",
    )  # fmt: skip


def judge(answer: Mapping[str, Any], asked: Asked) -> Measured:
    """Pure."""
    rounds, size = len(answer["save"]), answer["bytes"] / 2**20
    save, load = (sum(answer[name]) / rounds for name in ("save", "load"))
    return Measured(
        seconds=(save + load) * rounds,
        histograms={name: seconds_histogram(answer[name]) for name in ("save", "sync", "load")},
        values={
            "save_bandwidth": Value(value=size / save, unit="MiB/s"),
            "load_bandwidth": Value(value=size / load, unit="MiB/s"),
        },
        sent=2 * rounds,
        good=2 * rounds,
        **cold(asked.cold, answer["kept"]),
        notes={"torch": answer["version"], "bytes": answer["bytes"]},
    )


TARGET = Checkpoints()

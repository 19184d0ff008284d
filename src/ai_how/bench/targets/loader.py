"""Reads of a training: samples from files by PyTorch's data loader."""

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
from ai_how.spec.bench_workloads import Loader as Asked


class Samples:
    """Files are made beforehand; each epoch reads all of them."""

    api = "loader"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.loader or Asked()
        where = asked.folder or str(place.share if recipe.target.job else place.folder)
        return Nothing({"where": where, **file_system(Path(where))})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """So many epochs."""
    asked = recipe.workload.loader or Asked()
    return probed(
        recipe, place, "loader", asked.model_dump(), lambda answer: judge(answer, asked),
        folder=asked.folder, environment="torch",
    )  # fmt: skip


def judge(answer: Mapping[str, Any], asked: Asked) -> Measured:
    """Pure."""
    epochs = answer["epochs"]
    seconds, samples = (sum(one[name] for one in epochs) for name in ("seconds", "samples"))
    return Measured(
        seconds=seconds,
        # The first batch of an epoch waits for the loader's processes to start, and is in the rate alone.
        histograms={"batch_wait": seconds_histogram([wait for one in epochs for wait in one["waits"][1:]])},
        values={
            "samples": Value(value=samples / seconds, unit="1/s"),
            "bandwidth": Value(value=samples * asked.bytes / 2**20 / seconds, unit="MiB/s"),
        },
        sent=samples,
        good=samples,
        **cold(asked.cold, answer["kept"]),
        notes={"torch": answer["version"]},
    )


TARGET = Samples()

"""All-reduce by size: the time, and the bandwidths as NCCL's tests tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.targets.distributed import together
from ai_how.bench.targets.driven import Driven, Nothing, seconds_histogram
from ai_how.bench.targets.fio import working_folder
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Collective as Asked
from ai_how.spec.bench_workloads import size_bytes


class Network:
    """What lies between processes: memory, or the network between nodes."""

    api = "collective"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.collective or Asked()
        nodes = recipe.target.job.nodes if recipe.target.job else 1
        return Nothing({"processes": asked.processes, "nodes": nodes})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """Every size, so many rounds."""
    asked = recipe.workload.collective or Asked()
    question = {
        "processes": asked.processes,
        "bytes": [size_bytes(size) for size in asked.sizes],
        "rounds": asked.rounds,
        "backend": asked.backend,
    }
    with working_folder(None, recipe, place) as folder:
        answer, ran = together(recipe, place, "collective", question, folder / "all")
    return judge(answer, asked, {"job": ran.job, "node": ran.node})


def judge(answer: Mapping[str, Any], asked: Asked, notes: Mapping[str, Any]) -> Measured:
    """Pure. The algorithm's bandwidth is bytes over time, the bus's what all-reduce moves: ``2 (n - 1) / n`` of it."""
    histograms, values, total = {}, {}, 0.0
    for size, one in zip(asked.sizes, answer["found"], strict=True):
        times = one["times"]
        mean = sum(times) / len(times)
        total += sum(times)
        histograms[f"all_reduce.{size}"] = seconds_histogram(times)
        rate = one["bytes"] / mean / 2**30
        values[f"algorithm_bandwidth.{size}"] = Value(value=rate, unit="GiB/s")
        moved = 2 * (asked.processes - 1) / asked.processes
        values[f"bus_bandwidth.{size}"] = Value(value=rate * moved, unit="GiB/s")
    rounds = len(asked.sizes) * asked.rounds
    return Measured(
        seconds=total,
        histograms=histograms,
        values=values,
        sent=rounds,
        good=rounds,
        notes={**notes, "backend": answer["backend"], "device": answer["device"], "torch": answer["version"]},
    )


TARGET = Network()

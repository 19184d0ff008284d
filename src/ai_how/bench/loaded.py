"""The client of a target that the load core drives: one process of it, or as many as the recipe asks for."""

from __future__ import annotations

from ai_how.bench.interfaces import Client, Heard, Measured, Place
from ai_how.bench.load import LoadClient, Worker
from ai_how.bench.model import Calibration
from ai_how.bench.shards import ShardedClient
from ai_how.spec.bench import BenchRecipe


def loaded(recipe: BenchRecipe, place: Place, work: Worker) -> Client:
    """``work`` is the target's own; processes elsewhere find it again by the recipe."""
    load = recipe.load
    if load.nodes or load.processes > 1:
        return ShardedClient(recipe, place)
    return LoadClient(recipe, place, work)


class Around:
    """A client that adds to what another one measures."""

    def __init__(self, inner: Client) -> None:
        self._inner = inner

    def calibrate(self) -> Calibration | None:
        return self._inner.calibrate()

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        return self.more(self._inner.run(number, heard))

    def more(self, found: Measured) -> Measured:
        """What is to be said beside it."""
        return found

    def close(self) -> None:
        self._inner.close()

"""What targets share that bring a load of their own: a client that is one function, a service that is just there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.model import Calibration
from ai_how.bench.priority import as_everybody
from ai_how.errors import CouldNotTell
from ai_how.host import Environments, Folders
from ai_how.spec.bench import BenchRecipe

#: One run of a client: the recipe with the point's values, where it runs, and the number of the repetition.
Measure = Callable[[BenchRecipe, Place, int], Measured]
#: How much of what was dropped from memory may be there still.
KEPT = 0.02
PROBES = Path(__file__).parents[1] / "probes"


class Driven:
    """A client that is one function; the generator is somebody else's, and is not calibrated."""

    def __init__(self, recipe: BenchRecipe, place: Place, measure: Measure) -> None:
        self._recipe, self._place, self._measure = recipe, place, measure

    def calibrate(self) -> Calibration | None:
        return None

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        """Ctrl-C ends the program with the run, of which nothing is kept then: it says nothing before its end."""
        with as_everybody():
            return self._measure(self._recipe, self._place, number)

    def close(self) -> None:
        """It holds nothing between runs."""


class Nothing:
    """A service that is there by itself, such as a file system. ``facts`` is what is told of it."""

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self._facts = dict(facts or {})

    def start(self) -> Mapping[str, Any]:
        return self._facts

    def stop(self) -> None:
        """It was there before, and stays."""


def python_of(place: Place, environment: str) -> str:
    """The Python of a runtime environment, which is built when it is missing. Raises :class:`AiHowError`."""
    folder = Environments(place.gate, Folders.of_user(os.environ)).ensure(environment)
    return str(folder / "bin" / "python")


def seconds_histogram(values: Sequence[float]) -> Histogram:
    """Seconds as nanoseconds. Raises :class:`CouldNotTell` for a negative one: a clock that goes back."""
    try:
        return Histogram(round(value * 1e9) for value in values)
    except ValueError as error:
        raise CouldNotTell("a program told a time that is negative", cause=str(error)) from error


def cold(asked: bool, kept: float) -> dict[str, Any]:
    """The state of the cache, by what was asked for and by the share that memory still held then. Pure."""
    if not asked:
        return {"cache": "warm"}
    if kept <= KEPT:
        return {"cache": "cold"}
    reason = f"{kept:.0%} of what was to be read cold was in memory still: the file system keeps it there"
    return {"cache": "warm", "reasons": (reason,)}

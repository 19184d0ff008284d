"""Two targets, each alone and then both at once: what a checkpoint storm does to those who ask a model."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from ai_how.bench.figures import record
from ai_how.bench.interfaces import Client, Heard, Measured, Place, Service
from ai_how.bench.model import Calibration, RunRecord, Value
from ai_how.bench.targets.web import address_of
from ai_how.bench.verdict import BEYOND, reasons_of_load
from ai_how.errors import AiHowError, UsageError
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_target import Part, Workload

#: How much of the shorter one's time both have to be under way together.
OVERLAP = 0.7
_SIDES = ("first", "second")
_SHARES = {"p50": 0.5, "p99": 0.99}


class Interference:
    """Any two other targets."""

    api = "pair"

    def service(self, recipe: BenchRecipe, place: Place) -> Both:
        return Both(recipe, place)

    def client(self, recipe: BenchRecipe, place: Place) -> PairClient:
        return PairClient(recipe, place)


def parts(recipe: BenchRecipe, place: Place) -> list[tuple[BenchRecipe, Place]]:
    """Each part as a recipe of its own, with its place. Pure. Raises :class:`UsageError` without any."""
    pair = recipe.workload.pair
    if pair is None:
        raise UsageError(
            "the recipe names no pair", todo="Write `workload: {pair: {first: ..., second: ...}}`."
        )
    return [
        (_recipe(recipe, name, one), _place(place, one))
        for name, one in zip(_SIDES, (pair.first, pair.second), strict=True)
    ]


def _recipe(recipe: BenchRecipe, name: str, part: Part) -> BenchRecipe:
    workload = Workload(**{key: getattr(part.workload, key) for key in type(part.workload).model_fields})
    changes = {
        "name": f"{recipe.name}-{name}",
        "target": part.target,
        "workload": workload,
        "load": part.load,
    }
    return recipe.model_copy(update={**changes, "sweep": {}, "against": {}, "search": None})


def _place(place: Place, part: Part) -> Place:
    target = part.target
    return replace(place, address=address_of(target.url, target.certificate)) if target.url else place


class Both:
    """Both services; what one of them cannot start takes down the other."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        from ai_how.bench.targets import target_of

        self._services: list[Service] = [
            target_of(one.target.api).service(one, where) for one, where in parts(recipe, place)
        ]
        self._stack = ExitStack()

    def start(self) -> Mapping[str, Any]:
        facts = {}
        for name, one in zip(_SIDES, self._services, strict=True):
            self._stack.callback(one.stop)
            facts[name] = dict(one.start())
        return facts

    def stop(self) -> None:
        self._stack.close()


@dataclass
class Took:
    """What one client left, between which instants; or why it left nothing."""

    begun: float = 0.0
    ended: float = 0.0
    found: Measured | None = None
    error: Exception | None = None

    @property
    def measured(self) -> Measured:
        """Raises what the client raised."""
        if self.error is not None:
            raise self.error
        assert self.found is not None
        return self.found


class PairClient:
    """Both clients; threads of this process begin them at once."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        from ai_how.bench.targets import target_of

        self._parts = parts(recipe, place)
        self._clients: list[Client] = [
            target_of(one.target.api).client(one, where) for one, where in self._parts
        ]
        self._calibrations: list[Calibration | None] = [None, None]

    def calibrate(self) -> Calibration | None:
        """Each is calibrated by itself: a recipe that asks for too much is refused here."""
        self._calibrations = [one.calibrate() for one in self._clients]
        return None

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        """Each alone, then both together; a repetition with an even number begins with the other one."""
        alone: dict[int, Measured] = {}
        for index in (0, 1) if number % 2 else (1, 0):
            alone[index] = self._clients[index].run(3 * number + index, heard)
        together = self._together(3 * number + 2)
        records = {
            (index, how): record(self._parts[index][0], number, 0.0, found).model_copy(
                update={"calibration": self._calibrations[index]}
            )
            for how, both in (
                ("alone", alone),
                ("together", dict(enumerate(one.measured for one in together))),
            )
            for index, found in both.items()
        }
        return compared(records, overlap(together[0], together[1]), [one for one, _ in self._parts])

    def _together(self, number: int) -> tuple[Took, Took]:
        barrier = threading.Barrier(2)
        took = Took(), Took()

        def one(index: int) -> None:
            mine = took[index]
            barrier.wait()
            mine.begun = time.monotonic()
            try:
                mine.found = self._clients[index].run(number)
            except (AiHowError, OSError) as error:
                mine.error = error
            mine.ended = time.monotonic()

        threads = [threading.Thread(target=one, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return took

    def close(self) -> None:
        for one in self._clients:
            one.close()


def overlap(one: Took, other: Took) -> float:
    """The time that both were under way, as a share of the shorter one's. Pure."""
    both = min(one.ended, other.ended) - max(one.begun, other.begun)
    return max(0.0, both) / max(min(one.ended - one.begun, other.ended - other.begun), 1e-9)


def compared(
    records: Mapping[tuple[int, str], RunRecord], overlapped: float, recipes: Sequence[BenchRecipe]
) -> Measured:
    """Every figure alone and together, and their ratio. Pure.

    What there is against the way in which one was asked is against everything, as each is half of the comparison; what
    there is against its own state, against its own figures.
    """
    values: dict[str, Value] = {}
    doubts: dict[str, str] = {}
    reasons = [
        f"{_SIDES[index]}, {how}: {reason}"
        for (index, how), one in records.items()
        for reason in (
            *one.reasons,
            *reasons_of_load(recipes[index], one),
            *([f"ended early: {one.stopped}"] if one.stopped else []),
        )
    ]
    if overlapped < OVERLAP:
        reasons.append(
            f"both were under way for {overlapped:.0%} of the shorter one's time; {OVERLAP:.0%} is wanted"
        )
    for index, side in enumerate(_SIDES):
        alone, together = records[index, "alone"], records[index, "together"]
        for name, value in figures_of(alone).items():
            other = figures_of(together).get(name)
            if other is None:
                continue
            values[f"{side}.{name}.alone"], values[f"{side}.{name}.together"] = value, other
            if value.value:
                ratio = other.value / value.value
                values[f"{side}.{name}.ratio"] = Value(value=ratio, unit="of alone", better=value.better)
            for how, own in (("alone", alone), ("together", together)):
                if why := _doubt(name, own):
                    doubts |= {f"{side}.{name}.{one}": f"{how}: {why}" for one in (how, "ratio")}
    all_ = list(records.values())
    return Measured(
        seconds=sum(one.seconds for one in all_),
        values=values,
        sent=sum(one.sent for one in all_),
        good=sum(one.good for one in all_),
        errors=dict(sum((Counter(one.errors) for one in all_), Counter[str]())),
        stopped=next((one.stopped for one in all_ if one.stopped), None),
        reasons=tuple(reasons),
        doubts=doubts,
        notes={"overlap": overlapped, **{side: recipes[at].target.api for at, side in enumerate(_SIDES)}},
    )


def _doubt(name: str, run: RunRecord) -> str:
    """What there is against one figure of a part: that it was not steady, or its client's own word. Pure."""
    if not run.steady:
        return f"no steady state: {run.steady_why}"
    base = name.removesuffix(".p50").removesuffix(".p99")
    return run.doubts.get(base, "")


def figures_of(run: RunRecord) -> dict[str, Value]:
    """A run's values, and the percentiles of its latencies that its samples can tell. Pure."""
    found = dict(run.values)
    for name in run.histograms:
        if name in ("lag", "wait", "gap") or name.endswith("_sent"):
            continue
        histogram = run.histogram(name)
        for label, share in _SHARES.items():
            if len(histogram) * (1 - share) >= BEYOND - 1e-6:
                value = histogram.percentile(share) / 1e6
                found[f"{name}.{label}"] = Value(value=value, unit="ms", better="lower")
    return found


TARGET = Interference()

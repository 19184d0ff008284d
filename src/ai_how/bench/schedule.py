"""When each request is due, in seconds from the start, decided before the first one is sent. Pure.

A schedule is absolute and never moved: a request that could not be sent in time is late by its own time alone, and its
latency counts from when it was due. Whoever moves the schedule behind a slow target asks it less just when it is slow,
and does not see how slow it was (*coordinated omission*).
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterable, Iterator

from ai_how.spec.bench import Load


def constant(rate: float, seconds: float) -> array[float]:
    """One request each ``1 / rate`` seconds; the times are products, not sums, so that no error adds up."""
    return array("d", (index / rate for index in range(round(rate * seconds))))


def poisson(rate: float, seconds: float, seed: int) -> array[float]:
    """Arrivals of many who do not know of each other: exponential gaps of ``1 / rate`` in the mean."""
    chance = random.Random(seed)
    return _until(seconds, iter(lambda: chance.expovariate(rate), None))


def bursts(rate: float, seconds: float, shape: float, seed: int) -> array[float]:
    """Gamma gaps of the same mean: a ``shape`` of 1 is :func:`poisson`, below it bursts, above it evener.

    The standard deviation of a gap is ``1 / sqrt(shape)`` of its mean.
    """
    chance = random.Random(seed)
    scale = 1 / (rate * shape)
    return _until(seconds, iter(lambda: chance.gammavariate(shape, scale), None))


def ramp(first: float, last: float, seconds: float) -> array[float]:
    """A rate that goes evenly from ``first`` to ``last``: request ``i`` is due when the rate's integral is ``i``."""
    if first == last:
        return constant(first, seconds)
    slope = (last - first) / seconds
    count = round((first + last) / 2 * seconds)
    # The root of first*t + slope*t**2/2 = i, in the form that loses no digits where the slope is small.
    return array(
        "d", (2 * i / (first + math.sqrt(max(0.0, first * first + 2 * slope * i))) for i in range(count))
    )


def trace(times: Iterable[float]) -> array[float]:
    """Times that were recorded somewhere, in any order and from any origin."""
    ordered = sorted(times)
    return array("d", (time - ordered[0] for time in ordered))


def shard(schedule: array[float], index: int, count: int) -> array[float]:
    """The part of generator ``index`` out of ``count``: every ``count``-th request, on the same clock as the others."""
    return schedule[index::count]


def _until(seconds: float, gaps: Iterator[float]) -> array[float]:
    times, now = array("d"), 0.0
    for gap in gaps:
        now += gap
        if now >= seconds:
            break
        times.append(now)
    return times


def of_load(load: Load, number: int) -> array[float]:
    """The schedule of repetition ``number``, from 1; each has a seed of its own. Not for a closed loop."""
    seed = load.seed + number - 1
    rate = load.rate or 0.0
    made = {
        "constant": lambda: constant(rate, load.seconds),
        "poisson": lambda: poisson(rate, load.seconds, seed),
        "bursts": lambda: bursts(rate, load.seconds, load.shape, seed),
        "ramp": lambda: ramp(rate, load.to_rate or rate, load.seconds),
        "trace": lambda: trace(load.times),
    }
    return made[load.arrivals]()

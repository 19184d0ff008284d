"""Where a run has warmed up, and whether it was steady from there on: by tests, not by a guess. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Observations that MSER-5 takes together.
_BATCH = 5
#: Below this many observations nothing can be told.
FEWEST = 50
#: Blocks of the test for a drift, and what is called one: this far from chance, and this share of the median.
_BLOCKS = 20
_SURE = 2.58
_MATTERS = 0.1


@dataclass(frozen=True)
class Steady:
    """``cut`` observations belong to the warm-up; ``ok`` tells whether the rest is steady, ``why`` in words."""

    cut: int
    ok: bool
    why: str


def judge(values: Sequence[float]) -> Steady:
    """Cut the warm-up off the observations, in the order in which they were due, and test the rest for a drift."""
    if len(values) < FEWEST:
        return Steady(
            0, False, f"{len(values)} requests are too few to tell a steady state; {FEWEST} are needed"
        )
    cut = mser5(values)
    if cut is None:
        if _alike(values):
            # Single slow requests late in a run pull the least error to the edge, too; they are no warm-up.
            return Steady(0, True, "steady from the beginning, with single slow requests")
        return Steady(0, False, "the warm-up did not end within the first half of the run")
    drift, surely = trend(values[cut:])
    if surely and abs(drift) > _MATTERS:
        return Steady(cut, False, f"the latency drifted by {drift:+.0%} over the run")
    return Steady(
        cut, True, f"steady after {cut} requests of warm-up" if cut else "steady from the beginning"
    )


def _alike(values: Sequence[float]) -> bool:
    """Whether the beginning of a run is like its end: no drift over it, and the first blocks are no slower."""
    drift, surely = trend(values)
    if surely and abs(drift) > _MATTERS:
        return False
    size = max(_BATCH, len(values) // _BLOCKS)
    first, last = statistics.median(values[: 2 * size]), statistics.median(values[len(values) // 2 :])
    return abs(first - last) <= _MATTERS * last


def mser5(values: Sequence[float]) -> int | None:
    """How many observations to cut so that the standard error of the rest's mean is least (White, 1997: MSER-5).

    None when the least lies at the edge of the first half: the series has not settled, or is too short to tell.
    """
    means = [sum(values[i : i + _BATCH]) / _BATCH for i in range(0, len(values) - _BATCH + 1, _BATCH)]
    count = len(means)
    half = count // 2
    if half < 2:
        return None
    # Sums from the end, of the differences from one value of the series: squares of large numbers lose digits.
    origin = means[-1]
    total = squares = 0.0
    best, at = math.inf, 0
    for index in range(count - 1, -1, -1):
        total += means[index] - origin
        squares += (means[index] - origin) ** 2
        left = count - index
        if index <= half:
            score = max(0.0, squares - total * total / left) / (left * left)
            if score <= best:
                best, at = score, index
    return None if at == half else at * _BATCH


def trend(values: Sequence[float]) -> tuple[float, bool]:
    """The drift from the first to the last block as a share of the median, and whether it is no chance.

    Mann and Kendall's test over the medians of 20 blocks; Theil and Sen's slope. Blocks, because neighbours in a queue
    wait for the same: their latencies are no independent observations.
    """
    if len(values) < 2 * _BLOCKS:
        return 0.0, False
    size = len(values) / _BLOCKS
    blocks = [statistics.median(values[int(i * size) : int((i + 1) * size)]) for i in range(_BLOCKS)]
    pairs = [(i, j) for i in range(_BLOCKS) for j in range(i + 1, _BLOCKS)]
    score = sum((blocks[j] > blocks[i]) - (blocks[j] < blocks[i]) for i, j in pairs)
    spread = math.sqrt(_BLOCKS * (_BLOCKS - 1) * (2 * _BLOCKS + 5) / 18)
    slope = statistics.median((blocks[j] - blocks[i]) / (j - i) for i, j in pairs)
    middle = statistics.median(blocks)
    drift = slope * (_BLOCKS - 1) / middle if middle else 0.0
    return drift, abs(score) > _SURE * spread

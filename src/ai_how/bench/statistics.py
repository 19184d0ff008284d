"""What can be said of figures that differ from run to run: intervals, and whether two sets of runs differ. Pure.

The run is the unit. Requests of one run share the machine's minute, so thousands of them say less than they seem to.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean, variance
from typing import Literal

#: How often a bootstrap draws.
_DRAWS = 2000
#: Up to so many ways to deal the runs out, all of them are tried; beyond, so many drawn at random.
_DEALS = 10_000
#: The chance of calling it a change when nothing has changed.
ALPHA = 0.05

#: The fewest pairs of runs that a test within pairs can show a change with: 2 of 2 ** 6 deals are rare enough.
PAIRS = 6

Better = Literal["lower", "higher"]


def interval(values: Sequence[float], seed: int = 0, confidence: float = 0.95) -> tuple[float, float] | None:
    """A percentile bootstrap interval of the mean over runs. None for fewer than three: two runs have no spread.

    With few runs such intervals are known to be too narrow; no decision here rests on one.
    """
    if len(values) < 3:
        return None
    chance = random.Random(seed)
    means = sorted(fmean(chance.choices(values, k=len(values))) for _ in range(_DRAWS))
    tail = (1 - confidence) / 2
    return means[int(tail * _DRAWS)], means[min(_DRAWS - 1, int((1 - tail) * _DRAWS))]


def detectable(before: Sequence[float], after: Sequence[float], power: float = 0.8) -> float | None:
    """The smallest change, as a share of ``before``, that such runs would show with that chance. None for too few."""
    if min(len(before), len(after)) < 2 or not fmean(before):
        return None
    spread = math.sqrt(variance(before) / len(before) + variance(after) / len(after))
    normal = NormalDist()
    return (normal.inv_cdf(1 - ALPHA / 2) + normal.inv_cdf(power)) * spread / abs(fmean(before))


@dataclass(frozen=True)
class Change:
    """One figure in two sets of runs. ``change`` and ``detectable`` are shares of the former mean.

    ``chance`` is how probable so large a change in any of the figures compared is, when nothing has changed at all.
    """

    figure: str
    before: float
    after: float
    change: float
    chance: float
    detectable: float | None
    better: Better

    @property
    def found(self) -> bool:
        return self.chance <= ALPHA

    def worse_by(self, allowed: float) -> bool:
        """A change that was found, for the worse, and larger than is allowed."""
        worse = self.change if self.better == "lower" else -self.change
        return self.found and worse > allowed


def enough_runs(before: int, after: int) -> bool:
    """Whether that many runs could show anything: the two most extreme of all deals must be rare enough."""
    return min(before, after) > 0 and 2 / math.comb(before + after, before) <= ALPHA


def compare(
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    better: Mapping[str, Better],
    seed: int = 0,
    *,
    in_turns: bool = False,
) -> tuple[Change, ...]:
    """Each figure that both have, compared by an exact permutation test over the runs.

    ``in_turns``: run ``i`` of one side stands beside run ``i`` of the other. From :data:`PAIRS` on only the deals are
    counted that swap the two of a pair, so that what drifted over the hour is no noise; fewer have too few such deals.

    Were nothing changed, each way to deal the runs out to the two sides would be as probable as the one that happened.
    A figure's chance is the share of deals in which *any* figure differs as much (Westfall and Young): so one change in
    twenty comparisons is reported wrongly, however many figures are compared, and whatever their distribution.
    """
    names = [name for name in before if name in after]
    if not names:
        return ()
    sizes = {(len(before[name]), len(after[name])) for name in names}
    if len(sizes) > 1:
        raise ValueError("the figures have different numbers of runs")
    ((first, second),) = sizes
    paired = in_turns and first == second >= PAIRS
    measure = _paired_distance if paired else _distance
    pooled = {name: [*before[name], *after[name]] for name in names}
    observed = {name: measure(values, tuple(range(first))) for name, values in pooled.items()}
    greatest = [
        max(measure(values, deal) for values in pooled.values())
        for deal in (_swaps(first, seed) if paired else _deals(first + second, first, seed))
    ]
    found = []
    for name in names:
        chance = sum(most >= observed[name] - 1e-9 for most in greatest) / len(greatest)
        old, new = fmean(before[name]), fmean(after[name])
        change = (new - old) / old if old else math.copysign(math.inf, new) if new else 0.0
        found.append(
            Change(name, old, new, change, chance, detectable(before[name], after[name]), better[name])
        )
    return tuple(found)


def _deals(total: int, first: int, seed: int) -> Iterator[tuple[int, ...]]:
    if math.comb(total, first) <= _DEALS:
        yield from combinations(range(total), first)
        return
    chance = random.Random(seed)
    yield tuple(range(first))
    for _ in range(_DEALS):
        yield tuple(chance.sample(range(total), first))


def _swaps(count: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Each way to swap the two of some pairs: which of the pooled runs make up the first side."""
    if 2**count <= _DEALS:
        for bits in range(2**count):
            yield tuple(i + count if bits >> i & 1 else i for i in range(count))
        return
    chance = random.Random(seed)
    yield tuple(range(count))
    for _ in range(_DEALS):
        yield tuple(i + count if chance.random() < 0.5 else i for i in range(count))


def _paired_distance(values: Sequence[float], deal: tuple[int, ...]) -> float:
    """The t of the differences within the pairs, without its sign."""
    count = len(deal)
    gaps = [values[i] - values[(i + count) % (2 * count)] for i in deal]
    gap, spread = abs(fmean(gaps)), math.sqrt(_spread(gaps))
    if gap <= 1e-12 * max(map(abs, values), default=0.0):
        return 0.0
    return gap / spread if spread > 1e-12 * gap else 1e12


def _distance(values: Sequence[float], deal: tuple[int, ...]) -> float:
    """Welch's t, without its sign; a step without any spread is as far as can be."""
    inside = set(deal)
    one = [values[i] for i in deal]
    two = [value for i, value in enumerate(values) if i not in inside]
    gap = abs(fmean(one) - fmean(two))
    spread = math.sqrt(_spread(one) + _spread(two))
    if gap <= 1e-12 * max(map(abs, values), default=0.0):
        return 0.0
    return gap / spread if spread > 1e-12 * gap else 1e12


def _spread(values: Sequence[float]) -> float:
    """The variance of the mean. By hand, since it is asked ten thousand times: `variance` computes in fractions."""
    count = len(values)
    if count < 2:
        return 0.0
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (count - 1) / count

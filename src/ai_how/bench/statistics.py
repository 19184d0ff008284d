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
    """A bootstrap interval of the mean over runs. None for fewer than three: two runs have no spread.

    The percentiles of means that are drawn anew are too near to each other with few runs: of three, such an interval
    holds the truth three times out of four. So both ends are moved away from the mean by what Student's t asks more
    than the normal distribution does. Nothing that cannot be negative gets an end below 0.
    """
    count = len(values)
    if count < 3:
        return None
    chance = random.Random(seed)
    means = sorted(fmean(chance.choices(values, k=count)) for _ in range(_DRAWS))
    tail, middle = (1 - confidence) / 2, fmean(values)
    wider = math.sqrt(count / (count - 1)) * student(1 - tail, count - 1) / NormalDist().inv_cdf(1 - tail)
    low, high = means[int(tail * _DRAWS)], means[min(_DRAWS - 1, int((1 - tail) * _DRAWS))]
    low, high = middle - wider * (middle - low), middle + wider * (high - middle)
    return (low if min(values) < 0 else max(0.0, low)), high


def student(share: float, degrees: int) -> float:
    """The value that ``share`` (half or more) of Student's t with so many degrees of freedom is not above."""
    low, high = 0.0, 1.0
    while _below(high, degrees) < share:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, degrees) < share else (low, middle)
    return high


def _below(value: float, degrees: int) -> float:
    """The share of Student's t that is not above ``value``: the finite sum that there is for whole degrees."""
    angle = math.atan2(value, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = total = 0.0 if degrees == 1 else cosine if odd else 1.0
    for step in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2


def detectable(
    before: Sequence[float],
    after: Sequence[float],
    power: float = 0.8,
    *,
    in_turns: bool = False,
    figures: int = 1,
) -> float | None:
    """The smallest change, as a share of ``before``, that such runs would show with that chance. None for too few.

    It is that of :func:`compare`: so many ``figures`` at once, by the deals that so few runs can be dealt out in, and
    within the pairs where it looks at those.
    """
    first, second = len(before), len(after)
    if min(first, second) < 2 or not fmean(before) or not enough_runs(first, second):
        return None
    if in_turns and first == second >= PAIRS:
        spread = math.sqrt(variance([old - new for old, new in zip(before, after, strict=True)]) / first)
        degrees, deals = first - 1, 2.0**first
    else:
        spread = math.sqrt(variance(before) / first + variance(after) / second)
        degrees, deals = first + second - 2, math.comb(first + second, first)
    # Each deal has its mirror image, which is as far: chances come in twos. Where one pair of them is all that may
    # count, what is to be exceeded is the farthest of the others, which is chance itself: as if half as many counted.
    pairs = math.floor(ALPHA * deals / 2)
    alpha = (2 if pairs > 1 else 1) * pairs / deals
    distance = student(1 - alpha / figures / 2, degrees) + student(power, degrees)
    return distance * spread / abs(fmean(before))


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
            Change(name, old, new, change, chance,
                   detectable(before[name], after[name], in_turns=in_turns, figures=len(names)), better[name])
        )  # fmt: skip
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

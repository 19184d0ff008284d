"""A histogram of whole numbers that keeps every order of magnitude to the same number of digits. Pure.

The cells are those of HdrHistogram, kept in a dictionary: within an octave they are equally wide, and each octave has
as many. So two histograms add up cell by cell, without loss and in any order, whoever recorded them, and no range has
to be chosen beforehand, as the kept package wants it; for what is left of it, a dependency is too much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

#: Each octave has ``2 ** BITS`` cells.
BITS = 8
#: A value told by a percentile differs from a recorded one by at most this share of it: half a cell.
ERROR = 2.0 ** -(BITS + 1)


class Histogram:
    """Counts of whole numbers, 0 and more; by convention nanoseconds. The extremes are kept exactly."""

    __slots__ = ("_cells", "_high", "_low", "_sum")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._cells: dict[int, int] = {}
        self._low, self._high, self._sum = 0, 0, 0
        for value in values:
            self.record(value)

    def record(self, value: int, count: int = 1) -> None:
        """Count a value. Raises :class:`ValueError` for a negative one: a clock that goes back measures nothing."""
        if value < 0:
            raise ValueError(f"a negative duration: {value}")
        if not self._cells:
            self._low = self._high = value
        self._low, self._high = min(self._low, value), max(self._high, value)
        self._sum += value * count
        cell = _cell(value)
        self._cells[cell] = self._cells.get(cell, 0) + count

    def merge(self, other: Histogram) -> None:
        """Add what another one has counted."""
        if not other._cells:
            return
        self._low = min(self._low, other._low) if self._cells else other._low
        self._high = max(self._high, other._high)
        self._sum += other._sum
        for cell, count in other._cells.items():
            self._cells[cell] = self._cells.get(cell, 0) + count

    def __len__(self) -> int:
        return sum(self._cells.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.as_json() == other.as_json()

    @property
    def low(self) -> int:
        return self._low

    @property
    def high(self) -> int:
        return self._high

    @property
    def mean(self) -> float:
        """The exact mean; 0 for an empty histogram."""
        return self._sum / len(self) if self._cells else 0.0

    def percentile(self, share: float) -> int:
        """The smallest value that at least ``share`` (0 to 1) of all are not above; within :data:`ERROR`.

        Raises :class:`ValueError` for an empty histogram: there is no such value, and 0 would be a lie.
        """
        if not self._cells:
            raise ValueError("an empty histogram has no percentiles")
        wanted, seen = share * len(self), 0
        for cell, count in sorted(self._cells.items()):
            seen += count
            if seen >= wanted - 1e-9:
                return min(max(_middle(cell), self._low), self._high)
        return self._high

    def spectrum(self) -> Iterator[tuple[int, float]]:
        """Each value with the share of all that are not above it, upwards."""
        total, seen = len(self), 0
        for cell, count in sorted(self._cells.items()):
            seen += count
            yield min(max(_middle(cell), self._low), self._high), seen / total

    def as_json(self) -> dict[str, object]:
        """All of it; :meth:`of_json` reads it."""
        return {
            "bits": BITS,
            "low": self._low,
            "high": self._high,
            "sum": self._sum,
            "cells": [list(pair) for pair in sorted(self._cells.items())],
        }

    @classmethod
    def of_json(cls, facts: dict[str, object]) -> Self:
        """What :meth:`as_json` wrote. Raises :class:`ValueError` for anything else."""
        made = cls()
        try:
            if facts["bits"] != BITS:
                raise ValueError(f"cells of another width: {facts['bits']}")
            made._low, made._high, made._sum = (_whole(facts[key]) for key in ("low", "high", "sum"))
            made._cells = {_whole(cell): _whole(count) for cell, count in facts["cells"]}  # type: ignore[attr-defined]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no histogram: {error}") from error
        return made


def _cell(value: int) -> int:
    shift = max(0, value.bit_length() - BITS - 1)
    return (shift << BITS) + (value >> shift)


def _middle(cell: int) -> int:
    shift = max(0, (cell >> BITS) - 1)
    first = (cell - (shift << BITS)) << shift
    return first + (1 << shift >> 1)


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"no count: {value}")
    return value

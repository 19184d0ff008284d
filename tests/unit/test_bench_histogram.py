"""Percentiles are within the error that is stated, and histograms add up without loss."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_how.bench.histogram import ERROR, Histogram

NUMBERS = st.lists(st.integers(0, 2**48), min_size=1, max_size=200)


@given(NUMBERS, st.floats(0.001, 1))
def test_a_percentile_is_the_nearest_rank_within_the_error(values: list[int], share: float) -> None:
    exact = next(v for i, v in enumerate(sorted(values), 1) if i >= share * len(values) - 1e-9)
    assert abs(Histogram(values).percentile(share) - exact) <= ERROR * exact


@given(NUMBERS, NUMBERS)
def test_two_histograms_are_one(first: list[int], second: list[int]) -> None:
    merged = Histogram(first)
    merged.merge(Histogram(second))
    assert merged == Histogram([*second, *first])
    assert (merged.low, merged.high) == (min(first + second), max(first + second))


@given(NUMBERS)
def test_json_keeps_all_of_it(values: list[int]) -> None:
    found = Histogram(values)
    assert Histogram.of_json(json.loads(json.dumps(found.as_json()))) == found


def test_the_extremes_and_the_mean_are_exact() -> None:
    values = [random.Random(1).randrange(10**9) for _ in range(1000)]
    found = Histogram(values)
    assert found.percentile(1.0) == max(values)
    assert found.percentile(0.0) >= min(values) == found.low
    assert found.mean == sum(values) / 1000


def test_a_count_stands_for_so_many() -> None:
    found = Histogram()
    found.record(5, count=3)
    assert len(found) == 3 and found == Histogram([5, 5, 5])


def test_an_empty_histogram_has_no_percentile() -> None:
    empty = Histogram()
    with pytest.raises(ValueError, match="no percentiles"):
        empty.percentile(0.5)
    full = Histogram([3])
    full.merge(empty)
    empty.merge(full)
    assert full == empty == Histogram([3])


def test_a_clock_that_goes_back_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="negative"):
        Histogram([-1])


def test_the_spectrum_rises_to_all() -> None:
    spectrum = list(Histogram([1, 1, 2, 1000]).spectrum())
    assert spectrum[0] == (1, 0.5) and spectrum[-1] == (1000, 1.0)


@pytest.mark.parametrize("facts", [{}, {"bits": 3, "low": 0, "high": 0, "sum": 0, "cells": []},
                                   {"bits": 8, "low": 0, "high": 0, "sum": 0, "cells": [["a", 1]]}])  # fmt: skip
def test_what_is_no_histogram_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no histogram|another width|no count"):
        Histogram.of_json(facts)

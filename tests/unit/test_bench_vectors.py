"""Ground truth and recall, held against a computation that shares no line with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_how.bench.targets import vectors
from ai_how.bench.targets.vectors import Dataset


def slowly(data: Dataset, at: int, k: int, filtered: bool) -> list[int]:
    """The neighbours of a query by sorting all distances, in whole Python."""
    found = []
    for number, vector in enumerate(data.vectors.tolist()):
        if filtered and data.labels[number] != data.wanted[at]:
            continue
        distance = sum((a - b) ** 2 for a, b in zip(vector, data.queries[at].tolist(), strict=True))
        found.append((distance, number))
    return [number for _, number in sorted(found)[:k]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 12), st.booleans(), st.integers(0, 1000))
def test_the_exact_neighbours_are_those_of_a_plain_search(
    count: int, dimension: int, k: int, filtered: bool, seed: int
) -> None:
    data = vectors.clustered(count, dimension, 5, 3, seed)
    truth = vectors.exact(data, k, filtered=filtered)
    for at in range(5):
        wanted = slowly(data, at, k, filtered)
        assert [one for one in truth.ids[at].tolist() if one >= 0] == wanted
    share = vectors.recall(data, truth, truth.ids)
    assert share.value in (1.0, None) and share.queries + share.without_truth == 5


def test_recall_counts_what_is_shared_with_the_truth() -> None:
    data = vectors.clustered(300, 8, 40, 4, seed=3)
    truth = vectors.exact(data, 10)
    chance = np.random.default_rng(0)
    found = chance.integers(300, size=(40, 10))
    # The nearest of 30 random ones at least: some hits, many misses.
    found[:, :5] = truth.ids[:, 5:]
    plain = [len(set(row.tolist()) & set(slowly(data, at, 10, False))) / 10 for at, row in enumerate(found)]
    value = vectors.recall(data, truth, found).value
    assert value is not None and 0.5 <= value == pytest.approx(sum(plain) / len(plain))


def test_what_is_returned_twice_counts_once_and_what_the_filter_forbids_not_at_all() -> None:
    data = vectors.clustered(100, 4, 6, 2, seed=1)
    truth = vectors.exact(data, 4)
    twice = np.repeat(truth.ids[:, :1], 4, axis=1)
    assert vectors.recall(data, truth, twice).value == pytest.approx(0.25)
    filtered = vectors.exact(data, 4, filtered=True)
    value = vectors.recall(data, filtered, truth.ids).value
    assert value is not None and value < 1, "the unfiltered neighbours have other labels among them"


def test_a_query_without_ground_truth_is_never_right() -> None:
    data = vectors.clustered(50, 4, 8, 2, seed=1)
    nobody = Dataset(data.vectors, data.labels, data.queries, np.full(8, 99))
    truth = vectors.exact(nobody, 5, filtered=True)
    empty = vectors.recall(nobody, truth, np.full((8, 5), -1))
    assert empty.value is None and empty.without_truth == 8
    wanted = data.wanted.copy()
    wanted[0] = 99
    some = Dataset(data.vectors, data.labels, data.queries, wanted)
    found = vectors.recall(some, vectors.exact(some, 5, filtered=True), np.full((8, 5), -1))
    assert found.value == 0.0 and found.queries == 7


def test_the_same_seed_makes_the_same_vectors() -> None:
    first, again, other = (vectors.clustered(20, 3, 2, 2, seed) for seed in (1, 1, 2))
    assert (first.vectors == again.vectors).all() and (first.vectors != other.vectors).any()

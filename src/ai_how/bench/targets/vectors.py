"""Vectors to search in, what the exact answer is, and how much of it a store found. Pure.

Ground truth is computed here, in double precision and over every vector, and never taken from the store under test. A
store's answer is judged by the exact distances of what it returned, so that two neighbours at one distance may stand in
either order and single precision costs nobody a hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]

#: How much farther than the last true neighbour an equal one may seem: single precision has 1.2e-7.
NEAR = 1e-5
#: Distances computed at once, so that a large set fits into memory.
_BLOCK = 20_000_000


@dataclass(frozen=True)
class Dataset:
    """Vectors with a label each, and queries; ``wanted`` is the label that a filtered query asks for."""

    vectors: Floats
    labels: Ids
    queries: Floats
    wanted: Ids


@dataclass(frozen=True)
class Truth:
    """The exact neighbours of each query, nearest first; ``-1`` where there are fewer than ``k``.

    ``farthest`` is the squared distance of the last of them, NaN for a query to which nothing belongs.
    """

    k: int
    ids: Ids
    farthest: Doubles
    filtered: bool


@dataclass(frozen=True)
class Recall:
    """Found true neighbours over all true ones, in the mean over the queries that have any.

    ``value`` is None when no query has: without ground truth nothing is right.
    """

    value: float | None
    queries: int
    without_truth: int


def clustered(count: int, dimension: int, queries: int, labels: int, seed: int) -> Dataset:
    """Points around centres, as embeddings lie: even noise would make every index look bad. Queries come from the same
    centres and are none of the points.
    """
    chance = np.random.default_rng(seed)
    groups = max(1, round(count**0.5 / 2))
    centres = chance.normal(size=(groups, dimension))

    def some(number: int) -> Floats:
        chosen = centres[chance.integers(groups, size=number)]
        return (chosen + chance.normal(scale=0.5, size=(number, dimension))).astype(np.float32)

    vectors, asked = some(count), some(queries)
    return Dataset(
        vectors,
        chance.integers(labels, size=count).astype(np.int64),
        asked,
        chance.integers(labels, size=queries).astype(np.int64),
    )


def exact(data: Dataset, k: int, *, filtered: bool = False) -> Truth:
    """The ``k`` nearest vectors of each query by squared Euclidean distance; of its wanted label when ``filtered``."""
    vectors = data.vectors.astype(np.float64)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    ids = np.full((len(data.queries), k), -1, dtype=np.int64)
    farthest = np.full(len(data.queries), np.nan)
    step = max(1, _BLOCK // max(1, len(vectors)))
    for first in range(0, len(data.queries), step):
        asked = data.queries[first : first + step].astype(np.float64)
        rough = squares - 2 * asked @ vectors.T
        for row, query in enumerate(asked):
            at = first + row
            allowed = np.flatnonzero(data.labels == data.wanted[at]) if filtered else None
            near = _nearest(rough[row], allowed, k)
            # The short form of the distance loses digits: the few that are near are measured again.
            distances = ((vectors[near] - query) ** 2).sum(axis=1)
            order = np.lexsort((near, distances))[:k]
            ids[at, : len(order)] = near[order]
            if len(order):
                farthest[at] = distances[order[-1]]
    return Truth(k, ids, farthest, filtered)


def _nearest(rough: Doubles, allowed: Ids | None, k: int) -> Ids:
    """Some more than ``k`` candidates, in any order."""
    values = rough if allowed is None else rough[allowed]
    most = min(len(values), k + 16)
    chosen = np.argpartition(values, most - 1)[:most] if most < len(values) else np.arange(len(values))
    return (chosen if allowed is None else allowed[chosen]).astype(np.int64)


def recall(data: Dataset, truth: Truth, found: Ids) -> Recall:
    """How much of the truth a store found; ``found`` has a row a query, ``-1`` where it returned nothing.

    What it returned twice counts once, and what the filter forbids not at all.
    """
    shares: list[float] = []
    for at, row in enumerate(found):
        there = int((truth.ids[at] >= 0).sum())
        if not there:
            continue
        ids = np.unique(row[(row >= 0) & (row < len(data.vectors))])
        if truth.filtered:
            ids = ids[data.labels[ids] == data.wanted[at]]
        differences = data.vectors[ids].astype(np.float64) - data.queries[at].astype(np.float64)
        distances = (differences**2).sum(axis=1)
        hits = int((distances <= truth.farthest[at] * (1 + NEAR)).sum())
        shares.append(min(hits, there) / there)
    without = len(found) - len(shares)
    return Recall(float(np.mean(shares)) if shares else None, len(shares), without)

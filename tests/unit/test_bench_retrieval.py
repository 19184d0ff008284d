"""A store's answer held against the truth: what is judged, what is doubted, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ai_how.bench.figures import figures, record
from ai_how.bench.targets import retrieval, vectors
from ai_how.errors import CouldNotTell
from ai_how.spec.bench import parse_bench

RECIPE = parse_bench(
    'version: "1.0"\nkind: bench\nname: r\nrepetitions: 1\ntarget: {api: retrieval}\nload: {arrivals: closed}\n'
    "workload: {retrieval: {store: faiss, vectors: 200, dimension: 4, queries: 10, k: 5, settings: [8]}}\n",
    "r",
)
ASKED = retrieval.wanted(RECIPE)
DATA = retrieval.dataset(ASKED)
TRUTHS = {False: vectors.exact(DATA, 5)}


def answer(times: list[float], found: list[list[int]] | None = None, **more: Any) -> dict[str, Any]:
    due = np.arange(len(times), dtype=float)
    taken = {"due": due.tolist(), "done": (due + times).tolist(), "error": [""] * len(times)}
    rows = TRUTHS[False].ids.tolist() if found is None else found
    point = {"setting": 8, "filtered": False, "found": rows, "taken": taken}
    facts = {"version": "1", "ingest_seconds": 2.0, "build_seconds": 0.5, "batch_seconds": [2.0], "stored_bytes": 2**20,
             "resident_bytes": 2**21, "points": [point]}  # fmt: skip
    return facts | more


def judged(facts: dict[str, Any]) -> Any:
    return retrieval.judged(facts, ASKED, RECIPE, DATA, TRUTHS, {})


def test_the_truth_itself_has_a_recall_of_one() -> None:
    found = judged(answer([0.001] * 200))
    assert found.values["recall.ef=8"].value == 1.0 and found.values["ingest"].value == 100
    assert found.values["stored"].value == 1.0 and not found.reasons and not found.doubts
    assert judged(answer([0.001] * 200, [[0]] * 10)).values["recall.ef=8"].value < 0.3


def test_times_that_drift_are_doubted_and_recall_is_not() -> None:
    found = judged(answer(np.linspace(0.001, 0.01, 400).tolist()))
    assert set(found.doubts) == {"latency.ef=8", "throughput.ef=8"}
    told = {one.name: one.ok for one in figures(RECIPE, [record(RECIPE, 1, 0.0, found)])}
    assert told["recall.ef=8"] and not told["throughput.ef=8"] and not told["latency.ef=8.p50"]


@pytest.mark.parametrize(
    "change", [{"points": [{}]}, {"batch_seconds": [-1.0]}, {"points": None}, {"ingest_seconds": "x"}]
)
def test_an_answer_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CouldNotTell):
        judged(answer([0.001] * 50, **change))


def test_an_answer_to_too_few_queries_is_refused() -> None:
    with pytest.raises(CouldNotTell, match="not what it should be"):
        judged(answer([0.001] * 50, [[1]] * 3))


def test_a_client_at_its_end_is_read_as_no_server() -> None:
    """What is a library works in the client's own process, and may use all of it."""
    facts = answer([0.001] * 200)
    facts["points"][0]["taken"]["cpu_seconds"] = 0.95 * 199
    assert not judged(facts).doubts
    asked = ASKED.model_copy(update={"store": "pgvector"})
    found = retrieval.judged(facts, asked, RECIPE, DATA, TRUTHS, {})
    assert set(found.doubts) == {"latency.ef=8", "throughput.ef=8"}
    assert "the client used 95% of a core" in found.doubts["latency.ef=8"]

"""Every vector store that is a library or comes with one, really run: exact search finds everything, and what an
approximate one finds is what a plain computation says that it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.targets import vectors
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: stores
repetitions: 1
target: {{api: retrieval}}
load: {{arrivals: closed, clients: 2, seconds: 0.2}}
workload:
  retrieval: {{store: {store}, index: {index}, vectors: 600, dimension: 24, queries: 30, labels: 4, filtered: true,
               settings: {settings}, links: 4, breadth: 16, lists: 20, batch: 250}}
"""
STORES = [
    ("faiss", "hnsw", [10]),
    ("faiss", "ivf", [1]),
    ("lancedb", "flat", []),
    ("chroma", "hnsw", [10, 40]),
    ("milvus", "flat", []),
    ("milvus", "hnsw", [10]),
    ("pgvector", "flat", []),
    ("pgvector", "hnsw", [10]),
]


def plainly(data: vectors.Dataset, found: vectors.Ids, filtered: bool) -> float:
    """Recall by sorted distances and sets, in whole Python."""
    shares = []
    for at, row in enumerate(found.tolist()):
        all_ = [
            (sum((a - b) ** 2 for a, b in zip(vector, data.queries[at].tolist(), strict=True)), number)
            for number, vector in enumerate(data.vectors.tolist())
            if not filtered or data.labels[number] == data.wanted[at]
        ]
        truth = {number for _, number in sorted(all_)[:10]}
        shares.append(len(truth & set(row)) / len(truth))
    return sum(shares) / len(shares)


@pytest.mark.parametrize(("store", "index", "settings"), STORES)
def test_recall_is_what_a_plain_computation_says(
    store: str, index: str, settings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[float | None, float]] = []
    real = vectors.recall

    def recall(data: vectors.Dataset, truth: vectors.Truth, found: vectors.Ids) -> vectors.Recall:
        share = real(data, truth, found)
        judged.append((share.value, plainly(data, found, truth.filtered)))
        return share

    monkeypatch.setattr(vectors, "recall", recall)
    recipe = parse_bench(RECIPE.format(store=store, index=index, settings=settings), "stores.yaml")
    result = Bench(recipe, Place(LocalGate(), tmp_path)).run()
    (run,) = result.runs
    assert run.good == run.sent > 0 and not run.errors
    assert len(judged) == 2 * max(1, len(settings))
    for value, plain in judged:
        assert value == pytest.approx(plain)
        assert value is not None and value > 0.3 and (index != "flat" or value == 1.0)
    curve: list[dict[str, Any]] = run.notes["curve"]
    assert [point["recall"] for point in curve] == [value for value, _ in judged]
    if store == "chroma":
        assert curve[2]["recall"] > curve[0]["recall"], "a broader search finds more, when it is heeded"
    assert run.values["ingest"].value > 0 and run.values["stored"].value > 0

"""Ingest vectors into a store, build its index, search at each setting; what came back is judged elsewhere.

python retrieval.py ASKED.json ANSWER.json. Runs in the runtime environment `retrieval`, without AI-HOW.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pace
import servers
import stores
from ending import end_in_order

STORES = {
    "faiss": stores.Faiss, "chroma": stores.Chroma, "lancedb": stores.Lance,
    "pgvector": servers.Pgvector, "qdrant": servers.Qdrant, "milvus": servers.Milvus,
}  # fmt: skip


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(asked["folder"])
    data = np.load(folder / "data.npz")
    vectors, labels, queries, wanted = (data[name] for name in ("vectors", "labels", "queries", "wanted"))
    end_in_order()
    store = STORES[asked["store"]](asked)
    try:
        answer = measured(store, asked, vectors, labels, queries, wanted)
    finally:
        store.close()  # nothing of ours stays in a server, whatever happened
    Path(sys.argv[2]).write_text(json.dumps(answer))
    return 0


def measured(
    store: Any,
    asked: dict[str, Any],
    vectors: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    wanted: np.ndarray,
) -> dict[str, Any]:
    before = resident()  # behind the import of the store: its code is not what its vectors take
    answer = {"store": asked["store"], "version": store.version, **ingest(store, asked, vectors, labels)}
    answer["resident_bytes"] = resident() - before
    answer["stored_bytes"] = store.bytes()
    answer["points"] = [
        point(store, asked, queries, wanted if filtered else None, setting)
        for setting in (asked["settings"] or [None])
        for filtered in ([False, True] if asked["filtered"] else [False])
    ]
    return answer


def ingest(store: Any, asked: dict[str, Any], vectors: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    batch = asked["batch"]
    started = time.monotonic()
    store.prepare(vectors)
    batches = []
    for first in range(0, len(vectors), batch):
        begun = time.monotonic()
        store.add(first, vectors[first : first + batch], labels[first : first + batch])
        batches.append(time.monotonic() - begun)
    ingested = time.monotonic()
    store.build()
    return {
        "ingest_seconds": ingested - started,
        "batch_seconds": batches,
        "build_seconds": time.monotonic() - ingested,
    }


def point(
    store: Any, asked: dict[str, Any], queries: np.ndarray, wanted: Any, setting: int | None
) -> dict[str, Any]:
    """One setting: first every query once, for the recall; then the load, for the times."""
    if hasattr(store, "use") and setting is not None:
        store.use(setting)

    def ask(index: int) -> list[int]:
        at = index % len(queries)
        return store.search(queries[at], asked["k"], setting, None if wanted is None else int(wanted[at]))

    found = [ask(index) for index in range(len(queries))]
    if asked["due"] is not None:
        taken = pace.open_loop(ask, asked["due"], asked["clients"])
    else:
        taken = pace.closed_loop(ask, asked["clients"], asked["seconds"])
    return {"setting": setting, "filtered": wanted is not None, "found": found, "taken": taken}


if __name__ == "__main__":
    raise SystemExit(main())

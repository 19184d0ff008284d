"""The vector stores that are libraries: FAISS, Chroma, LanceDB. Each under the same few calls, as the store itself does
them best; distances are squared Euclidean everywhere.

``INDEXES`` says which indexes a store has and by which setting its search trades recall for time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


class Faiss:
    """FAISS in this process. ``hnsw`` is built while vectors are added; ``ivf`` is trained first."""

    INDEXES = {"flat": None, "ivf": "nprobe", "hnsw": "ef"}

    def __init__(self, asked: dict[str, Any]) -> None:
        import faiss

        faiss.omp_set_num_threads(1)  # the load has threads of its own: one search is one thread's
        self._faiss, self._kind, self._filtered = faiss, asked["index"], asked["filtered"]
        self._labels: list[np.ndarray] = []
        self.version = faiss.__version__
        size = asked["dimension"]
        if self._kind == "flat":
            self._index = faiss.IndexFlatL2(size)
        elif self._kind == "ivf":
            self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, asked["lists"], faiss.METRIC_L2)
        else:
            self._index = faiss.IndexHNSWFlat(size, asked["links"], faiss.METRIC_L2)
            self._index.hnsw.efConstruction = asked["breadth"]

    def prepare(self, sample: np.ndarray) -> None:
        if self._kind == "ivf":
            self._index.train(sample)

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        self._index.add(vectors)
        self._labels.append(labels)

    def build(self) -> None:
        """FAISS knows no labels: who filters keeps them himself."""
        labels = np.concatenate(self._labels) if self._filtered else np.empty(0, np.int64)
        self._selectors = {
            int(label): self._faiss.IDSelectorBatch(np.flatnonzero(labels == label))
            for label in np.unique(labels)
        }

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        faiss, selector = self._faiss, None
        if label is not None:
            if label not in self._selectors:
                return []
            selector = self._selectors[label]
        if self._kind == "flat":
            wanted = faiss.SearchParameters(sel=selector) if selector is not None else None
        elif self._kind == "ivf":
            wanted = faiss.SearchParametersIVF(nprobe=setting, sel=selector)
        else:
            wanted = faiss.SearchParametersHNSW(efSearch=setting, sel=selector)
        return self._index.search(vector[None, :], k, params=wanted)[1][0].tolist()

    def bytes(self) -> int:
        return int(self._faiss.serialize_index(self._index).nbytes)

    def close(self) -> None:
        return


class Chroma:
    """Chroma on a folder, in this process. Its index is HNSW and is built while vectors are added."""

    INDEXES = {"hnsw": "ef"}

    def __init__(self, asked: dict[str, Any]) -> None:
        os.environ["ANONYMIZED_TELEMETRY"] = "False"
        import chromadb
        from chromadb.config import Settings

        self.version = chromadb.__version__
        self._folder = Path(asked["folder"]) / "chroma"
        self._open = lambda: chromadb.PersistentClient(
            str(self._folder), Settings(anonymized_telemetry=False)
        )
        self._client = self._open()
        self._all = self._client.create_collection(
            "bench",
            embedding_function=None,
            configuration={
                "hnsw": {"space": "l2", "ef_construction": asked["breadth"], "max_neighbors": asked["links"],
                         "ef_search": asked["settings"][0]}
            },
        )  # fmt: skip
        self._most = self._client.get_max_batch_size()

    def prepare(self, sample: np.ndarray) -> None:
        return

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        for at in range(0, len(vectors), self._most):
            part = slice(at, at + self._most)
            ids = [str(first + at + number) for number in range(len(vectors[part]))]
            self._all.add(
                ids, embeddings=vectors[part], metadatas=[{"label": int(one)} for one in labels[part]]
            )

    def build(self) -> None:
        return

    def use(self, setting: int) -> None:
        """Chroma has its search's breadth with the collection, and heeds a new one when that is loaded again."""
        self._all.modify(configuration={"hnsw": {"ef_search": setting}})
        self._client.close()
        self._client = self._open()
        self._all = self._client.get_collection("bench", embedding_function=None)

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        where = None if label is None else {"label": label}
        answer = self._all.query(query_embeddings=[vector], n_results=k, where=where, include=[])
        return [int(one) for one in answer["ids"][0]]

    def bytes(self) -> int:
        return size_of(self._folder)

    def close(self) -> None:
        return


class Lance:
    """LanceDB on a folder, in this process. Without an index it looks at every vector."""

    INDEXES = {"flat": None, "ivf": "nprobes"}

    def __init__(self, asked: dict[str, Any]) -> None:
        import lancedb
        import pyarrow

        self.version, self._arrow, self._asked = lancedb.__version__, pyarrow, asked
        self._folder = Path(asked["folder"]) / "lance"
        self._table: Any = None
        self._database = lancedb.connect(self._folder)

    def prepare(self, sample: np.ndarray) -> None:
        arrow = self._arrow
        schema = arrow.schema(
            [("id", arrow.int64()), ("label", arrow.int64()),
             ("vector", arrow.list_(arrow.float32(), self._asked["dimension"]))]
        )  # fmt: skip
        self._table = self._database.create_table("bench", schema=schema)

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        arrow = self._arrow
        column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1])
        ids = arrow.array(np.arange(first, first + len(vectors), dtype=np.int64))
        self._table.add(arrow.table({"id": ids, "label": arrow.array(labels), "vector": column}))

    def build(self) -> None:
        if self._asked["index"] == "ivf":
            self._table.create_index(
                metric="l2",
                vector_column_name="vector",
                index_type="IVF_FLAT",
                num_partitions=self._asked["lists"],
            )
            self._table.create_scalar_index("label")

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        query = (
            self._table.search(vector, vector_column_name="vector")
            .distance_type("l2")
            .limit(k)
            .select(["id"])
        )
        query = query.bypass_vector_index() if setting is None else query.nprobes(setting)
        if label is not None:
            query = query.where(f"label = {label}", prefilter=True)
        return query.to_arrow()["id"].to_pylist()

    def bytes(self) -> int:
        return size_of(self._folder)

    def close(self) -> None:
        return


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

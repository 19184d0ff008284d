"""The vector stores that are servers: PostgreSQL with pgvector, Qdrant, Milvus. Same calls as in :mod:`stores`.

Secrets come by the environment: ``PGPASSWORD``, ``QDRANT_API_KEY``, ``MILVUS_TOKEN``.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from stores import size_of


class Pgvector:
    """PostgreSQL with pgvector, by ``COPY`` and prepared statements; each thread has its own connection."""

    INDEXES = {"flat": None, "ivf": "ivfflat.probes", "hnsw": "hnsw.ef_search"}
    _TABLE = "ai_how_bench_vectors"

    def __init__(self, asked: dict[str, Any]) -> None:
        import psycopg

        self._psycopg, self._asked, self._here = psycopg, asked, threading.local()
        self._variable = self.INDEXES[asked["index"]]
        with self._connect() as one:
            one.execute("CREATE EXTENSION IF NOT EXISTS vector")
            one.execute(f"DROP TABLE IF EXISTS {self._TABLE}")
            one.execute(
                f"CREATE TABLE {self._TABLE} "
                f"(id bigint PRIMARY KEY, label bigint, v vector({asked['dimension']}))"
            )
            row = one.execute(
                "SELECT extversion, version() FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
            self.version = f"pgvector {row[0]}, {row[1].split(' on ')[0]}"

    def _connect(self) -> Any:
        return self._psycopg.connect(self._asked["server"], autocommit=True, prepare_threshold=1)

    def _own(self) -> Any:
        if not hasattr(self._here, "connection"):
            self._here.connection, self._here.setting = self._connect(), None
        return self._here.connection

    def prepare(self, sample: np.ndarray) -> None:
        return

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        with self._own().cursor().copy(f"COPY {self._TABLE} (id, label, v) FROM STDIN") as copy:
            for number, (vector, label) in enumerate(zip(vectors.tolist(), labels.tolist(), strict=True)):
                copy.write_row((first + number, label, json.dumps(vector)))

    def build(self) -> None:
        asked, one = self._asked, self._own()
        one.execute("SET maintenance_work_mem = '256MB'")
        if asked["index"] == "ivf":
            made = f"lists = {asked['lists']}"
            one.execute(f"CREATE INDEX ON {self._TABLE} USING ivfflat (v vector_l2_ops) WITH ({made})")
        elif asked["index"] == "hnsw":
            made = f"m = {asked['links']}, ef_construction = {asked['breadth']}"
            one.execute(f"CREATE INDEX ON {self._TABLE} USING hnsw (v vector_l2_ops) WITH ({made})")
        if asked["index"] != "flat":
            one.execute(f"CREATE INDEX ON {self._TABLE} (label)")
        one.execute(f"ANALYZE {self._TABLE}")

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        one = self._own()
        if setting is not None and self._here.setting != setting:
            one.execute(f"SET {self._variable} = {int(setting)}")
            # Without this the index hands over ef_search rows at most, and a filter may leave fewer than k of them.
            one.execute(f"SET {self._variable.split('.')[0]}.iterative_scan = relaxed_order")
            # Of few rows the planner would look at each, which is exact search under the name of an index.
            one.execute("SET enable_seqscan = off")
            self._here.setting = setting
        where, words = ("", []) if label is None else ("WHERE label = %s", [label])
        asked = [*words, json.dumps(vector.tolist())]
        rows = one.execute(f"SELECT id FROM {self._TABLE} {where} ORDER BY v <-> %s::vector LIMIT {k}", asked)
        return [row[0] for row in rows.fetchall()]

    def bytes(self) -> int:
        return int(self._own().execute(f"SELECT pg_total_relation_size('{self._TABLE}')").fetchone()[0])

    def close(self) -> None:
        self._own().execute(f"DROP TABLE IF EXISTS {self._TABLE}")


class Rest:
    """JSON over HTTP/1.1 with a connection a thread."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._parts, self._headers, self._here = urlsplit(url), headers, threading.local()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises :class:`RuntimeError` for a status that is no success."""
        if not hasattr(self._here, "connection"):
            kind = (
                http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            )
            self._here.connection = kind(self._parts.hostname, self._parts.port, timeout=120)
        data = None if body is None else json.dumps(body)
        self._here.connection.request(
            method, path, data, {"content-type": "application/json", **self._headers}
        )
        answer = self._here.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: status {answer.status}: {text[:200]!r}")
        return json.loads(text)


class Qdrant:
    """Qdrant by its REST interface. ``flat`` asks for exact search."""

    INDEXES = {"flat": None, "hnsw": "hnsw_ef"}
    _PATH = "/collections/ai-how-bench"
    #: The share of the vectors that has to be in the index, and how often it may say that it has no more to do.
    _MOST_OF, _QUIET = 0.95, 100

    def __init__(self, asked: dict[str, Any]) -> None:
        key = os.environ.get("QDRANT_API_KEY")
        self._asked, self._rest = asked, Rest(asked["server"], {"api-key": key} if key else {})
        self.version = self._rest.ask("GET", "/").get("version", "unknown")
        self._rest.ask("DELETE", self._PATH)
        facts: dict[str, Any] = {"vectors": {"size": asked["dimension"], "distance": "Euclid"}}
        if asked["index"] != "flat":
            # Below 20 MB of vectors it builds no index, and below 10 MB it uses none: exact search under its name.
            made = {"m": asked["links"], "ef_construct": asked["breadth"], "full_scan_threshold": 10}
            facts |= {"hnsw_config": made, "optimizers_config": {"indexing_threshold": 1}}
        self._rest.ask("PUT", self._PATH, facts)

    def prepare(self, sample: np.ndarray) -> None:
        if self._asked["index"] != "flat":
            self._rest.ask(
                "PUT", f"{self._PATH}/index?wait=true", {"field_name": "label", "field_schema": "integer"}
            )

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        rows = zip(vectors.tolist(), labels.tolist(), strict=True)
        points = [
            {"id": first + at, "vector": vector, "payload": {"label": label}}
            for at, (vector, label) in enumerate(rows)
        ]
        self._rest.ask("PUT", f"{self._PATH}/points?wait=true", {"points": points})

    def build(self) -> None:
        """Qdrant indexes in the background: built is when it says green, with its vectors in the index.

        Raises :class:`RuntimeError` where it is at rest and has left more out than the little that stays unindexed.
        """
        import time

        quiet = 0
        while quiet < self._QUIET:
            facts = self._rest.ask("GET", self._PATH)["result"]
            inside, all_ = facts.get("indexed_vectors_count") or 0, facts.get("points_count") or 0
            green = facts["status"] == "green"
            if green and (self._asked["index"] == "flat" or inside >= self._MOST_OF * all_):
                return
            quiet = quiet + 1 if green else 0
            time.sleep(0.1)
        raise RuntimeError(f"Qdrant has {inside} of {all_} vectors in its index, and is at rest")

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        body: dict[str, Any] = {"query": vector.tolist(), "limit": k}
        body["params"] = {"exact": True} if setting is None else {"hnsw_ef": setting}
        if label is not None:
            body["filter"] = {"must": [{"key": "label", "match": {"value": label}}]}
        return [
            one["id"]
            for one in self._rest.ask("POST", f"{self._PATH}/points/query", body)["result"]["points"]
        ]

    def bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self._rest.ask("DELETE", self._PATH)


class Milvus:
    """Milvus by its own client; without a server Milvus Lite, which the client brings up in this process."""

    INDEXES = {"flat": None, "ivf": "nprobe", "hnsw": "ef"}
    _NAME = "ai_how_bench"

    def __init__(self, asked: dict[str, Any]) -> None:
        import pymilvus

        self._asked = asked
        own = Path(asked["folder"]) / "milvus.db"
        self._folder = None if asked["server"] else own
        self._client = pymilvus.MilvusClient(
            asked["server"] or str(own), token=os.environ.get("MILVUS_TOKEN", "")
        )
        self.version = f"{self._client.get_server_version()}, pymilvus {pymilvus.__version__}"
        if self._client.has_collection(self._NAME):
            self._client.drop_collection(self._NAME)
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
        schema.add_field("label", pymilvus.DataType.INT64)
        schema.add_field("v", pymilvus.DataType.FLOAT_VECTOR, dim=asked["dimension"])
        self._client.create_collection(self._NAME, schema=schema)

    def prepare(self, sample: np.ndarray) -> None:
        return

    def add(self, first: int, vectors: np.ndarray, labels: np.ndarray) -> None:
        rows = zip(vectors.tolist(), labels.tolist(), strict=True)
        self._client.insert(
            self._NAME,
            [{"id": first + at, "label": label, "v": vector} for at, (vector, label) in enumerate(rows)],
        )

    def build(self) -> None:
        asked = self._asked
        kind, made = {
            "flat": ("FLAT", {}),
            "ivf": ("IVF_FLAT", {"nlist": asked["lists"]}),
            "hnsw": ("HNSW", {"M": asked["links"], "efConstruction": asked["breadth"]}),
        }[asked["index"]]
        self._client.flush(self._NAME)  # an index is of what is sealed
        wanted = self._client.prepare_index_params()
        wanted.add_index("v", index_type=kind, metric_type="L2", params=made)
        self._client.create_index(self._NAME, wanted)
        self._client.load_collection(self._NAME)

    def search(self, vector: np.ndarray, k: int, setting: int | None, label: int | None) -> list[int]:
        params = {} if setting is None else {self.INDEXES[self._asked["index"]]: setting}
        found = self._client.search(
            self._NAME,
            [vector.tolist()],
            anns_field="v",
            limit=k,
            filter="" if label is None else f"label == {label}",
            search_params={"metric_type": "L2", "params": params},
            consistency_level="Strong",
        )
        return [one["id"] for one in found[0]]

    def bytes(self) -> int | None:
        """A server tells no size."""
        return size_of(self._folder) if self._folder else None

    def close(self) -> None:
        self._client.drop_collection(self._NAME)
        self._client.close()

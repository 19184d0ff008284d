"""Vector stores that are servers: Milvus Lite's own over gRPC, and Qdrant's documented answers over REST."""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.model import RunRecord
from ai_how.bench.targets.driven import PROBES
from ai_how.bench.targets.emulated import free_ports
from ai_how.bench.targets.web import knocked
from ai_how.bench.work import Address
from ai_how.errors import CommandFailed
from ai_how.host import Environments, Folders
from ai_how.run import Command, LocalGate, wait_until
from ai_how.spec.bench import parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: servers
repetitions: 1
target: {{api: retrieval, url: "{url}"}}
load: {{arrivals: closed, clients: 2, seconds: 0.2}}
workload:
  retrieval: {{store: {store}, index: {index}, vectors: 300, dimension: 8, queries: 20, labels: 3, filtered: true,
               settings: [64], batch: 100}}
"""
DOCUMENTED = json.loads((Path(__file__).parents[1] / "recorded" / "qdrant" / "documented.json").read_text())


def measured(store: str, index: str, url: str, folder: Path, token: str | None = None) -> RunRecord:
    recipe = parse_bench(RECIPE.format(store=store, index=index, url=url), store)
    (run,) = Bench(recipe, Place(LocalGate(), folder, token=token)).run().runs
    assert run.good == run.sent > 0 and not run.errors
    return run


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[str]:
    """Milvus Lite as a server of its own."""
    environment = Environments(LocalGate(), Folders.of_user(os.environ)).ensure("retrieval")
    (port,) = free_ports(1)
    words = ("server", f"--data-dir={tmp_path / 'milvus'}", "--host=127.0.0.1", f"--port={port}")
    process = LocalGate().start(Command((str(environment / "bin" / "milvus-lite"), *words)), tmp_path / "log")

    def there() -> bool:
        try:
            knocked(Address("127.0.0.1", port))
        except OSError:
            return False
        return True

    try:
        wait_until(there, what="Milvus Lite", timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_a_server_of_milvus_finds_everything_and_is_left_as_it_was(milvus: str, tmp_path: Path) -> None:
    for index in ("flat", "hnsw"):  # the second finds nothing of the first
        run = measured("milvus", index, milvus, tmp_path)
        recalls = [point["recall"] for point in run.notes["curve"]]
        assert len(recalls) == 2 and all(recall == 1.0 for recall in recalls)
        assert "milvus" in run.notes["version"] and "stored" not in run.values


PLAN = """\
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy, servers
asked = {"index": "hnsw", "dimension": 4, "server": "", "links": 8, "breadth": 16}
store, rows = servers.Pgvector(asked), numpy.random.default_rng(1).normal(size=(100, 4)).astype("f4")
store.add(0, rows, numpy.zeros(100, int))
store.build()
found = store.search(rows[0], 5, 16, None)
query = f"EXPLAIN SELECT id FROM {store._TABLE} ORDER BY v <-> %s::vector LIMIT 5"
plan = store._own().execute(query, [json.dumps(rows[0].tolist())]).fetchall()
store.close()
print(found[0], plan)
"""


def test_an_index_of_pgvector_is_used_however_few_rows_there_are(tmp_path: Path) -> None:
    """Left to itself PostgreSQL looks at every row of a few hundred: exact search under the name of an index."""
    python = str(
        Environments(LocalGate(), Folders.of_user(os.environ)).ensure("retrieval") / "bin" / "python"
    )
    asked, script = tmp_path / "asked.json", tmp_path / "plan.py"
    script.write_text(PLAN)
    asked.write_text(json.dumps({"commands": [[python, str(script), str(PROBES)]], "settings": {}}))
    said = LocalGate().run(Command((python, str(PROBES / "with_postgres.py"), str(asked)))).stdout
    assert said.startswith("0 ") and "Index Scan using ai_how_bench_vectors_v_idx" in said, said


class Qdrant(BaseHTTPRequestHandler):
    """Answers as documented: keeps what is put there, and searches by distance."""

    protocol_version = "HTTP/1.1"
    points: dict[int, tuple[Any, int]] = {}
    asked: list[str] = []
    there = False
    green = 0
    indexed = 300

    def _answer(self) -> None:
        kind = type(self)
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind.asked.append(self.headers.get("api-key") or "")
        name = self._of(json.loads(text) if text else {})
        facts = name if isinstance(name, dict) else DOCUMENTED[name]
        body = json.dumps(facts).encode()
        self.send_response(404 if name == "refused" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _answer

    def _of(self, body: dict[str, Any]) -> str | dict[str, Any]:
        kind, path = type(self), self.path.partition("?")[0].removeprefix("/collections/ai-how-bench")
        if self.path == "/":
            return "version"
        if self.command == "DELETE":
            kind.points, before, kind.there = {}, kind.there, False
            return "done" if before else "absent"
        if self.command == "PUT" and not path:
            assert body["vectors"] == {"size": 8, "distance": "Euclid"}
            # By its defaults it would build no index of so few vectors, and use none.
            if len(body) > 1:
                assert body["optimizers_config"] == {"indexing_threshold": 1}
                assert body["hnsw_config"]["full_scan_threshold"] == 10
            kind.there = True
            return "done"
        if not kind.there:
            return "refused"
        if self.command == "GET":
            kind.green += 1
            if kind.green <= 1:
                return "busy"
            answer: dict[str, Any] = copy.deepcopy(DOCUMENTED["ready"])
            answer["result"]["indexed_vectors_count"] = kind.indexed
            return answer
        if path == "/points":
            for one in body["points"]:
                kind.points[one["id"]] = np.asarray(one["vector"]), one["payload"]["label"]
        return self._found(body) if path == "/points/query" else "updated"

    def _found(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["filter"]["must"][0]["match"]["value"] if "filter" in body else None
        allowed = [
            (one, vector) for one, (vector, label) in type(self).points.items() if wanted in (None, label)
        ]
        far = {one: float(np.linalg.norm(vector - np.asarray(body["query"]))) for one, vector in allowed}
        answer: dict[str, Any] = copy.deepcopy(DOCUMENTED["points"])
        form = answer["result"]["points"].pop()
        for one in sorted(far, key=lambda one: far[one])[: body["limit"]]:
            answer["result"]["points"].append({**form, "id": one, "score": far[one]})
        return answer

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def qdrant() -> Iterator[str]:
    Qdrant.points, Qdrant.asked, Qdrant.there, Qdrant.green = {}, [], False, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Qdrant) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_qdrant_is_asked_as_documented(index: str, qdrant: str, tmp_path: Path) -> None:
    run = measured("qdrant", index, qdrant, tmp_path, token="key")
    assert [point["recall"] for point in run.notes["curve"]] == [1.0, 1.0]
    assert run.notes["version"] == "1.16.0"
    assert set(Qdrant.asked) == {"key"} and Qdrant.green == 2 and not Qdrant.there


def test_what_qdrant_searches_without_its_index_is_none_of_its_index(
    qdrant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is green before it begins to index, and for good where it never does. Nothing of ours stays there."""
    monkeypatch.setattr(Qdrant, "indexed", 0)
    with pytest.raises(CommandFailed) as caught:
        measured("qdrant", "hnsw", qdrant, tmp_path)
    assert "0 of 300 vectors in its index" in (caught.value.detail or "") and not Qdrant.there


def test_what_qdrant_refuses_is_told_in_its_own_words(
    qdrant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Qdrant, "_of", lambda self, body: "version" if self.path == "/" else "refused")
    with pytest.raises(CommandFailed) as caught:
        measured("qdrant", "flat", qdrant, tmp_path)
    assert "Not found: Collection" in (caught.value.detail or "")

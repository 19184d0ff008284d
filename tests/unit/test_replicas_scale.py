"""A pass over 200 replicas in the answers of a Slurm with 1,000 nodes: parsed, decided, routed, all files real."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sample_replicas import version

from ai_how.run import wait_until
from ai_how.run.fake import ScriptedGate
from ai_how.serving.replicas import Desired, Replicas, ReplicaWanted, Scale, SiteFolders, Store
from ai_how.serving.replicas.reconciler import Reconciler, Rhythm
from ai_how.slurm.control import Slurm
from ai_how.wire import EndpointRecord
from ai_how.wire.routes import Demand, ModelDemand

MODELS, REPLICAS, NODES = 20, 200, 1000
#: Seconds that a pass may take.
BOUND = 0.5


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """An engine that serves every model to everybody."""
    body = json.dumps({"data": [{"id": name(number)} for number in range(MODELS)]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


def name(number: int) -> str:
    return f"model-{number:02d}"


def private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def beat(site: Path, wanted: list[ReplicaWanted], port: int) -> None:
    """Every launcher renews its record."""
    for one in wanted:
        record = EndpointRecord(
            version="1.0", model=one.model, host="127.0.0.1", port=port, job_id=one.job_id or 0, nonce=one.nonce,
            uid=os.getuid(), engine=one.engine, started=one.submitted, heartbeat=time.time(),
        )  # fmt: skip
        private(site / "share" / "endpoints" / f"{one.nonce}.secret", "secret")
        draft = site / "share" / "endpoints" / f".{one.nonce}"
        private(draft, record.model_dump_json())
        draft.rename(site / "share" / "endpoints" / f"{one.nonce}.json")


def test_a_pass_over_200_replicas_on_1000_nodes(tmp_path: Path, port: int) -> None:
    now = int(time.time())
    wanted = [
        ReplicaWanted(
            nonce=f"{number:024x}", model=name(number % MODELS), engine="llama.cpp",
            job_name=f"serve-{name(number % MODELS)}", job_id=1000 + number, submitted=now - 100,
            log="/x/%j.log", model_version=version().id,
        )
        for number in range(REPLICAS)
    ]  # fmt: skip
    for one in wanted:
        private(tmp_path / "state" / "replicas" / f"{one.nonce}.json", one.model_dump_json())
    # Ours, and as many jobs of our own that are no replicas.
    queue = "".join(
        f"{one.job_id}|{os.getuid()}|RUNNING|{now - 100}|{now - 99}|{now + 28000}|8:00:00|gpu|node{index:04d}"
        f"|{tmp_path}/share/replicas/{one.nonce}|None|{one.job_name}\n"
        f"{5000 + index}|{os.getuid()}|PENDING|{now - 100}|N/A|N/A|8:00:00|gpu||/home/ada|Priority|train\n"
        for index, one in enumerate(wanted)
    )
    drained = "".join(f"node{number:04d}\n" for number in range(500, NODES))
    gate = ScriptedGate([(["squeue"], (0, queue, "")), (["sinfo"], (0, drained, ""))])
    folders = SiteFolders.of(tmp_path)
    folders.run.mkdir()
    store, slurm = Store(folders), Slurm(gate, {}, {})
    scale = Scale(minimum=REPLICAS // MODELS, maximum=REPLICAS)
    with store.change("file") as models:
        models.update(
            {name(n): Desired(model=name(n), current=version(), scale=scale) for n in range(MODELS)}
        )
    beat(tmp_path, wanted, port)
    reconciler = Reconciler(Replicas(folders, slurm), slurm, store, rhythm=Rhythm(0, 0, 0))

    def ready() -> bool:
        reconciler.step()
        routes = store.routes()
        return routes is not None and sum(len(one.replicas) for one in routes.models) == REPLICAS

    wait_until(ready, what="all replicas in the routes", timeout=60)
    took = []
    for number in range(5):
        beat(tmp_path, wanted, port)
        load = {name(n): ModelDemand(waiting=1, active=5, tokens=number) for n in range(MODELS)}
        for worker in range(4):
            reconciler.hear(Demand(worker=f"w{worker}", generation=1, at=time.time(), models=load))
        reconciler.step()
        took.append(reconciler.pass_seconds)
    reconciler.close()
    assert len([one for one in reconciler.statuses if one.phase == "ready"]) == REPLICAS
    assert min(took) < BOUND, took

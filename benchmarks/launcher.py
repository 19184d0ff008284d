"""What the replica launcher adds to an engine's own start, and what the guard adds to a request.

``python benchmarks/launcher.py [--starts N] [--requests N] [--json]``

The engine is a program of this file that takes half a second to load and answers at once. The launcher's share of a
start is what passes between the engine's first readiness and the endpoint record; everything before is the engine's,
and everything after the reconciler's. The guard is asked and the engine behind it, in turns, over one connection each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ai_how.serving.engines import Launch, Place, Readiness
from ai_how.serving.engines.guard import GUARD_FILES, GUARD_LOAD, GUARD_SECRET, guarded
from ai_how.serving.replicas import render

NONCE = "0123456789abcdef01234567"
LOAD_SECONDS = 0.5


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"data":[{"id":"m"}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:
        return


def engine(address: str, told: Path) -> None:
    time.sleep(LOAD_SECONDS)
    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Answer)
    told.write_text(json.dumps({"at": time.time(), "address": address}))
    server.serve_forever()


@contextmanager
def replica(
    folder: Path, *, loopback: bool
) -> Iterator[tuple[dict[str, float | str], dict[str, object], str]]:
    """A replica that is ready: what its engine told, its record, and its secret."""
    place = Place.of_python(Path(sys.executable))
    words = (sys.executable, str(Path(__file__).resolve()), "--engine", "{engine_host}:{engine_port}")
    argv = guarded((*words, str(folder / "told")), place)
    if loopback:
        # What an image is given: no network of its own, so that the engine can be asked directly, too.
        argv = (*argv[: argv.index("--")], "--image", *argv[argv.index("--") :])
    launch = Launch(
        argv, Readiness("/v1/models", "data", "id", refuses_strangers=True), secret_variable=GUARD_SECRET,
        load=GUARD_LOAD, end_signal="INT",
    )  # fmt: skip
    for source in (*render.LAUNCHER_FILES, *GUARD_FILES):
        (folder / source.name).write_bytes(source.read_bytes())
    text = render.launch_file(
        launch=launch, model="m", engine="bench", nonce=NONCE, endpoints=folder / "endpoints",
        engine_log=str(folder / "engine.log"),
    )  # fmt: skip
    (folder / render.LAUNCH_FILE).write_text(text)
    command = [sys.executable, "-I", str(folder / render.LAUNCHER), str(folder / render.LAUNCH_FILE)]
    record = folder / "endpoints" / f"{NONCE}.json"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not record.exists():
                if process.poll() is not None:
                    sys.exit((folder / "engine.log").read_text())
                time.sleep(0.002)
            told = json.loads((folder / "told").read_text())
            yield told, json.loads(record.read_text()), record.with_suffix(".secret").read_text()
        finally:
            process.terminate()


def start_share(folder: Path) -> float:
    """Seconds from the engine's readiness to the record."""
    with replica(folder, loopback=False) as (told, record, _):
        return float(str(record["started"])) - float(told["at"])


def guard_share(folder: Path, requests: int) -> tuple[list[float], list[float]]:
    """Seconds of each request to the engine directly, and through the guard."""
    with replica(folder, loopback=True) as (told, record, secret):
        host, _, port = str(told["address"]).rpartition(":")
        direct = http.client.HTTPConnection(host, int(port))
        through = http.client.HTTPConnection(str(record["host"]), int(str(record["port"])))
        found: tuple[list[float], list[float]] = ([], [])
        for number in range(2 * requests):
            connection, times = (direct, found[0]) if number % 2 else (through, found[1])
            began = time.perf_counter()
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {secret}"})
            connection.getresponse().read()
            times.append(time.perf_counter() - began)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", nargs=2, metavar=("ADDRESS", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.engine:
        engine(asked.engine[0], Path(asked.engine[1]))
        return 0
    starts = []
    with tempfile.TemporaryDirectory() as top:
        for number in range(asked.starts):
            folder = Path(top) / str(number)
            folder.mkdir()
            starts.append(start_share(folder))
        folder = Path(top) / "guard"
        folder.mkdir()
        direct, through = guard_share(folder, asked.requests)
    facts = {
        "launcher_seconds": {"median": statistics.median(starts), "most": max(starts)},
        "guard_seconds": {
            "median": statistics.median(through) - statistics.median(direct),
            "p99": statistics.quantiles(through, n=100)[98] - statistics.quantiles(direct, n=100)[98],
        },
        "cores": len(os.sched_getaffinity(0)),
    }
    if asked.json:
        print(json.dumps(facts, indent=2))
        return 0
    share, guard = facts["launcher_seconds"], facts["guard_seconds"]
    assert isinstance(share, dict) and isinstance(guard, dict)
    print(f"launcher: {share['median'] * 1000:.0f} ms at the median, {share['most'] * 1000:.0f} ms at most")
    print(
        f"guard: {guard['median'] * 1000:.2f} ms a request at the median, {guard['p99'] * 1000:.2f} ms at p99"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the gateway's benchmark asks: a backend, and nginx, LiteLLM's proxy and the gateway before it, as processes.

``python benchmarks/gateway_subjects.py`` is the backend: it prints its port and answers until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from ai_how.security import Grant, create_token, write_private
from ai_how.serving.gateway.listening import bind
from ai_how.wire import EndpointRecord, ModelRoute, ReplicaRoute, Routes

ANSWER = json.dumps({
    "id": "x", "object": "chat.completion", "created": 1, "model": "tiny",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}).encode()  # fmt: skip
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
PATH = "/v1/chat/completions"


class Backend(asyncio.Protocol):
    """Answers every request at once: a stream of three chunks where one was asked for."""

    def __init__(self) -> None:
        self._come = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._come += data
        head, end, rest = self._come.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if end and len(rest) >= length:
            self._come = rest[length:]
            streams = b'"stream": true' in rest[:length]
            body = CHUNK * 3 + b"data: [DONE]\n\n" if streams else ANSWER
            kind = b"text/event-stream" if streams else b"application/json"
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            self._transport.write(answer % (kind, len(body), body))  # type: ignore[attr-defined]


async def serve_backend() -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class Subject:
    """What is asked: where, with which token, and whose processes' time is counted."""

    name: str
    port: int
    token: str = "none"
    process: psutil.Process | None = None

    def request(self, path: str = PATH, *, stream: bool = False) -> bytes:
        body = json.dumps(self.body(stream=stream)).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.token}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    @staticmethod
    def body(*, stream: bool = False) -> dict[str, Any]:
        return {"model": "tiny", "messages": [{"role": "user", "content": "hi " * 50}], "stream": stream}

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)] if self.process else []

    def worked(self) -> float:
        """Seconds of CPU up to now."""
        return float(sum(sum(one.cpu_times()[:2]) for one in self.processes()))

    def memory(self) -> int:
        """Bytes."""
        return sum(one.memory_info().rss for one in self.processes())


def free_port() -> int:
    with bind("127.0.0.1", 0) as free:
        return int(free.getsockname()[1])


@asynccontextmanager
async def started(folder: Path, name: str, *words: str) -> AsyncIterator[psutil.Process]:
    with (folder / f"{name}.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def ask(port: int, raw: bytes, count: int, times: list[float] | None = None) -> None:
    """Ask ``count`` times on one connection; milliseconds until a whole answer, or a stream's first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(count):
            began = time.perf_counter()
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            streams = b"event-stream" in head or b"ndjson" in head
            if b"chunked" in head:
                await reader.readuntil(b"\r\n")
                first = time.perf_counter()
                await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                first = time.perf_counter()
                await reader.readexactly(length)
            if times is not None:
                times.append(((first if streams else time.perf_counter()) - began) * 1000)
    finally:
        writer.close()


async def answering(subject: Subject, seconds: float = 60) -> Subject:
    """The subject, once it answers with status 200."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await ask(subject.port, subject.request(), 1)
                return subject
            except (OSError, AssertionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def python_backend(folder: Path) -> AsyncIterator[Subject]:
    words = (sys.executable, __file__, "--backend")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield Subject("direct", port, process=psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def nginx(folder: Path, name: str, inside: str, more: str = "") -> AsyncIterator[Subject]:
    """One worker of nginx on loopback, in a folder that goes with it."""
    port = free_port()
    place = folder / f"{name}-{port}"
    place.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {place};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {place}/pid; error_log {place}/log;\n"
        "events { worker_connections 8192; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {temporary} {more}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json; {inside} }} }}\n"
    )
    async with started(
        folder, place.name, "nginx", "-p", str(place), "-c", str(place / "nginx.conf")
    ) as process:
        yield await answering(Subject(name, port, process=process))


def proxy(folder: Path, to: Subject) -> Any:
    upstream = (
        f"upstream engine {{ server 127.0.0.1:{to.port}; keepalive 256; keepalive_requests 1000000000; }}"
    )
    inside = (
        "location / { proxy_pass http://engine; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; proxy_buffering off; }'
    )
    return nginx(folder, "nginx", inside, upstream)


#: Models among which the replicas are divided, and seconds between two heartbeats of a replica.
MODELS = 20
HEARTBEAT = 5.0


def replicas(to: Subject, count: int) -> list[EndpointRecord]:
    """Records of replicas that are all the same backend: the first of every twenty serves the model that is asked."""
    later = time.time() + 1e6  # never silent
    return [
        EndpointRecord(
            version="1.0", model=f"model-{number % MODELS}" if number % MODELS else "tiny", host="127.0.0.1",
            port=to.port, job_id=1 + number, nonce=f"{number:024x}", uid=os.getuid(), engine="none", started=later,
            heartbeat=later,
        )
        for number in range(count)
    ]  # fmt: skip


def write_replicas(place: Path, records: Sequence[EndpointRecord]) -> None:
    """Records, secrets and routes, as launchers and the reconciler write them."""
    models: dict[str, list[ReplicaRoute]] = {}
    for record in records:
        write_private(place / "endpoints" / record.secret_file, "secret")
        write_private(place / "endpoints" / record.record_file, record.model_dump_json())
        models.setdefault(record.model, []).append(ReplicaRoute(nonce=record.nonce))
    routes = Routes(
        generation=1,
        models=tuple(
            ModelRoute(model=name, state="ready", replicas=tuple(one)) for name, one in models.items()
        ),
    )
    write_private(place / "routes.json", routes.model_dump_json())


async def beat(place: Path, records: Sequence[EndpointRecord]) -> None:
    """Write each record anew every few seconds, as its launcher does."""
    while True:
        for record in records:
            await asyncio.sleep(HEARTBEAT / len(records))
            beats = record.model_copy(update={"heartbeat": record.heartbeat + time.time() % 1000})
            target = place / "endpoints" / record.record_file
            await asyncio.to_thread(write_private, target, beats.model_dump_json())


@asynccontextmanager
async def gateway(
    folder: Path, to: Subject, workers: int, *, limits: bool, count: int
) -> AsyncIterator[Subject]:
    """The gateway as a process of its own, with everything that a site's has, before ``count`` replicas."""
    place = folder / f"gateway-{workers}-{to.port}"
    records = replicas(to, count)
    write_replicas(place, records)
    most = 1_000_000_000
    grant = Grant(requests_per_minute=most, tokens_per_minute=most) if limits else Grant()
    token = create_token(place / "tokens.json", "bench", grant)
    port = free_port()
    paths = {
        "endpoints": "endpoints",
        "token_digests": "tokens.json",
        "ledger": "ledger",
        "usage": "usage.db",
        "routes": "routes.json",
    }
    facts = {"port": port, "workers": workers} | {key: str(place / name) for key, name in paths.items()}
    (place / "gateway.json").write_text(json.dumps(facts))
    words = (sys.executable, "-m", "ai_how.serving.gateway", "--config", str(place / "gateway.json"))
    async with started(folder, place.name, *words) as process:
        name = "gateway" if workers == 1 else f"gateway, {workers} workers"
        beats = asyncio.create_task(beat(place, records))
        try:
            yield await answering(Subject(name, port, token, process))
        finally:
            beats.cancel()


@asynccontextmanager
async def litellm(folder: Path, program: str, to: Subject) -> AsyncIterator[Subject]:
    port = free_port()
    config = {
        "model_list": [
            {
                "model_name": "tiny",
                "litellm_params": {
                    "model": "openai/tiny",
                    "api_base": f"http://127.0.0.1:{to.port}/v1",
                    "api_key": "none",
                },
            }
        ],
        "general_settings": {"master_key": "sk-bench"},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML, too
    words = (program, "--config", str(folder / "litellm.yaml"), "--port", str(port), "--host", "127.0.0.1")
    async with started(folder, "litellm", *words, "--num_workers", "1") as process:
        yield await answering(Subject("litellm", port, "sk-bench", process), 180)


if __name__ == "__main__":
    uvloop.run(serve_backend())

"""What the gateway adds to a request, against the same backend asked directly.

A backend that answers at once, the gateway as a process of its own in front of it with tokens checked, and a client
that writes requests as they are and reads no more of the answers than it must. Direct and through the gateway take
turns. ``cpu`` is what the gateway's process worked for each request: it moves less than the clock when others use the
machine.

``python benchmarks/gateway.py [--requests N] [--json]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from ai_how.security import create_token, write_private
from ai_how.serving.gateway.listening import bind
from ai_how.wire import EndpointRecord

ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "tiny",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}  # fmt: skip
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
CONCURRENCIES = (1, 64)


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
            body = CHUNK * 3 + b"data: [DONE]\n\n" if streams else json.dumps(ANSWER).encode()
            kind = b"text/event-stream" if streams else b"application/json"
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            self._transport.write(answer % (kind, len(body), body))  # type: ignore[attr-defined]


async def serve_backend() -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@asynccontextmanager
async def gateway(site: Path) -> AsyncIterator[tuple[int, int, psutil.Process, str]]:
    """Both processes: the ports of the backend and of the gateway, the gateway's process, a token."""
    words = (sys.executable, __file__, "--backend")
    backend = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert backend.stdout is not None
    direct = int(await backend.stdout.readline())
    later = time.time() + 1e6  # never silent
    record = EndpointRecord(
        version="1.0", model="tiny", host="127.0.0.1", port=direct, job_id=1, nonce="a" * 24, uid=os.getuid(),
        engine="none", started=later, heartbeat=later,
    )  # fmt: skip
    write_private(site / "endpoints" / record.secret_file, "secret")
    write_private(site / "endpoints" / record.record_file, record.model_dump_json())
    token = create_token(site / "tokens.json", "bench")
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    facts = {"port": port, "endpoints": str(site / "endpoints"), "token_digests": str(site / "tokens.json")}
    (site / "gateway.json").write_text(json.dumps(facts))
    words = (sys.executable, "-m", "ai_how.serving.gateway", "--config", str(site / "gateway.json"))
    with (site / "gateway.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*words, stderr=log)
    try:
        async with asyncio.timeout(30):
            while "listening" not in (site / "gateway.log").read_text():
                await asyncio.sleep(0.05)
        yield direct, port, psutil.Process(process.pid), token
    finally:
        for one in (process, backend):
            one.send_signal(signal.SIGTERM)
            await one.wait()


def request(token: str, path: str, *, stream: bool) -> bytes:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "hi " * 50}], "stream": stream}
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def client(port: int, raw: bytes, count: int, times: list[float]) -> None:
    """Ask ``count`` times on one connection; the milliseconds until the answer, or a stream's first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        began = time.perf_counter()
        writer.write(raw)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        if b"chunked" in head:
            await reader.readuntil(b"\r\n")
            times.append((time.perf_counter() - began) * 1000)
            await reader.readuntil(b"\r\n0\r\n\r\n")
        else:
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            times.append((time.perf_counter() - began) * 1000)
    writer.close()


async def measure(
    port: int, raw: bytes, at_once: int, count: int, process: psutil.Process
) -> dict[str, float]:
    times: list[float] = []
    worked, began = sum(process.cpu_times()[:2]), time.perf_counter()
    await asyncio.gather(*(client(port, raw, count // at_once, times) for _ in range(at_once)))
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return {
        "per second": len(times) / seconds,
        "median ms": cuts[49],
        "p99 ms": cuts[98],
        "cpu ms": (sum(process.cpu_times()[:2]) - worked) * 1000 / len(times),
    }


async def run(count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="aih-") as folder:
        async with gateway(Path(folder)) as (direct, port, process, token):
            plain = request(token, "/v1/chat/completions", stream=False)
            await measure(port, plain, 4, 400, process)
            before = process.memory_info().rss
            for at_once in CONCURRENCIES:
                found[f"direct, {at_once} at once"] = await measure(direct, plain, at_once, count, process)
                found[f"gateway, {at_once} at once"] = await measure(port, plain, at_once, count, process)
            streamed = request(token, "/v1/chat/completions", stream=True)
            ollama = request(token, "/api/chat", stream=True)
            found["gateway, first byte of a stream"] = await measure(port, streamed, 1, count, process)
            found["gateway, of a translated stream"] = await measure(port, ollama, 1, count, process)
            found["memory"] = {"before MiB": before / 2**20, "after MiB": process.memory_info().rss / 2**20}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=6400, help="requests of each row")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.backend:
        uvloop.run(serve_backend())
        return 0
    found = uvloop.run(run(args.requests))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for name, figures in found.items():
            print(f"{name:<32} " + "   ".join(f"{key} {value:9.3f}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

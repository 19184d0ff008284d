"""What the gateway adds to a request, beside nginx and LiteLLM's proxy in front of the same backend, in one run.

The gateway checks a token, counts what is used and logs every request. At one request at a time the subjects take
turns in blocks, so that what else the machine does meets all of them alike, and each is compared with the backend asked
directly. At 64 at once wrk asks where it is installed, and the backend is nginx where that is, so that neither is what
is measured; otherwise both are programs of this file. ``cpu`` is what the subject's processes worked for each request.

``python benchmarks/gateway.py [--rounds N] [--seconds S] [--workers 1,2] [--litellm PATH] [--limits] [--first]
[--replicas N]``

nginx and wrk are Debian's packages ``nginx-light`` and ``wrk``. LiteLLM is asked when ``--litellm`` names its program,
in a virtual environment of its own: ``python3 -m venv x && x/bin/pip install 'litellm[proxy]'``. All processes share
the cores that this one may use: ``taskset -c 0,1 python benchmarks/gateway.py``. ``--first`` asks for real-time
priority for all of them, which root may have. ``--json`` prints all of it for a program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from ai_how.bench.priority import first_in_line
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
AT_ONCE = 64
SOAK = 100_000
#: The bounds that the project has set itself: milliseconds, shares of others, and percent.
BOUNDS = {
    "overhead median ms": 0.4,
    "overhead p99 ms": 1.5,
    "times litellm": 60.0,
    "share of nginx": 0.06,
    "first byte added ms": 1.0,
    "memory growth %": 5.0,
}


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


# --- the subjects ---------------------------------------------------------------------------------------


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


# --- measuring ------------------------------------------------------------------------------------------


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


async def in_turns(
    subjects: Sequence[tuple[Subject, bytes]], rounds: int, block: int
) -> dict[str, dict[str, float]]:
    """One request at a time, the subjects in blocks that take turns."""
    times: dict[str, list[float]] = {subject.name: [] for subject, _ in subjects}
    cpu: dict[str, float] = dict.fromkeys(times, 0.0)
    for subject, raw in subjects:
        await ask(subject.port, raw, min(block, 100))
    for _ in range(rounds):
        for subject, raw in subjects:
            # A slow subject is asked less often: it would take most of the time of the run.
            worked, count = subject.worked(), block if subject.name != "litellm" else max(block // 20, 10)
            await ask(subject.port, raw, count, times[subject.name])
            cpu[subject.name] += subject.worked() - worked
    found = {}
    for name, taken in times.items():
        cuts = statistics.quantiles(taken, n=100)
        found[name] = {"median ms": cuts[49], "p99 ms": cuts[98], "cpu ms": cpu[name] * 1000 / len(taken)}
    return found


async def many(subject: Subject, folder: Path, seconds: float) -> dict[str, float]:
    """Requests a second with 64 at once, and what the subject worked for each."""
    raw = subject.request()
    await asyncio.gather(*(ask(subject.port, raw, 3) for _ in range(8)))
    worked = subject.worked()
    rate = (
        await _by_wrk(subject, folder, seconds)
        if shutil.which("wrk")
        else await _by_ourselves(subject, raw, seconds)
    )
    return {"per second": rate, "cpu ms": (subject.worked() - worked) * 1000 / (rate * seconds)}


async def _by_wrk(subject: Subject, folder: Path, seconds: float) -> float:
    script = folder / f"{subject.port}.lua"
    headers = {"Authorization": f"Bearer {subject.token}", "Content-Type": "application/json"}
    lines = [f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}" for key, value in headers.items()]
    script.write_text(
        "\n".join(['wrk.method = "POST"', f"wrk.body = [[{json.dumps(subject.body())}]]", *lines])
    )
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{AT_ONCE}", f"-d{round(seconds)}s", "--timeout", "30s", "-s", str(script),
        f"http://127.0.0.1:{subject.port}{PATH}", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


async def _by_ourselves(subject: Subject, raw: bytes, seconds: float) -> float:
    times: list[float] = []
    began = time.perf_counter()

    async def go_on() -> None:
        while time.perf_counter() - began < seconds:
            await ask(subject.port, raw, 50, times)

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    return len(times) / (time.perf_counter() - began)


async def soak(subject: Subject, count: int) -> dict[str, float]:
    """Resident memory before and after so many requests, when there is nothing more to be warmed up."""
    raw = subject.request()

    async def some(number: int) -> None:
        await asyncio.gather(*(ask(subject.port, raw, number // AT_ONCE) for _ in range(AT_ONCE)))

    await some(6400)
    before = subject.memory()
    await some(count)
    after = subject.memory()
    return {
        "requests": count,
        "before MiB": before / 2**20,
        "after MiB": after / 2**20,
        "growth %": (after / before - 1) * 100,
    }


# --- the run --------------------------------------------------------------------------------------------


async def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"cores": sorted(os.sched_getaffinity(0)), "left out": missing(args)}
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(python_backend(folder))
        ours = await stack.enter_async_context(
            gateway(folder, direct, 1, limits=args.limits, count=args.replicas)
        )
        others = [await stack.enter_async_context(proxy(folder, direct))] if shutil.which("nginx") else []
        if args.litellm:
            others.append(await stack.enter_async_context(litellm(folder, args.litellm, direct)))
        subjects = [direct, ours, *others]
        found["one at a time"] = await in_turns(
            [(one, one.request()) for one in subjects], args.rounds, args.block
        )
        streams = [(one, one.request(stream=True)) for one in subjects]
        found["first byte of a stream"] = await in_turns(streams, args.rounds, args.block)
        translated = [(direct, direct.request(stream=True)), (ours, ours.request("/api/chat", stream=True))]
        found["first byte of a translated stream"] = await in_turns(translated, args.rounds, args.block)
        if not args.no_soak:
            found["memory"] = await soak(ours, SOAK)
    found["64 at once"] = await at_once(args, folder)
    found["bounds"] = judged(found)
    return found


def missing(args: argparse.Namespace) -> list[str]:
    gone = [
        f"{name}: not on PATH (Debian: {package})"
        for name, package in (("nginx", "nginx-light"), ("wrk", "wrk"))
        if not shutil.which(name)
    ]
    return gone + ([] if args.litellm else ["litellm: --litellm names no program"])


async def at_once(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    async with AsyncExitStack() as stack:
        if shutil.which("nginx"):
            inside = f"location / {{ return 200 '{ANSWER.decode()}'; }}"
            direct = await stack.enter_async_context(nginx(folder, "backend", inside))
            proxies = [await stack.enter_async_context(proxy(folder, direct))]
        else:
            direct, proxies = await stack.enter_async_context(python_backend(folder)), []
        subjects = [direct, *proxies]
        for workers in args.workers:
            subjects.append(
                await stack.enter_async_context(
                    gateway(folder, direct, workers, limits=args.limits, count=args.replicas)
                )
            )
        for subject in subjects:
            found[subject.name] = await many(subject, folder, args.seconds)
        if args.litellm:
            slow = await stack.enter_async_context(litellm(folder, args.litellm, direct))
            found[slow.name] = await many(slow, folder, args.seconds)
    return found


def judged(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each bound, what was measured against it, and whether it held."""
    one, first, rates = found["one at a time"], found["first byte of a stream"], found["64 at once"]
    measured = {
        "overhead median ms": one["gateway"]["median ms"] - one["direct"]["median ms"],
        "overhead p99 ms": one["gateway"]["p99 ms"] - one["direct"]["p99 ms"],
        "first byte added ms": first["gateway"]["median ms"] - first["direct"]["median ms"],
    }
    if "memory" in found:
        measured["memory growth %"] = found["memory"]["growth %"]
    ours = rates["gateway"]["per second"]
    for label, name in (("times litellm", "litellm"), ("share of nginx", "nginx")):
        if name in rates:
            measured[label] = ours / rates[name]["per second"]
    return {
        label: {
            "measured": value,
            "bound": BOUNDS[label],
            "held": value >= BOUNDS[label]
            if label in ("times litellm", "share of nginx")
            else value <= BOUNDS[label],
        }
        for label, value in measured.items()
    }


def printed(found: Mapping[str, Any]) -> None:
    print(f"cores {', '.join(map(str, found['cores']))}")
    for line in found["left out"]:
        print(f"left out: {line}")
    for part in (
        "one at a time",
        "first byte of a stream",
        "first byte of a translated stream",
        "64 at once",
    ):
        print(part)
        for name, figures in found[part].items():
            print(f"  {name:<22} " + "   ".join(f"{key} {value:11,.3f}" for key, value in figures.items()))
    if "memory" in found:
        print("memory\n  " + "   ".join(f"{key} {value:,.2f}" for key, value in found["memory"].items()))
    print("bounds")
    for label, facts in found["bounds"].items():
        held = "held" if facts["held"] else "NOT HELD"
        print(f"  {label:<22} {facts['measured']:9.3f}   bound {facts['bound']:6.2f}   {held}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--rounds", type=int, default=10, help="turns of each subject at one request at a time"
    )
    parser.add_argument("--block", type=int, default=400, help="requests of a turn")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row with 64 at once")
    parser.add_argument(
        "--workers",
        type=lambda text: [int(one) for one in text.split(",")],
        default=[1, 2],
        help="such as 1,2",
    )
    parser.add_argument(
        "--litellm", metavar="PATH", help="the program litellm of another virtual environment"
    )
    parser.add_argument("--limits", action="store_true", help="a token that has a rate and a budget")
    parser.add_argument("--replicas", type=int, default=1, help="behind the gateway, in 20 models; they beat")
    parser.add_argument("--no-soak", action="store_true", help=f"leave the {SOAK:,} requests out")
    parser.add_argument("--first", action="store_true", help="real-time priority, where the system allows it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.backend:
        uvloop.run(serve_backend())
        return 0
    if 1 not in args.workers:
        parser.error("--workers must have 1 among them: the bounds are of one process")
    with (
        tempfile.TemporaryDirectory(prefix="aih-") as folder,
        first_in_line() if args.first else nullcontext(),
    ):
        found = uvloop.run(run(args, Path(folder)))
    print(json.dumps(found, indent=2)) if args.json else printed(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The gateway as several processes: none of them may be missed, and the end of all of them is a quiet one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
from test_gateway_streaming import HEAD, chunk, publish, read_request

from ai_how.security import create_token
from ai_how.serving.gateway.listening import bind
from ai_how.serving.gateway.workers import pause

BODY = {"model": "tiny", "messages": []}
WHOLE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Gateway:
    """The process, and how to ask it on a new connection each time."""

    def __init__(self, port: int, token: str, process: psutil.Process, log: Path) -> None:
        self.url, self.process, self.log = f"http://127.0.0.1:{port}", process, log
        self._headers = {"authorization": f"Bearer {token}"}

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=self._headers, trust_env=False, timeout=60, verify=False
        )

    async def ask(self) -> int:
        async with self.client() as client:
            return (await client.post("/v1/chat/completions", json=BODY)).status_code

    def workers(self) -> set[int]:
        return {child.pid for child in self.process.children() if lives(child)}


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def running(site: Path, speak: Speak, workers: int) -> AsyncIterator[Gateway]:
    engine = await asyncio.start_server(speak, "127.0.0.1", 0)
    publish(site / "endpoints", engine.sockets[0].getsockname()[1])
    token = create_token(site / "tokens.json", "admin")
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    files = {"endpoints": str(site / "endpoints"), "token_digests": str(site / "tokens.json")}
    (site / "gateway.json").write_text(
        json.dumps({"port": port, "workers": workers, "drain_timeout": 5, **files})
    )
    log = site / "log"
    with log.open("w") as lines:
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ai_how.serving.gateway",
            "--config",
            str(site / "gateway.json"),
            stderr=lines,
        )
    gateway = Gateway(port, token, psutil.Process(started.pid), log)
    try:
        async with asyncio.timeout(60):
            while not await healthy(gateway):
                assert started.returncode is None, log.read_text()
            yield gateway
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGTERM)
        assert await started.wait() == 0, log.read_text()
        engine.close()


async def healthy(gateway: Gateway) -> bool:
    try:
        async with gateway.client() as client:
            return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        await asyncio.sleep(0.05)
        return False


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await read_request(reader)
            writer.write(WHOLE)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


def test_a_worker_that_is_killed_is_replaced_and_nobody_is_turned_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path, answer, 2) as gateway:
            before = gateway.workers()
            assert len(before) == 2
            victim = before.pop()
            os.kill(victim, signal.SIGKILL)
            # Half of these fall to the one that is dead at this moment.
            assert await asyncio.gather(*(gateway.ask() for _ in range(30))) == [200] * 30
            async with asyncio.timeout(60):
                while len(now := gateway.workers()) < 2 or victim in now:
                    await asyncio.sleep(0.02)
            assert before < now
            async with gateway.client() as client:
                page = (await client.get("/metrics")).text
            assert 'status="200"' in page

    asyncio.run(scene())


def test_an_answer_that_has_begun_may_end_when_the_gateway_ends(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(b"data: one\n\n"))
        await go_on.wait()
        writer.write(chunk(b"data: [DONE]\n\n") + chunk(b""))
        writer.close()

    async def scene() -> bytes:
        async with running(tmp_path, speak, 2) as gateway, gateway.client() as client:
            found = b""
            async with client.stream("POST", "/v1/chat/completions", json=BODY | {"stream": True}) as stream:
                async for piece in stream.aiter_raw():
                    found += piece
                    if not go_on.is_set():
                        gateway.process.terminate()
                        while await healthy(gateway):  # until nobody listens any more
                            pass
                        go_on.set()
            return found

    assert asyncio.run(scene()) == b"data: one\n\ndata: [DONE]\n\n"


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    async def scene() -> None:
        try:
            async with running(tmp_path, answer, 2) as gateway:
                workers = [psutil.Process(pid) for pid in gateway.workers()]
                gateway.process.kill()
                while any(map(lives, workers)):
                    await asyncio.sleep(0.02)
        except AssertionError as error:
            assert "listening" in str(error)  # the end of a killed parent is no 0

    asyncio.run(scene())


def test_a_worker_that_keeps_dying_is_started_less_and_less_often() -> None:
    assert [pause(early) for early in (0, 1, 2, 3, 20)] == [0, 0.1, 0.2, 0.4, 5]

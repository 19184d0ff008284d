"""A gateway with routes, in the process of the test: engines that answer at once, and somebody for a reconciler."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from gateway_door import opened

from ai_how.security import Grant, create_token, write_private
from ai_how.serving.gateway.app import Gateway, create_app
from ai_how.serving.gateway.model import GatewayConfig
from ai_how.wire import Demand, EndpointRecord, ModelRoute, ReplicaRoute, Routes

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "tiny",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}  # fmt: skip
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(**facts: object) -> bytes:
    return b"data: " + json.dumps(facts, separators=(",", ":")).encode() + b"\n\n"


def word(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])


#: What an engine says to a request for a stream that asks for the count of tokens.
STREAM = (word("one"), word("two"), event(choices=[], usage=USAGE), b"data: [DONE]\n\n")


class Engine:
    """A server that answers every request at once, streams where one was asked for, and remembers the bodies."""

    def __init__(self, pause: float = 0.0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.pause = pause
        self.at_once = self.most_at_once = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=2048)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def kill(self) -> None:
        """As kill -9 does: nobody listens any more, and every connection is cut."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if b"content-length" in line
                )
                body = json.loads(await reader.readexactly(length) or b"{}")
                self.bodies.append(body)
                self.at_once += 1
                self.most_at_once = max(self.at_once, self.most_at_once)
                try:
                    await asyncio.sleep(self.pause)
                    await self.answer(body, writer)
                finally:
                    self.at_once -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if body.get("stream"):
            writer.write(HEAD + b"".join(map(chunk, STREAM)) + chunk(b""))
        else:
            said = json.dumps(ANSWER).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(said), said)
            )
        await writer.drain()


class Site:
    """Endpoints, routes, tokens and the reconciler's socket in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.endpoints = root / "endpoints"
        self.endpoints.mkdir()
        self.generation = 0
        self.routed: dict[str, ModelRoute] = {}
        self.token = create_token(root / "owner.json", "owner")
        self.told: list[Demand] = []
        self.jobs: Counter[str] = Counter()
        self.engines: list[Engine] = []
        #: What the reconciler does with a word of the gateway's.
        self.on_demand: Callable[[Demand], None] = lambda demand: None

    def give(self, name: str, **grant: Any) -> str:
        return create_token(self.root / "tokens.json", name, Grant(**grant), replace=True)

    def publish(
        self,
        letter: str,
        port: int,
        model: str = "tiny",
        *,
        job: int = 7,
        slots: int | None = None,
        age: float = 0.0,
    ) -> str:
        now = time.time() - age
        record = EndpointRecord(
            version="1.0", model=model, host="127.0.0.1", port=port, job_id=job, nonce=letter * 24,
            uid=os.getuid(), engine="fake", started=now, heartbeat=now, slots=slots,
        )  # fmt: skip
        write_private(self.endpoints / record.secret_file, f"secret-of-{letter}")
        write_private(self.endpoints / record.record_file, record.model_dump_json())
        return record.nonce

    def route(self, model: str = "tiny", *letters: str, **facts: Any) -> None:
        """Write the routes anew: this model as told, the others as they were. A letter with ``!`` drains."""
        self.generation += 1
        replicas = tuple(
            ReplicaRoute(
                nonce=letter[0] * 24,
                draining=letter.endswith("!"),
                weight=facts.get("weights", {}).get(letter, 1),
            )
            for letter in letters
        )
        facts = {"state": "ready" if replicas else "asleep", **facts}
        facts.pop("weights", None)
        self.routed[model] = ModelRoute(model=model, replicas=replicas, **facts)
        routes = Routes(generation=self.generation, models=tuple(self.routed.values()))
        write_private(self.root / "routes.json", routes.model_dump_json())

    async def engine(
        self, letter: str, model: str = "tiny", engine: Engine | None = None, **record: Any
    ) -> Engine:
        """A replica that runs and has a record; it still has to be routed."""
        engine = engine or Engine()
        self.engines.append(engine)
        self.publish(letter, await engine.start(), model, **record)
        return engine

    @asynccontextmanager
    async def reconciler(self) -> AsyncIterator[None]:
        """Somebody who reads what the gateway tells."""
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        ear.bind(str(self.root / "demand.sock"))
        loop = asyncio.get_running_loop()

        def hear() -> None:
            demand = Demand.model_validate_json(ear.recv(1 << 20))
            self.told.append(demand)
            self.on_demand(demand)

        loop.add_reader(ear, hear)
        try:
            yield
        finally:
            loop.remove_reader(ear)
            ear.close()

    def gateway(self, **settings: Any) -> Gateway:
        files = {
            "endpoints": "endpoints", "token_digests": "owner.json", "tokens": "tokens.json", "ledger": "ledger",
            "routes": "routes.json", "demand": "demand.sock", "usage": "usage.db",
        }  # fmt: skip
        paths = {key: self.root / name for key, name in files.items()}
        return create_app(GatewayConfig(port=1, **paths, **settings))

    @asynccontextmanager
    async def opened(self, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        """The gateway behind its door, and the reconciler; the client has the owner's token."""
        gateway = self.gateway(**settings)
        headers = {b"authorization": b"Bearer " + self.token.encode()}
        async with asyncio.timeout(60), self.reconciler():
            gateway.start()
            async with opened(gateway, headers=headers) as client:
                yield client
            await gateway.close()
            for engine in self.engines:
                engine.kill()

    async def heard(self, what: Callable[[Demand], bool]) -> Demand:
        """The first word of the gateway's of which ``what`` holds."""
        while True:
            for demand in self.told:
                if what(demand):
                    return demand
            await asyncio.sleep(0.005)


def chat(content: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}

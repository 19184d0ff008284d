"""The gateway's own HTTP/1.1, against servers that speak it well, badly and not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from ai_how.serving.gateway.http1 import Connection
from ai_how.serving.gateway.model import Replica
from ai_how.serving.gateway.upstream import Pool, Unreachable, request_head
from ai_how.wire import EndpointRecord

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
Scene = Callable[[Replica, Pool], Awaitable[None]]


def replica(port: int, host: str = "127.0.0.1") -> Replica:
    record = EndpointRecord(
        version="1.0", model="tiny", host=host, port=port, job_id=1, nonce="a" * 24, uid=os.getuid(),
        engine="fake", started=1.0, heartbeat=1.0,
    )  # fmt: skip
    return Replica(record, "the-secret")


class Server:
    """Answers each request of a connection with the next of ``answers``, cut into pieces of ``size``."""

    def __init__(self, *answers: bytes, size: int = 10_000, hang_up: bool = False) -> None:
        self.answers, self.size, self.hang_up = answers, size, hang_up
        self.connections = 0
        self.requests: list[bytes] = []

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self.answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
            except asyncio.IncompleteReadError:
                break
            for at in range(0, len(answer), self.size):
                writer.write(answer[at : at + self.size])
                await writer.drain()
                await asyncio.sleep(0)
        if not self.hang_up:
            await reader.read()
        writer.close()

    def play(self, scene: Scene, *, silence: float = 5.0) -> None:
        async def run() -> None:
            server = await asyncio.start_server(self.speak, "127.0.0.1", 0)
            pool = Pool(answer_timeout=silence)
            async with asyncio.timeout(60), server:
                try:
                    await scene(replica(server.sockets[0].getsockname()[1]), pool)
                finally:
                    await pool.close()

        asyncio.run(run())


async def ask(to: Replica, pool: Pool) -> tuple[int, str, bytes]:
    async with pool.ask(to, "/v1/chat/completions", b'{"x": 1}') as answer:
        return answer.status, answer.content_type, await answer.read()


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3;name=value\r\ntwo\r\n0\r\ntrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(
    "answer", [OK + b"Content-Length: 6\r\n\r\nonetwo", CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED]
)
def test_an_answer_cut_anywhere_is_the_same_and_leaves_the_connection_usable(
    answer: bytes, size: int
) -> None:
    server = Server(answer, answer, size=size)

    async def scene(to: Replica, pool: Pool) -> None:
        for _ in range(2):
            assert await ask(to, pool) == (200, "text/plain", b"onetwo")

    server.play(scene)
    assert server.connections == 1 and len(server.requests) == 2
    assert server.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'\r\n\r\n{"x": 1}')


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nuntil the end",
        OK + b"connection: close\r\ncontent-length: 13\r\n\r\nuntil the end",
    ],
)
def test_a_connection_that_ends_with_its_answer_is_not_kept(answer: bytes) -> None:
    server = Server(answer, hang_up=True)

    async def scene(to: Replica, pool: Pool) -> None:
        for _ in range(2):
            assert await ask(to, pool) == (200, "text/plain", b"until the end")

    server.play(scene)
    assert server.connections == 2


def test_what_comes_behind_an_answer_is_nobodys_next_answer() -> None:
    server = Server(OK + b"content-length: 3\r\n\r\none" + OK + b"content-length: 6\r\n\r\nforged")

    async def scene(to: Replica, pool: Pool) -> None:
        for _ in range(2):
            assert (await ask(to, pool))[2] == b"one"

    server.play(scene)
    assert server.connections == 2


def test_an_answer_that_was_not_read_to_its_end_costs_the_connection() -> None:
    server = Server(CHUNKED, CHUNKED)

    async def scene(to: Replica, pool: Pool) -> None:
        async with pool.ask(to, "/", b"") as answer:
            assert answer.status == 200
        assert (await ask(to, pool))[2] == b"onetwo"

    server.play(scene)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 10\r\n\r\nshort",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nshor",
        OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\nshort\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-5\r\nshort\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nshort\r\n0\r\n\r\n",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : smuggled\r\n\r\n",
        b"HTTP/1.1 200 OK\nname: value\n\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nshort",
        OK + b"transfer-encoding: gzip\r\n\r\nshort",
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\ntrailer: " + b"y" * 200_000,
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_an_answer_is_told_from_one(answer: bytes) -> None:
    async def scene(to: Replica, pool: Pool) -> None:
        with pytest.raises(Unreachable):
            await ask(to, pool)

    Server(answer, hang_up=True).play(scene)


def test_an_engine_that_is_silent_is_given_up() -> None:
    async def scene(to: Replica, pool: Pool) -> None:
        with pytest.raises(Unreachable, match="TimeoutError"):
            await ask(to, pool)

    Server(b"HTTP/1.1 200 OK\r\n").play(scene, silence=0.05)
    Server(OK + b"content-length: 5\r\n\r\nhalf").play(scene, silence=0.05)


def test_nobody_listens() -> None:
    async def run() -> None:
        pool = Pool(answer_timeout=5)
        with pytest.raises(Unreachable, match="no connection"):
            await ask(replica(1), pool)

    asyncio.run(run())


def test_the_head_of_a_request_holds_the_secret_and_nothing_of_the_clients() -> None:
    lines = request_head(replica(4000, "::1"), "/v1/models", 0, "GET").split(b"\r\n")
    assert lines[:3] == [b"GET /v1/models HTTP/1.1", b"host: [::1]:4000", b"authorization: Bearer the-secret"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, "application/json", b"")),
        (b"HTTP/1.1 200\r\n\r\nuntil the end", (200, "application/json", b"until the end")),
        (OK + b"content-length: 0\r\n\r\n", (200, "text/plain", b"")),
    ],
)
def test_heads(answer: bytes, told: tuple[int, str, bytes]) -> None:
    async def scene(to: Replica, pool: Pool) -> None:
        assert await ask(to, pool) == told

    Server(answer, hang_up=True).play(scene)


class Pausing(asyncio.Transport):
    """The other side of a connection, which is told when to send and when to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        return

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@pytest.mark.parametrize("whole", [True, False])
def test_a_long_answer_that_came_at_once_leaves_no_deaf_connection(whole: bool) -> None:
    """Its end came with what made the engine wait: the next answer on that connection must be heard all the same."""

    async def run() -> None:
        connection, engine = Connection(5), Pausing()
        connection.connection_made(engine)
        for _ in range(2):
            sent = asyncio.ensure_future(connection.send(b"GET / HTTP/1.1\r\n\r\n", b""))
            await asyncio.sleep(0)
            connection.data_received(OK + b"content-length: 300000\r\n\r\n")
            connection.data_received(b"x" * 300_000)
            assert engine.paused and (await sent).length == 300_000
            if whole:
                assert len(await connection.whole(10**6)) == 300_000
            else:
                while await connection.take():
                    pass
            assert connection.usable and not engine.paused

    asyncio.run(run())

"""The gateway's door against clients that speak HTTP badly, slowly, or with bad intent."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gateway_door import opened
from test_gateway_app import FixedClock, Scripted, good, publish

from ai_how.security import create_token, write_private
from ai_how.serving.gateway.app import create_app
from ai_how.serving.gateway.door import Door
from ai_how.serving.gateway.exchange import Exchange
from ai_how.serving.gateway.head import path_of
from ai_how.serving.gateway.model import GatewayConfig
from ai_how.wire.routes import ModelRoute, ReplicaRoute, Routes

BODY = b'{"model": "tiny", "messages": []}'
LIMIT = 10_000


@dataclass
class Told:
    """What came back on a connection: every answer's status and body, and whether the gateway hung up after them."""

    answers: list[tuple[int, dict[bytes, bytes], bytes]]
    closed: bool

    @property
    def statuses(self) -> list[int]:
        return [status for status, _, _ in self.answers]

    @property
    def code(self) -> str:
        error = json.loads(self.answers[-1][2])["error"]
        return str(error["code"])


class Front:
    """A gateway in front of one scripted replica, and what was asked of that."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.token = create_token(root / "tokens.json", "admin")
        self.asked: list[bytes] = []
        self.lines: list[dict[str, Any]] = []
        publish(root / "endpoints", "a")

        def answer(request: Any) -> Any:
            self.asked.append(request.content)
            return good(request)

        config = GatewayConfig(
            port=1,
            endpoints=root / "endpoints",
            token_digests=root / "tokens.json",
            body_limit=LIMIT,
            **settings,
        )
        self.app = create_app(
            config,
            upstream=Scripted(answer),
            clock=FixedClock(),
            access_log=lambda line: self.lines.append(json.loads(line)),
        )

    def post(self, *lines: bytes, body: bytes = BODY, path: bytes = b"/v1/chat/completions") -> bytes:
        """A request with a good token, whose other lines are as they are given."""
        return b"\r\n".join(
            (
                b"POST " + path + b" HTTP/1.1",
                b"Host: x",
                b"Authorization: Bearer " + self.token.encode(),
                *lines,
                b"",
                body,
            )
        )

    def good(self, body: bytes = BODY) -> bytes:
        return self.post(b"Content-Length: %d" % len(body), body=body)

    def opened(self, patience: float = 5.0) -> AbstractAsyncContextManager[Any]:
        return opened(self.app, patience=patience)

    def tell(self, *pieces: bytes, expect: int = 1, patience: float = 5.0) -> Told:
        """Send the pieces one after the other, and take ``expect`` answers and then the end, if it comes at once."""

        async def talk() -> Told:
            async with asyncio.timeout(60), self.opened(patience) as client:
                reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                answers = []
                try:
                    for _ in range(expect):
                        answers.append(await read_answer(reader, head=pieces[0].startswith(b"HEAD")))
                    # Whether another request is taken tells whether it hung up.
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    closed = (await read_answer(reader))[0] != 200
                except (ConnectionError, asyncio.IncompleteReadError):
                    closed = True
                writer.close()
                return Told(answers, closed)

        return asyncio.run(talk())


async def read_answer(
    reader: asyncio.StreamReader, *, head: bool = False
) -> tuple[int, dict[bytes, bytes], bytes]:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines)
    status = int(first.split()[1])
    length = 0 if head or status < 200 else int(headers.get(b"content-length", 0))
    return status, headers, await reader.readexactly(length)


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return Front(tmp_path)


def chunked(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
#: What could be read two ways, or is no HTTP/1.1 at all: the lines between a good token and the body.
AMBIGUOUS: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "both lengths": ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), b"0\r\n\r\n" + SMUGGLED),
    "both lengths, the other way": ((b"Transfer-Encoding: chunked", b"Content-Length: 5"), b"0\r\n\r\n" + SMUGGLED),
    "two lengths": ((b"Content-Length: 33", b"Content-Length: 34"), BODY + SMUGGLED),
    "two lengths that agree": ((b"Content-Length: 33", b"Content-Length: 33"), BODY),
    "lengths in a list": ((b"Content-Length: 33, 33",), BODY),
    "a length with a sign": ((b"Content-Length: +33",), BODY),
    "a length in hexadecimal": ((b"Content-Length: 0x21",), BODY),
    "LF alone": ((b"Content-Length: 33\nX: y",), BODY),
    "CR alone": ((b"X: a\rContent-Length: 33",), BODY),
    "a blank before the colon": ((b"Content-Length : 33",), BODY),
    "a folded line": ((b"X: a", b" b", b"Content-Length: 33"), BODY),
    "no name": ((b": a", b"Content-Length: 33"), BODY),
    "NUL in a value": ((b"X: a\0b", b"Content-Length: 33"), BODY),
    "an encoding like chunked": ((b"Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    "an encoding after chunked": ((b"Transfer-Encoding: chunked, identity",), b"0\r\n\r\n"),
    "two hosts": ((b"Host: y", b"Content-Length: 33"), BODY),
    "a chunk with a sign": ((b"Transfer-Encoding: chunked",), chunked(b"+5", b"hello", b"0", b"", b"")),
    "a chunk longer than it says": ((b"Transfer-Encoding: chunked",), chunked(b"2", b"hello", b"0", b"", b"")),
    "a chunk of more than there can be": ((b"Transfer-Encoding: chunked",), chunked(b"f" * 17, b"x", b"0", b"", b"")),
    "a chunk's line that ends in LF": ((b"Transfer-Encoding: chunked",), b"5\nhello\r\n0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_could_be_read_two_ways_is_refused_and_ends_the_connection(front: Front, name: str) -> None:
    lines, body = AMBIGUOUS[name]
    told = front.tell(front.post(*lines, body=body))
    assert told.statuses == [400] and told.code == "malformed_request"
    assert told.closed and front.asked == []
    assert [(line["status"], line["model"]) for line in front.lines] == [(400, "-")]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/models\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT other.example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"STEAL /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: a-gift\r\nContent-Length: 5\r\n\r\n", 417),
    ],
)
def test_what_is_not_spoken_here_is_refused(front: Front, raw: bytes, status: int) -> None:
    told = front.tell(raw)
    assert told.statuses == [status] and told.closed and front.asked == []
    error = json.loads(told.answers[0][2])["error"]
    assert error["source"] == "gateway" and b"STEAL" not in told.answers[0][2]
    assert [line["status"] for line in front.lines] == [status]


@pytest.mark.parametrize(
    "lines",
    [
        (b"X: " + b"y" * 40_000,),
        tuple(b"X-%d: y" % index for index in range(150)),
        (b"Cookie: " + b"y" * 20_000, b"X: " + b"y" * 20_000),
    ],
)
def test_a_head_that_is_too_large(front: Front, lines: tuple[bytes, ...]) -> None:
    told = front.tell(front.post(*lines, b"Content-Length: 33"))
    assert told.statuses == [431] and told.code == "too_large" and told.closed and front.asked == []


def test_a_head_without_an_end_is_refused_while_it_comes(front: Front) -> None:
    told = front.tell(b"GET /v1/models HTTP/1.1\r\nX: ", *[b"y" * 5000] * 10)
    assert told.statuses == [431] and told.closed
    told = front.tell(b"GET /" + b"y" * 40_000)
    assert told.statuses == [431] and told.closed


def test_a_body_over_the_limit_is_refused_before_it_is_sent(front: Front) -> None:
    told = front.tell(front.post(b"Content-Length: 1000000000", body=b""))
    assert told.statuses == [413] and told.code == "too_large" and front.asked == []


def test_a_body_over_the_limit_in_chunks_is_refused_while_it_comes(front: Front) -> None:
    piece = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    told = front.tell(front.post(b"Transfer-Encoding: chunked", body=b""), *[piece] * 10)
    assert told.statuses == [413] and told.code == "too_large" and front.asked == []


def test_chunks_that_bring_nothing_do_not_go_on_forever(front: Front) -> None:
    endless = [b"x" * 5000] * 30
    told = front.tell(front.post(b"Transfer-Encoding: chunked", body=b"5;"), *endless)
    assert told.statuses == [400] and told.closed
    told = front.tell(front.post(b"Transfer-Encoding: chunked", body=b"0\r\nX: "), *endless)
    assert told.statuses == [400] and told.closed and front.asked == []


def test_who_has_no_token_cannot_make_us_take_a_body(front: Front) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
    told = front.tell(head)
    assert told.statuses == [401] and told.closed
    told = front.tell(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert told.statuses == [401] and told.closed  # and was not asked to go on


def test_who_waits_to_be_asked_for_the_body_is_asked(front: Front) -> None:
    async def scene() -> tuple[int, int]:
        async with asyncio.timeout(60), front.opened() as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            writer.write(front.post(b"Content-Length: 33", b"Expect: 100-continue", body=b""))
            asked = await read_answer(reader)
            writer.write(BODY)
            answered = await read_answer(reader)
            writer.close()
            return asked[0], answered[0]

    assert asyncio.run(scene()) == (100, 200)
    assert front.asked == [BODY]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /v1/mod",),
        (b"GET /v1/models HTTP/1.1\r\n", b"Host: x\r\n"),
        (b"\r\n\r\nG",),
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(front: Front, pieces: tuple[bytes, ...]) -> None:
    told = front.tell(*pieces, patience=0.1)
    assert told.statuses == [408] and told.code == "request_timeout" and told.closed


def test_a_head_that_trickles_is_not_waited_for_either(front: Front) -> None:
    """Each byte comes in time; all of them together do not."""

    async def scene() -> bytes:
        async with asyncio.timeout(60), front.opened(0.2) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            answer = asyncio.ensure_future(reader.read())
            writer.write(b"GET /v1/models HTTP/1.1\r\nX: ")
            while not answer.done():
                writer.write(b"y")
                await asyncio.wait({answer}, timeout=0.02)
            writer.close()
            return await answer

    assert asyncio.run(scene()).startswith(b"HTTP/1.1 408")


def test_a_body_that_trickles_is_not_waited_for_either(front: Front) -> None:
    async def scene() -> bytes:
        async with asyncio.timeout(60), front.opened(0.2) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            answer = asyncio.ensure_future(reader.readuntil(b"}}"))
            writer.write(front.post(b"Content-Length: 9000", body=b"{"))
            while not answer.done():
                writer.write(b" ")
                await asyncio.wait({answer}, timeout=0.02)
            writer.close()
            return await answer

    assert asyncio.run(scene()).startswith(b"HTTP/1.1 408") and front.asked == []


def test_a_connection_that_says_nothing_is_closed(front: Front) -> None:
    told = front.tell(b"", patience=0.1)
    assert told.answers == [] and told.closed and front.lines == []


def test_requests_sent_ahead_are_answered_in_their_order(front: Front) -> None:
    bodies = [json.dumps({"model": "tiny", "messages": [], "n": index}).encode() for index in range(5)]
    told = front.tell(b"".join(map(front.good, bodies)) + front.good(b"no"), front.good(), expect=7)
    assert told.statuses == [200] * 5 + [400, 200] and not told.closed
    assert front.asked == [*bodies, BODY]


def test_too_many_requests_sent_ahead_end_the_connection(front: Front) -> None:
    told = front.tell(front.good() * 50, expect=50)
    assert told.closed and told.statuses[-1] == 400 and set(told.statuses[:-1]) == {200}
    assert len(front.asked) == len(told.statuses) - 1 < 40


def test_garbage_behind_a_good_request_is_refused_after_its_answer(front: Front) -> None:
    told = front.tell(front.good() + b"\0\0\0", expect=2)
    assert told.statuses == [200, 400] and told.closed


def test_nothing_is_answered_behind_the_last_request(front: Front) -> None:
    told = front.tell(front.post(b"Connection: close", b"Content-Length: 33") + front.good())
    assert told.statuses == [200] and told.closed and len(front.asked) == 1
    assert told.answers[0][1][b"connection"] == b"close"


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_request_cut_anywhere_is_the_same(front: Front, cut: int) -> None:
    raw = front.good()
    assert front.tell(raw[:cut], raw[cut:]).statuses == [200]
    assert front.asked == [BODY]


def test_a_body_in_chunks_reaches_the_engine_whole(front: Front) -> None:
    body = b"8\r\n" + BODY[:8] + b"\r\n19;name=value\r\n" + BODY[8:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    told = front.tell(front.post(b"Transfer-Encoding: chunked", body=body) + front.good(), expect=2)
    assert told.statuses == [200, 200] and front.asked == [BODY, BODY]


def test_an_old_client_is_answered_and_hung_up_on(front: Front) -> None:
    told = front.tell(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert told.statuses == [200] and told.closed


def test_an_old_client_gets_a_stream_without_chunks(front: Front) -> None:
    raw = front.good(b'{"model": "tiny", "messages": [], "stream": true}').replace(
        b"HTTP/1.1", b"HTTP/1.0", 1
    )

    async def scene() -> bytes:
        async with asyncio.timeout(60), front.opened() as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            writer.write(raw)
            found = await reader.read()
            writer.close()
            return found

    head, _, body = asyncio.run(scene()).partition(b"\r\n\r\n")
    assert b"chunked" not in head and json.loads(body) == {"choices": [], "from": 4007}


@pytest.mark.parametrize(("version", "expects"), [(b"1.1", True), (b"1.0", False)])
def test_who_speaks_the_old_version_is_not_asked_to_go_on(version: bytes, expects: bool) -> None:
    """HTTP/1.0 knows one answer to a request: a first one of another status would be taken for it."""

    async def scene() -> list[bool]:
        seen: list[bool] = []

        async def serve(exchange: Exchange) -> None:
            seen.append(exchange.expects)
            await exchange.answer(200, b"")

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Door(serve, 5).protocol, "127.0.0.1", 0)
        async with server, asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(
                b"POST / HTTP/%b\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n" % version
            )
            await read_answer(reader)
            writer.close()
        return seen

    assert asyncio.run(scene()) == [expects]


def test_head_has_no_body(front: Front) -> None:
    told = front.tell(
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        expect=2,
    )
    assert told.statuses == [200, 401] and not told.closed


def test_an_offer_to_speak_something_else_is_declined_by_an_answer(front: Front) -> None:
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ")
    told = front.tell(front.post(*upgrade, b"Content-Length: 33"))
    assert told.statuses == [200] and told.closed and front.asked == [BODY]


def test_an_absolute_target_means_its_path_and_no_other_host(front: Front) -> None:
    raw = front.good().replace(b"POST /", b"POST http://other.example.org/", 1)
    assert front.tell(raw).statuses == [200] and front.asked == [BODY]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/models", "/v1/models"),
        (b"/v1/models?token=secret", "/v1/models"),
        (b"/v1/models/org%2Fmodel", "/v1/models/org/model"),
        (b"http://h/v1/models?x", "/v1/models"),
        (b"http://h", None),
        (b"*", None),
        (b"h:443", None),
        (b"/%ff", None),
        (b"/%", "/%"),
        (b"/%00", "/\0"),
        (b"", None),
    ],
)
def test_paths(target: bytes, path: str | None) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fetc/passwd", "/v1/models/..%2f..%2fetc", "/%00", "/v1/models/%0aGET"]
)
def test_a_hostile_path_goes_nowhere(front: Front, path: str) -> None:
    raw = (
        b"GET "
        + path.encode()
        + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + front.token.encode()
        + b"\r\n\r\n"
    )
    told = front.tell(raw)
    assert told.statuses[0] in (400, 404) and front.asked == []
    assert b"passwd" not in told.answers[0][2]
    assert [line["path"] for line in front.lines] in (["unknown"], ["/v1/models/*"])


def test_hundreds_of_connections_at_once(front: Front) -> None:
    async def one(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(front.good())
        status, _, _ = await read_answer(reader)
        writer.close()
        return status

    async def scene() -> list[int]:
        async with asyncio.timeout(60), front.opened(30) as client:
            return await asyncio.gather(*(one(client.base_url.port) for _ in range(400)))

    assert set(asyncio.run(scene())) == {200}


# --- what a replica may be ----------------------------------------------------------------------------


def record(folder: Path, **changes: object) -> Path:
    publish(folder, "b", model="other", job=9)
    path = folder / f"{'b' * 24}.json"
    if changes:
        write_private(path, json.dumps(json.loads(path.read_text()) | changes))
    return path


def ask_other(front: Front) -> tuple[int, str]:
    told = front.tell(front.good(b'{"model": "other", "messages": []}'))
    return told.statuses[0], told.code if told.statuses[0] >= 400 else ""


NOBODY = (404, "model_not_found")


def test_a_replica_of_ours_is_asked(front: Front) -> None:
    record(front.root / "endpoints")
    assert ask_other(front) == (200, "") and len(front.asked) == 1


@pytest.mark.parametrize("file", ["record", "secret"])
@pytest.mark.parametrize("mode", [0o644, 0o666, 0o620])
def test_a_record_or_secret_that_others_may_read_or_write_is_nobodys(
    front: Front, file: str, mode: int
) -> None:
    path = record(front.root / "endpoints")
    (path if file == "record" else path.with_suffix(".secret")).chmod(mode)
    assert ask_other(front) == NOBODY and front.asked == []


def test_a_replica_without_a_secret_is_not_asked(front: Front) -> None:
    record(front.root / "endpoints").with_suffix(".secret").unlink()
    assert ask_other(front) == NOBODY and front.asked == []


def test_a_replica_that_runs_as_another_user_is_not_asked(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    record(front.root / "endpoints", uid=os.getuid() + 1)
    assert ask_other(front) == NOBODY and front.asked == []
    assert "another user's" in caplog.text


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_that_another_user_has_put_there_is_ignored(front: Front) -> None:
    os.chown(record(front.root / "endpoints"), 65534, 65534)
    assert ask_other(front) == NOBODY and front.asked == []


@pytest.mark.parametrize("nonce", ["../../etc/passwd", "b" * 8, "B" * 24, "b" * 24 + "/x", ""])
def test_a_record_with_a_strange_nonce_is_ignored(front: Front, nonce: str) -> None:
    record(front.root / "endpoints", nonce=nonce)
    assert ask_other(front) == NOBODY and front.asked == []


def test_a_nonce_that_nobody_asked_for_is_not_asked(tmp_path: Path) -> None:
    """With routes, a record alone is nothing: somebody must have held it against the job that Slurm runs."""
    front = Front(tmp_path, routes=tmp_path / "routes.json")
    routes = Routes(generation=1, models=(ModelRoute(model="other", state="ready", replicas=()),))
    write_private(tmp_path / "routes.json", routes.model_dump_json())
    record(tmp_path / "endpoints")

    async def scene() -> None:
        async with asyncio.timeout(60), front.opened() as client:
            body = {"model": "other", "messages": []}
            headers = {"authorization": f"Bearer {front.token}"}
            asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=body, headers=headers))
            while (
                b'waiting{model="other"} 1.0' not in (await client.get("/metrics", headers=headers)).content
            ):
                pass
            assert front.asked == []
            known = Routes(
                generation=2,
                models=(ModelRoute(model="other", state="ready", replicas=(ReplicaRoute(nonce="b" * 24),)),),
            )
            write_private(tmp_path / "routes.json", known.model_dump_json())
            assert (await asking).status_code == 200

    asyncio.run(scene())

"""The gateway behind its real door: no stream is buffered, a client that leaves is noticed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from ai_how.security import create_token, write_private
from ai_how.serving.gateway.app import create_app
from ai_how.serving.gateway.control import serving
from ai_how.serving.gateway.listening import bind
from ai_how.serving.gateway.model import GatewayConfig
from ai_how.wire import EndpointRecord

NONCE = "ab" * 12
SECRET = "secret-of-the-replica"
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


def publish(folder: Path, port: int, nonce: str = NONCE) -> None:
    now = time.time()
    record = EndpointRecord(
        version="1.0", model="tiny", host="127.0.0.1", port=port, job_id=7, nonce=nonce, uid=os.getuid(),
        engine="fake", started=now, heartbeat=now,
    )  # fmt: skip
    write_private(folder / record.secret_file, SECRET)
    write_private(folder / record.record_file, record.model_dump_json())


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line
    )
    return head, await reader.readexactly(length)


@asynccontextmanager
async def gateway(site: Path, speak: Speak, **settings: float) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway in front of one replica that speaks as it is told."""
    upstream = await asyncio.start_server(speak, "127.0.0.1", 0)
    publish(site / "endpoints", upstream.sockets[0].getsockname()[1])
    token = create_token(site / "tokens.json", "admin")
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    files = {"endpoints": str(site / "endpoints"), "token_digests": str(site / "tokens.json")}
    config = GatewayConfig.model_validate({"port": port, **files, **settings})
    app = create_app(config)
    headers = {"authorization": f"Bearer {token}"}
    async with (
        serving(app, listener, config),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client,
    ):
        yield client
    await app.close()
    upstream.close()


def test_the_first_piece_arrives_before_the_last_is_made(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        assert f"bearer {SECRET}".encode() in head.lower()
        writer.write(HEAD + chunk(b"data: one\n\n"))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(b"data: [DONE]\n\n") + chunk(b""))
        await writer.drain()
        writer.close()

    async def scene() -> list[bytes]:
        found = []
        async with (
            asyncio.timeout(60),
            gateway(tmp_path, speak) as client,
            client.stream("POST", "/v1/chat/completions", json=ASKED) as answer,
        ):
            async for piece in answer.aiter_raw():
                found.append(piece)
                # Only now, with the first piece in hand, is the engine let on to the next.
                go_on.set()
        return found

    assert asyncio.run(scene()) == [b"data: one\n\n", b"data: [DONE]\n\n"]


def event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def test_a_translated_stream_is_not_held_back_either(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(event("one")))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(event("two") + b"data: [DONE]\n\n") + chunk(b""))
        await writer.drain()
        writer.close()

    async def scene() -> list[str]:
        found = []
        async with (
            asyncio.timeout(60),
            gateway(tmp_path, speak) as client,
            client.stream("POST", "/api/chat", json=ASKED) as answer,
        ):
            assert answer.headers["content-type"] == "application/x-ndjson"
            async for line in answer.aiter_lines():
                found.append(json.loads(line)["message"]["content"])
                go_on.set()
        return found

    assert asyncio.run(scene()) == ["one", "two", ""]


def test_a_malformed_stream_ends_with_an_error_in_the_clients_words(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(event("one")) + chunk(b"data: {broken\n\n") + chunk(b""))
        await writer.drain()
        writer.close()

    async def scene() -> list[str]:
        async with asyncio.timeout(60), gateway(tmp_path, speak) as client:
            return (await client.post("/api/chat", json=ASKED)).text.splitlines()

    first, last = (json.loads(line) for line in asyncio.run(scene()))
    assert first["message"]["content"] == "one"
    assert (last["source"], last["code"]) == ("engine", "replica_malformed")


def test_a_client_that_leaves_is_noticed_by_the_engine(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(b"data: one\n\n"))
        await writer.drain()
        assert await reader.read() == b""
        hung_up.set()
        writer.close()

    async def scene() -> None:
        async with asyncio.timeout(60), gateway(tmp_path, speak) as client:
            async with client.stream("POST", "/v1/chat/completions", json=ASKED) as answer:
                assert await anext(answer.aiter_raw()) == b"data: one\n\n"
            await hung_up.wait()

    asyncio.run(scene())


def raw_request(client: httpx.AsyncClient, length: int, body: bytes) -> tuple[int, bytes]:
    """The gateway's port, and a request as a client writes it that cares for nothing."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n"
    head += f"authorization: {client.headers['authorization']}\r\n\r\n"
    return client.base_url.port or 0, head.encode() + body


def test_a_client_that_does_not_send_what_it_promised_is_given_up(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("the engine was asked")

    async def scene() -> bytes:
        async with asyncio.timeout(60), gateway(tmp_path, speak, client_timeout=0.1) as client:
            port, request = raw_request(client, 1000, b'{"model": "ti')
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await reader.readuntil(b"}}")
            writer.close()
            return answer

    answer = asyncio.run(scene())
    assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer


def test_a_client_that_takes_nothing_does_not_hold_the_engine(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD)
        try:
            while True:
                writer.write(chunk(b"data: " + b"x" * 60_000 + b"\n\n"))
                await writer.drain()
        except OSError:
            hung_up.set()

    async def scene() -> None:
        async with asyncio.timeout(60), gateway(tmp_path, speak, client_timeout=0.2) as client:
            body = json.dumps(ASKED).encode()
            port, request = raw_request(client, len(body), body)
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(request)
            await hung_up.wait()
            writer.close()

    asyncio.run(scene())


def test_an_engine_that_breaks_off_is_told_to_the_client(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(b"data: one\n\n"))
        await writer.drain()
        writer.close()

    async def scene() -> bytes:
        async with asyncio.timeout(60), gateway(tmp_path, speak) as client:
            return (await client.post("/v1/chat/completions", json=ASKED)).content

    # A blank line more ends whatever event it broke off in.
    first, last = [line for line in asyncio.run(scene()).split(b"\n") if line]
    assert first == b"data: one"
    assert json.loads(last.removeprefix(b"data: "))["error"]["source"] == "engine"


def test_a_kept_connection_that_the_engine_closed_costs_nothing(tmp_path: Path) -> None:
    body = b'{"choices":[]}'
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    connections = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(whole)
        await writer.drain()
        if connections == 1:
            # Hang up only when the next request is on its way: the race that no idle limit can rule out.
            await read_request(reader)
        writer.close()

    async def scene() -> list[int]:
        asked = {**ASKED, "stream": False}
        async with asyncio.timeout(60), gateway(tmp_path, speak) as client:
            return [(await client.post("/v1/chat/completions", json=asked)).status_code for _ in range(2)]

    assert asyncio.run(scene()) == [200, 200]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    create_token(tmp_path / "tokens.json", "admin")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = {"port": port, "endpoints": str(tmp_path), "token_digests": str(tmp_path / "tokens.json")}
        (tmp_path / "gateway.json").write_text(json.dumps(config))
        done = subprocess.run(
            [sys.executable, "-m", "ai_how.serving.gateway", "--config", str(tmp_path / "gateway.json")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"error: port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr

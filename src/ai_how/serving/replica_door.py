"""The guard's door: HTTP/1.1 in, admitted by a secret, and on to the engine byte for byte.

Standard library only, Python 3.9 or newer; copied to the node beside ``replica_guard.py``. Each request's head is read
to find the secret and the request's end, each answer's to find its end; bodies are passed on as they come. What is not
plain HTTP/1.1 is refused: a head that two programs could read in two ways never reaches the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import socket
from collections.abc import Callable
from typing import Any

HEAD_MOST = 65536
PIECE = 65536
#: Seconds for the first request's head, so that a stranger holds no connection for ever; the gateway may hold one idle.
HEAD_SECONDS, IDLE_SECONDS = 30.0, 3600.0
WORDS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 431: "Head Too Large", 502: "Bad Gateway"}
_NAME = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
_FIRST = re.compile(rb"^[A-Z]{1,16} /[\x21-\x7e]* HTTP/1\.[01]$")
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})")

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """A request that is not passed on: ``status`` and ``why`` are the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Gone(Exception):
    """One of the two ends has gone away."""


def split_head(head: bytes) -> tuple[bytes, Headers]:
    """The first line and the headers, names in small letters. Raises :class:`Refused`."""
    first, *lines = head[:-4].split(b"\r\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.match(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise Refused(400, "a header is malformed")
        headers.append((name.lower(), value.strip(b" \t")))
    return first, headers


def body_of(headers: Headers) -> int | bool | None:
    """The length of a body, True for one in chunks, None where no header tells. Raises :class:`Refused`."""
    lengths = {value for name, value in headers if name == b"content-length"}
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise Refused(400, "the body's length is told in two ways")
        return True
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"\d{1,15}", min(lengths)):
        raise Refused(400, "the body's length is malformed")
    return int(min(lengths))


def closes(first: bytes, headers: Headers) -> bool:
    """Whether the connection ends with this message."""
    said = b",".join(value.lower() for name, value in headers if name == b"connection")
    old = first.endswith(b"HTTP/1.0") or first.startswith(b"HTTP/1.0")
    return b"close" in said or (old and b"keep-alive" not in said)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise Refused(431, "the head is too long") from error
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Gone from error


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    try:
        writer.write(data)
        await writer.drain()
    except (ConnectionError, RuntimeError) as error:
        raise Gone from error


async def pass_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | bool | None
) -> None:
    """Pass a body on as it comes: so many bytes, chunks (True), or all until the end (None)."""
    try:
        if length is True:
            await pass_chunks(reader, writer)
            return
        left = length
        while left is None or left > 0:
            data = await reader.read(PIECE if left is None else min(PIECE, left))
            if not data:
                if left is None:
                    return
                raise Gone
            left = None if left is None else left - len(data)
            await send(writer, data)
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise Gone from error


async def pass_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        told = line[:-2].partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,12}", told):
            raise Refused(400, "a chunk is malformed")
        size = int(told, 16)
        # The size goes with the first piece of its chunk: one write for a token, not two.
        left, held = size + 2 if size else 0, line
        while left:
            data = await reader.read(min(PIECE, left))
            if not data:
                raise Gone
            left -= len(data)
            await send(writer, held + data)
            held = b""
        if not size:
            while line != b"\r\n":
                line = await reader.readuntil(b"\r\n")
                held += line
            await send(writer, held)


class Peer(asyncio.StreamReaderProtocol):
    """A client's connection, which knows when the client has gone."""

    def __init__(self, reader: asyncio.StreamReader, serve: Callable[..., Any], loop: Any) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        super().__init__(reader, self._serve, loop=loop)
        self._door = serve

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._door(reader, writer, self.gone)

    def connection_made(self, transport: Any) -> None:
        # asyncio does this itself only for sockets that know that they are TCP's, and one that was accepted does not.
        # Without it a small answer in two parts waits 40 ms for the kernel.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        self._leave()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class Door:
    """Admits those who know the secret to the engine at ``engine`` (host and port).

    With ``keep`` the engine is shown the secret, too: it is one that asks for it at some of its paths.
    """

    def __init__(self, secret: str, nonce: str, engine: tuple[str, int], *, keep: bool = False) -> None:
        self._secret = secret.encode()
        self._nonce = nonce
        self._engine = engine
        self._keep = keep
        self.running = 0

    def accept(self) -> Peer:
        """A protocol for one new connection."""
        loop = asyncio.get_running_loop()
        return Peer(asyncio.StreamReader(limit=HEAD_MOST, loop=loop), self.serve, loop)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Future[None]
    ) -> None:
        """One client's connection: one request after another."""
        connection = Connection(self, reader, writer)
        work = asyncio.ensure_future(connection.run())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not connection.answered:
                # A client that sent its last request and shut its side is answered no more: it may as well be gone.
                work.cancel()
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()
        finally:
            connection.close()

    def admits(self, headers: Headers) -> bool:
        """Whether a request knows the secret. Takes as long for a wrong one as for the right one."""
        given = [value for name, value in headers if name == b"authorization"]
        known = len(given) == 1 and given[0][:7].lower() == b"bearer "
        return hmac.compare_digest(given[0][7:].strip() if known else b"", self._secret)

    def engine_head(self, first: bytes, headers: Headers) -> bytes:
        """The head as the engine sees it: without the secret."""
        kept = [name + b": " + value for name, value in headers if self._keep or name != b"authorization"]
        return b"\r\n".join([first, *kept, b"", b""])

    def own_page(self, first: bytes) -> bytes | None:
        """The body of a page of the guard's own."""
        path = first.split(b" ")[1].partition(b"?")[0]
        if path == b"/.ai-how/nonce":
            return json.dumps({"nonce": self._nonce}).encode()
        if path == b"/.ai-how/metrics":
            return f"# TYPE ai_how_guard_running gauge\nai_how_guard_running {self.running}\n".encode()
        return None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(*self._engine, limit=HEAD_MOST)
        except OSError as error:
            raise Refused(502, "the engine does not answer") from error


class Connection:
    """One client's connection."""

    def __init__(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._door = door
        self._reader = reader
        self._writer = writer
        self._engine: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        #: Nothing is under way: the client may shut its side without taking anything from anybody.
        self.answered = True
        self._half = False  # an answer has begun, and not ended
        self._patience = HEAD_SECONDS

    async def run(self) -> None:
        try:
            while await self._one():
                pass
        except Refused as refused:
            await self._refuse(refused)
        except (Gone, asyncio.TimeoutError):  # noqa: UP041 - another one before Python 3.11
            pass

    async def _one(self) -> bool:
        """Answer one request; False when it was the connection's last."""
        head = await asyncio.wait_for(read_head(self._reader), self._patience)
        first, headers = split_head(head)
        if not _FIRST.match(first):
            raise Refused(400, "the request is malformed")
        if not self._door.admits(headers):
            raise Refused(401, "this replica is reached through its gateway")
        self._patience = IDLE_SECONDS
        page = self._door.own_page(first)
        if page is not None:
            await send(self._writer, answer(200, page, keep=not closes(first, headers)))
            return not closes(first, headers) and not body_of(headers)
        self.answered = False
        self._door.running += 1
        try:
            return await self._pass_on(first, headers)
        finally:
            self._door.running -= 1
            self.answered = True

    async def _pass_on(self, first: bytes, headers: Headers) -> bool:
        length = body_of(headers)
        # One for each request: an engine may close a kept one at any time, `llama-server` after each stream without a
        # word, and a request that meets the closing cannot be sent again, as its body is not kept.
        engine_reader, engine_writer = self._engine = await self._door.connect()
        await send(engine_writer, self._door.engine_head(first, headers))
        asking = asyncio.ensure_future(pass_body(self._reader, engine_writer, length or 0))
        try:
            goes_on = await self._answer(engine_reader, first)
            self._half = False
            if not asking.done():
                return False  # answered before all was read: what is left of the request cannot be told apart
            asking.result()
            return goes_on and not closes(first, headers)
        finally:
            asking.cancel()
            engine_writer.close()

    async def _answer(self, engine: asyncio.StreamReader, asked: bytes) -> bool:
        """Pass the engine's answer on; False when its connection ends with it."""
        while True:
            try:
                head = await read_head(engine)
                first, headers = split_head(head)
            except Gone as error:
                raise Refused(502, "the engine closed the connection") from error
            status = _STATUS.match(first)
            if not status or status.group(1) == b"101":
                raise Refused(502, "the engine's answer is malformed")
            self._half = True
            await send(self._writer, head)
            if status.group(1)[:1] != b"1":
                break
        if asked.startswith(b"HEAD ") or status.group(1) in (b"204", b"304"):
            return not closes(first, headers)
        length = body_of(headers)
        await pass_body(engine, self._writer, length)
        return length is not None and not closes(first, headers)

    async def _refuse(self, refused: Refused) -> None:
        if self._half:
            return  # half an answer is out: closing is all that is left to say
        kind = "engine" if refused.status == 502 else "replica"
        body = json.dumps({"error": {"message": refused.why, "type": kind, "code": refused.status}})
        with contextlib.suppress(Gone):
            await send(self._writer, answer(refused.status, body.encode(), keep=False))

    def close(self) -> None:
        self._writer.close()
        if self._engine:
            self._engine[1].close()


def answer(status: int, body: bytes, *, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {WORDS[status]}",
        "content-type: application/json" if body[:1] == b"{" else "content-type: text/plain; version=0.0.4",
        f"content-length: {len(body)}",
        f"connection: {'keep-alive' if keep else 'close'}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body

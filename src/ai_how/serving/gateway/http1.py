"""HTTP/1.1 as a client, no more of it than engines speak: one request at a time on a kept connection.

A general client costs over a millisecond a request, most of what a gateway would add. This one reads a status line,
three headers and a body, and takes everything that is not clearly HTTP/1.1 for a broken engine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import SupportsIndex

#: Bytes of a head; and of what is passed on at once.
_HEAD = 64 * 1024
_PIECE = 64 * 1024


class Broken(Exception):
    """The connection ended, or what came is not HTTP/1.1. ``silent``: before a byte of the answer had come."""

    def __init__(self, why: str, *, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


@dataclass(frozen=True)
class Head:
    """The head of an answer. ``length`` is None where the body is chunked, or lasts until the end."""

    status: int
    content_type: str
    length: int | None
    chunked: bool
    keeps: bool


class _Reader(asyncio.StreamReader):
    """A reader that knows how much has come."""

    came = 0

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.came += len(data)  # type: ignore[arg-type]
        super().feed_data(data)


class Connection:
    """A connection to an engine. ``idle`` is True from the end of an answer that leaves it usable."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter, silence: float) -> None:
        self._reader = reader
        self._writer = writer
        self._silence = silence
        self._taken = 0
        self.idle = False

    @classmethod
    async def open(cls, host: str, port: int, *, within: float, silence: float) -> Connection:
        """Connect ``within`` seconds; an answer may then be silent for ``silence``. Raises :class:`Broken`."""
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=_HEAD, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            async with asyncio.timeout(within):
                transport, _ = await loop.create_connection(lambda: protocol, host, port)
        except OSError as error:
            raise Broken(f"no connection: {type(error).__name__}") from error
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop), silence)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: nothing has come behind the answer, not even the end."""
        nothing = self._reader.came == self._taken and not self._reader.at_eof()
        return self.idle and nothing and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    async def send(self, request: bytes) -> Head:
        """Send a whole request; returns the answer's head. Raises :class:`Broken`."""
        self.idle = False
        try:
            async with asyncio.timeout(self._silence):
                self._writer.write(request)
                await self._writer.drain()
                head = await self._head()
                while head.status < 200:
                    head = await self._head()
                return head
        except asyncio.IncompleteReadError as error:
            raise Broken("it hung up", silent=not error.partial) from error
        except OSError as error:
            raise Broken(type(error).__name__, silent=not isinstance(error, TimeoutError)) from error
        except asyncio.LimitOverrunError as error:
            raise Broken("a head without an end") from error

    async def _head(self) -> Head:
        raw = await self._reader.readuntil(b"\r\n\r\n")
        self._taken += len(raw)
        return parse_head(raw)

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """The answer's body, in the pieces in which it comes. Raises :class:`Broken` when it is cut off."""
        try:
            if head.chunked:
                async for piece in self._chunks():
                    yield piece
            elif head.length is not None:
                async for piece in self._exactly(head.length):
                    yield piece
            else:
                while piece := await self._read(_PIECE):
                    yield piece
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Broken(type(error).__name__) from error
        self.idle = head.keeps

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := _size(await self._line()):
            async for piece in self._exactly(size):
                yield piece
            if await self._line():
                raise ValueError("a chunk that is longer than it says")
        while await self._line():
            pass  # trailers

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._read(min(left, _PIECE))
            if not piece:
                raise Broken("it broke off")
            left -= len(piece)
            yield piece

    async def _line(self) -> bytes:
        async with asyncio.timeout(self._silence):
            line = await self._reader.readuntil(b"\r\n")
        self._taken += len(line)
        return line[:-2]

    async def _read(self, most: int) -> bytes:
        async with asyncio.timeout(self._silence):
            piece = await self._reader.read(most)
        self._taken += len(piece)
        return piece


def _size(line: bytes) -> int:
    """The length of a chunk. Raises :class:`ValueError`."""
    digits = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
        raise ValueError("a malformed length of a chunk")
    return int(digits, 16)


def parse_head(raw: bytes) -> Head:
    """A status line and headers, up to the empty line. Raises :class:`Broken`."""
    first, *lines = raw[:-4].split(b"\r\n")
    version, _, rest = first.partition(b" ")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name != name.strip():
            raise Broken("a malformed header")
        headers[name.lower()] = value.strip()
    status, length = rest[:3], headers.get(b"content-length")
    if not version.startswith(b"HTTP/1.") or not status.isdigit() or len(status) < 3:
        raise Broken("it does not speak HTTP/1.1")
    if length is not None and not length.isdigit():
        raise Broken("a malformed length")
    chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
    bodiless = status[:1] == b"1" or status in (b"204", b"304")
    size = 0 if bodiless else int(length) if length is not None and not chunked else None
    keeps = version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close"
    return Head(
        status=int(status),
        content_type=headers.get(b"content-type", b"application/json").decode("latin-1"),
        length=size,
        chunked=chunked,
        keeps=keeps and (chunked or size is not None),
    )
